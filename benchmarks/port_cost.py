"""What the port of a warehouse costs: reading 1,000,000 rows and landing 100,000, against the shortest code by hand.

    .venv-test/bin/python benchmarks/port_cost.py [--rows N] [--engine ENGINE] [--dsn POSTGRES]

Without `--dsn` it starts a PostgreSQL of its own, that of the tests. Both sides open
the warehouse, do the work and close it, in turn, in this process. Half of the landed keys are in the table already.
Required: at most 1.3 times by hand.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

import anyio
import pyarrow as pa
import pyarrow.compute as pc
from by_hand import port
from harness import ROOT, machine, verdict
from pydantic import SecretStr

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
            "subject": pc.binary_join_element_wise(
                "s", pc.bit_wise_and(numbers, 4095).cast(pa.string()), "-"
            ),
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


@dataclass(frozen=True)
class Took:
    """Seconds of a call: by the clock, and of this process's processor time, which a busy machine disturbs less."""

    wall: float
    cpu: float


def took(work: Callable[[], object]) -> Took:
    """Measure a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Took(time.perf_counter() - wall, time.process_time() - cpu)


def compare(name: str, one: Callable[[int], object], other: Callable[[int], object], runs: int = 8) -> None:
    """Run both in turn, every second pair in the other order, the first pair uncounted; print medians, and the median
    of the pairwise ratios.
    """
    pairs: list[tuple[Took, Took]] = []
    for number in range(0, 2 * (runs + 1), 2):
        works = [partial(one, number), partial(other, number + 1)]
        if number % 4:
            second, first = took(works[1]), took(works[0])
            pairs.append((first, second))
        else:
            pairs.append((took(works[0]), took(works[1])))
    del pairs[0]
    ratio = median(a.wall / b.wall for a, b in pairs)
    cpu = median(a.cpu / b.cpu for a, b in pairs)
    walls = " | ".join(f"{median(pair[side].wall for pair in pairs):.3f}" for side in (0, 1))
    print(f"| {name} | {walls} | {ratio:.2f} | {cpu:.2f} |")
    print(verdict(name, ratio, 1.3, 1.1, "times by hand"))


@contextmanager
def postgres(dsn: str | None) -> Iterator[str]:
    """Give the DSN of a server: the one named, or one that is started for this, as for the tests, without their log."""
    if dsn:
        yield dsn
        return
    sys.path.append(str(ROOT))
    from tests.servers.places import new_folder
    from tests.servers.postgres import PostgresProcess

    process = PostgresProcess(18, new_folder("pg"))
    try:
        process.start(log_statement="none", max_wal_size="8GB")
        with process.server.database() as database:
            yield database.uri
    finally:
        process.remove()


def measure(engine: str, opened: Open, place: str, stored: int) -> None:
    """Compare reading and landing on one engine. `place`: what the hand-written code connects to."""
    landing = stored // 10
    anyio.run(prepare, opened, stored, landing)
    hand_read = {"duckdb": port.read_duckdb, "postgres": port.read_postgres}[engine]
    hand_land = {"duckdb": port.land_duckdb, "postgres": port.land_postgres}[engine]
    print(
        f"\n| {engine} | run-pipeline s | by hand s | ratio | of processor time here |\n|---|---|---|---|---|"
    )
    compare(
        f"{engine}: read {stored:,} rows",
        lambda _: anyio.run(ours, opened, read),
        lambda _: hand_read(place),
    )
    # Each landing brings as many new keys as known ones.
    batches = [rows(stored + number * landing // 2 - landing // 2, landing) for number in range(18)]
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
    parser.add_argument("--engine", choices=("duckdb", "postgres"), help="only this one")
    arguments = parser.parse_args()
    print(f"## The cost of the port; {machine()}")
    if arguments.engine != "postgres":
        on_duckdb(arguments.rows)
    if arguments.engine != "duckdb":
        on_postgres(arguments.rows, arguments.dsn)


def on_duckdb(stored: int) -> None:
    """Measure DuckDB. The defaults of both sides differ in memory: by hand it takes most of the machine's."""
    from runner.warehouses.duckdb import DuckDBWarehouse

    with tempfile.TemporaryDirectory(prefix="run-pipeline-bench-") as folder:
        file = Path(folder) / "w.duckdb"
        measure("duckdb", lambda: DuckDBWarehouse(file, DuckDBSettings()), str(file), stored)


def on_postgres(stored: int, dsn: str | None) -> None:
    """Measure PostgreSQL."""
    from runner.warehouses.postgres import PostgresWarehouse

    with postgres(dsn) as uri, tempfile.TemporaryDirectory(prefix="run-pipeline-bench-") as folder:
        settings = PostgresSettings(kind="postgres", dsn=SecretStr(uri))
        opened = partial(PostgresWarehouse, settings, stage_folder=Path(folder))
        measure("postgres", opened, uri, stored)


if __name__ == "__main__":
    main()
