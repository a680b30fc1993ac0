"""Views of a DuckDB file as sources of reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.ddl import plan_changes
from runner.ports import ReadQuery
from runner.sql import DUCKDB
from runner.warehouses.duckdb import DuckDBWarehouse
from tests.warehouse_lab import EVENTS, OBSERVATIONS, STAMP, Lab, incremental, table

pytestmark = pytest.mark.asyncio

VIEW = table("view_of_events", id="string", n="int64").model_copy(update={"managed": False})


async def test_a_view_is_read_incrementally_although_its_rows_have_no_numbers(tmp_path: Path) -> None:
    async with DuckDBWarehouse(tmp_path / "w.duckdb") as warehouse:
        lab = Lab(warehouse, "duckdb")
        await lab.prepare(EVENTS, OBSERVATIONS)
        cursor = warehouse._database.take()
        cursor.execute("CREATE VIEW lab.view_of_events AS SELECT id, n FROM lab.events WHERE n > 0")
        warehouse._database.give(cursor)
        shapes = await warehouse.inspect([VIEW.ref])
        assert shapes[VIEW.ref].is_view
        assert plan_changes([VIEW], shapes, DUCKDB) == []
        await lab.fill(EVENTS, ("a", "x", 1, None), ("b", "x", 0, None), ("c", "x", 2, None))
        await lab.fill(OBSERVATIONS, ("1", "a", 1.0, None, STAMP))
        assert await lab.new(incremental(), source=VIEW) == ["c"]
        query = ReadQuery(source=VIEW, columns=("id",), incremental=incremental())
        assert "rowid" not in warehouse.statement(query)
        assert (await warehouse.count(query)).new == 1
