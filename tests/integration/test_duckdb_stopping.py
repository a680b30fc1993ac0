"""Stopping work in DuckDB: the query is gone, the thread is back, the connection works."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import anyio
import pytest

from runner.errors import TimeLimitExceeded
from runner.ports import ReadQuery, TableChange
from runner.settings import DuckDBSettings
from runner.specs import TableSpec
from runner.warehouses.duckdb import DuckDBWarehouse
from tests.warehouse_lab import EVENTS, Lab, table

pytestmark = pytest.mark.asyncio

ENDLESS = table("endless", x="int64").model_copy(update={"managed": False})


async def opened(warehouse: DuckDBWarehouse) -> Lab:
    """Return a lab with a view whose reading would take minutes."""
    lab = Lab(warehouse, "duckdb")
    await lab.prepare(EVENTS)
    cursor = warehouse._database.take()
    cursor.execute(
        "CREATE VIEW lab.endless AS SELECT count(*)::BIGINT AS x FROM range(10000000) AS a(x), range(1000000) AS b(y) "
        "WHERE hash(a.x, b.y) = 1"
    )
    warehouse._database.give(cursor)
    return lab


def query(spec: TableSpec = ENDLESS) -> ReadQuery:
    """Return a read of everything."""
    return ReadQuery(source=spec, columns=spec.column_names)


async def test_cancelling_a_read_stops_the_query_and_the_warehouse_goes_on(tmp_path: Path) -> None:
    async with DuckDBWarehouse(tmp_path / "w.duckdb", DuckDBSettings(threads=1)) as warehouse:
        lab = await opened(warehouse)
        for delay in (0.0, 0.001, 0.05, 0.3):
            started = time.perf_counter()
            with anyio.move_on_after(delay) as scope:
                await lab.read(query())
            assert scope.cancelled_caught
            assert time.perf_counter() - started < delay + 1
            assert warehouse._calls.limiter.borrowed_tokens == 0
            assert await lab.rows(EVENTS) == []


async def test_a_query_over_its_time_limit_is_stopped(tmp_path: Path) -> None:
    threads = threading.active_count()
    async with DuckDBWarehouse(
        tmp_path / "w.duckdb", DuckDBSettings(threads=1), query_timeout=0.3
    ) as warehouse:
        lab = await opened(warehouse)
        started = time.perf_counter()
        with pytest.raises(TimeLimitExceeded, match=r"query stopped at its time limit of 0\.3 s"):
            await lab.read(query())
        assert time.perf_counter() - started < 1.3
        assert await lab.rows(EVENTS) == []
    assert threading.active_count() <= threads + 2, "idle worker threads of the event loop, no busy one"


async def test_one_stopped_query_leaves_others_alone(tmp_path: Path) -> None:
    async with DuckDBWarehouse(tmp_path / "w.duckdb", DuckDBSettings(threads=2)) as warehouse:
        lab = await opened(warehouse)
        await lab.fill(EVENTS, *((f"{n}", "x", n, None) for n in range(50_000)))
        read = 0
        async with warehouse.read(ReadQuery(source=EVENTS, columns=("n",), batch_rows=1000)) as batches:
            async for batch in batches:
                read += batch.num_rows
                with anyio.move_on_after(0.01):
                    await lab.read(query())
        assert read == 50_000


async def test_an_open_read_survives_landings_and_ddl(tmp_path: Path) -> None:
    async with DuckDBWarehouse(tmp_path / "w.duckdb") as warehouse:
        lab = await opened(warehouse)
        await lab.fill(EVENTS, *((f"{n}", "x", n, None) for n in range(300_000)))
        other = table("other", k="string")
        seen = 0
        async with warehouse.read(ReadQuery(source=EVENTS, columns=("n",), batch_rows=50_000)) as batches:
            async for batch in batches:
                if not seen:
                    await lab.fill(EVENTS, ("late", "x", -1, None))
                    await warehouse.apply([TableChange(kind="create", table=other)])
                seen += batch.num_rows
        assert seen == 300_000
        assert await lab.rows(other) == []
