"""How rows of DuckDB come: the first batch at once, further small ones several in a hop, never much at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pyarrow as pa
import pytest

from runner.ports import Statement
from runner.settings import DuckDBSettings
from runner.warehouses.duckdb import DuckDBWarehouse
from runner.warehouses.duckdb.calls import Budget, Calls, Cursor
from runner.warehouses.duckdb.reading import PULL_BYTES, reading

pytestmark = pytest.mark.asyncio

BATCH_ROWS = 2048
NARROW = "SELECT x FROM range(600000) AS a(x)"
WIDE = "SELECT repeat('x', 5000) AS x FROM range(10000)"


class Hops(Calls):
    """Notes how many bytes each batch has that a hop between threads brings."""

    def __init__(self, calls: Calls) -> None:
        super().__init__(calls.database, calls.limiter, calls.time_limit)
        self.brought: list[list[int]] = []

    async def on(
        self,
        cursor: Cursor,
        work: Callable[[], Any],
        statement: str = "",
        *,
        budget: Budget | None = None,
    ) -> Any:
        """Do as ever."""
        found = await super().on(cursor, work, statement, budget=budget)
        if isinstance(found, list):
            self.brought.append([batch.nbytes for batch in found])
        return found


async def hops_of(query: str, folder: Path) -> tuple[list[list[int]], pa.Table]:
    """Read a query; return what each hop brought, and all rows."""
    async with DuckDBWarehouse(folder / "w.duckdb", DuckDBSettings(threads=1)) as warehouse:
        hops = Hops(warehouse._calls)
        async with reading(hops, Statement(text=query), None, BATCH_ROWS) as batches:
            found = [batch async for batch in batches]
    assert all(batch.num_rows <= BATCH_ROWS for batch in found)
    return hops.brought, pa.Table.from_batches(found)


async def test_small_batches_share_a_hop_but_for_the_first(tmp_path: Path) -> None:
    brought, rows = await hops_of(NARROW, tmp_path)
    assert rows.column("x").to_pylist() == list(range(600_000))
    assert len(brought[0]) == 1
    assert (
        len(brought) < sum(map(len, brought)) / 3
    )  # about a hundred times fewer, on a machine that is not busy


@pytest.mark.parametrize("query", [NARROW, WIDE])
async def test_a_hop_brings_no_more_than_it_may_and_a_batch(tmp_path: Path, query: str) -> None:
    brought, _ = await hops_of(query, tmp_path)
    assert all(sum(sizes[:-1]) < PULL_BYTES for sizes in brought)


async def test_rows_that_never_end_stop_at_once(tmp_path: Path) -> None:
    endless = Statement(text="SELECT x FROM range(1000000000000) AS a(x)")
    async with DuckDBWarehouse(tmp_path / "w.duckdb", DuckDBSettings(threads=1)) as warehouse:
        for delay in (0.0, 0.02, 0.2):
            started = time.perf_counter()
            with anyio.move_on_after(delay) as scope:
                async with warehouse.query(endless) as batches:
                    async for _ in batches:
                        pass
            assert scope.cancelled_caught
            assert time.perf_counter() - started < delay + 1
            assert warehouse._calls.limiter.borrowed_tokens == 0
