"""Layouts in every warehouse: looking changes nothing, changing keeps every row, and then nothing is due any more."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from runner.ports import LayoutReport, ReadQuery
from runner.specs import TableRef, TableSpec
from tests.contract.conftest import OpenLab
from tests.readings import PLAIN, fill
from tests.warehouse_lab import EVENTS, OBSERVATIONS, Lab, at, incremental, table

pytestmark = pytest.mark.asyncio

STAMP = datetime(2026, 2, 12, 6, tzinfo=UTC)
READINGS = TableSpec.model_validate(
    PLAIN.model_dump()
    | {
        "cluster_by": ["device", "id"],
        "partition_by": {"column": "at", "unit": "day"},
        "indexes": [{"columns": ["device"], "where": "value IS NULL", "include": ["at"]}],
    }
)
ENOUGH = {"duckdb": 400_000}
"""Rows that make a difference to the engine; of the others a few do."""
CHANGES = {
    "duckdb": ["order"], "memory": ["order"], "postgres-15": ["index"], "postgres-18": ["index"],
    "bigquery": ["partition"],
}  # fmt: skip
"""What is due for a table that was made without the layout and whose rows are in no order."""


async def content(lab: Lab, ref: TableRef = READINGS.ref) -> pa.Table:
    """Return all rows of a table by `id`; JSON as text of one spelling."""
    spec = PLAIN.model_copy(update={"table": ref.table})
    async with lab.warehouse.read(ReadQuery(source=spec, columns=spec.column_names)) as batches:
        found = pa.Table.from_batches([batch async for batch in batches]).sort_by("id")
    place = found.schema.get_field_index("raw")
    spelled = pc.replace_substring(found["raw"].cast(pa.string()), " ", "")
    return found.set_column(place, "raw", spelled)


async def brought_there(lab: Lab, report: LayoutReport) -> None:
    for change in report.changes:
        await lab.warehouse.layouts.change(change, STAMP)


async def test_what_is_due_is_told_and_done_once(open_lab: OpenLab) -> None:
    async with open_lab(PLAIN) as lab:
        rows = ENOUGH.get(lab.name, 300)
        await fill(lab, rows)
        before = await content(lab)
        layouts = lab.warehouse.layouts
        await layouts.settle(READINGS)
        report = await layouts.report(READINGS)
        assert [change.kind for change in report.changes] == CHANGES[lab.name]
        assert all(change.why and change.statements for change in report.changes)
        assert await content(lab) == before
        await brought_there(lab, report)
        assert await content(lab) == before
        again = await layouts.report(READINGS)
        assert (again.exists, again.changes) == (True, ())
        assert again.rows in (rows, None)


async def test_a_table_that_is_made_now_is_as_declared(open_lab: OpenLab) -> None:
    async with open_lab(READINGS) as lab:
        report = await lab.warehouse.layouts.report(READINGS)
        indexes = ["index"] if lab.warehouse.engine == "postgres" else []
        assert [change.kind for change in report.changes] == indexes


async def test_a_table_that_is_not_there_has_nothing_due(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        await lab.warehouse.layouts.settle(READINGS)
        report = await lab.warehouse.layouts.report(READINGS)
        assert (report.exists, report.changes, report.spare) == (False, (), ())


async def test_no_layout_means_nothing_to_do(open_lab: OpenLab) -> None:
    async with open_lab(PLAIN) as lab:
        assert (await lab.warehouse.layouts.report(PLAIN)).changes == ()


async def test_a_backup_has_the_rows_and_goes_when_asked(open_lab: OpenLab) -> None:
    async with open_lab(PLAIN) as lab:
        await lab.fill(PLAIN, (1, "a", at(0), 1.5, None), (2, None, None, None, '{"b": 2}'))
        layouts, before = lab.warehouse.layouts, await content(lab)
        backup = await layouts.back_up(PLAIN, STAMP)
        assert backup.table == TableRef("lab", "readings__backup_20260212t060000")
        assert backup.table.table in backup.statement
        await lab.fill(PLAIN, (3, "c", None, None, None))
        assert await content(lab, backup.table) == before
        report = await layouts.report(PLAIN)
        assert ([change.subject for change in report.spare], report.changes) == ([backup.table.table], ())
        await layouts.change(report.spare[0], STAMP)
        assert (await layouts.report(PLAIN)).spare == ()
        assert not await lab.warehouse.inspect([backup.table])
        assert (await content(lab)).num_rows == 3


async def test_other_tables_are_no_backups_of_this_one(open_lab: OpenLab) -> None:
    alike = table("readings__backup_of_mine", id="int64")
    longer = table("readings_2__backup_20260212t060000", id="int64")
    async with open_lab(PLAIN, alike, longer) as lab:
        assert (await lab.warehouse.layouts.report(PLAIN)).spare == ()


async def test_a_read_is_measured_as_it_is_sent(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        await lab.fill(EVENTS, *((f"e{n}", "x", n, at(n)) for n in range(20)))
        await lab.fill(OBSERVATIONS, ("o1", "e1", 1.0, None, None))
        for query in (
            ReadQuery(source=EVENTS, columns=("id", "n"), incremental=incremental()),
            ReadQuery(source=EVENTS, columns=("id", "n"), order_by=("id",), limit=3),
        ):
            cost = await lab.warehouse.layouts.measure(query)
            assert cost.duration_ms > 0
            assert (cost.bytes_processed is None) == (lab.name != "bigquery")
