"""Tables of every warehouse: from their declarations, and what becomes of drift; events, each once."""

from __future__ import annotations

import json

import pytest

from runner.ddl import EVENT_LOG, plan_changes
from runner.errors import TableMismatch
from runner.ports import TableChange
from runner.specs import COLUMN_TYPES, TableRef
from tests.contract.conftest import OpenLab
from tests.warehouse_lab import EVENTS, TYPES, Lab, at, table

pytestmark = pytest.mark.asyncio

CHANGED = table(
    "events", ["id"], id="string", binding="string", n="int64", ts="timestamp", added="numeric", later="json"
)


async def changes(lab: Lab, spec: object) -> list[TableChange]:
    """Return the changes that one declaration asks for."""
    assert isinstance(spec, type(EVENTS))
    return plan_changes([spec], await lab.warehouse.inspect([spec.ref]), lab.dialect)


async def test_what_is_declared_is_created_once_with_its_types(open_lab: OpenLab) -> None:
    async with open_lab(TYPES) as lab:
        shapes = await lab.warehouse.inspect([TYPES.ref, TableRef("lab", "nowhere")])
        assert list(shapes) == [TYPES.ref]
        assert dict(shapes[TYPES.ref].columns) == {
            column.name: lab.dialect.types[column.type] for column in TYPES.columns
        }
        assert await changes(lab, TYPES) == []
        assert {column.type for column in TYPES.columns} == set(COLUMN_TYPES)


async def test_a_missing_nullable_column_is_added_and_old_rows_have_null(open_lab: OpenLab) -> None:
    async with open_lab(EVENTS) as lab:
        await lab.fill(EVENTS, ("a", "x", 1, at(1)))
        planned = await changes(lab, CHANGED)
        assert [(change.kind, change.column) for change in planned] == [("add", "added"), ("add", "later")]
        await lab.warehouse.apply(planned)
        assert await changes(lab, CHANGED) == []
        assert await lab.rows(CHANGED) == [("a", "x", 1, at(1), None, None)]
        assert await lab.rows(EVENTS) == [("a", "x", 1, at(1))]
        assert await changes(lab, EVENTS) == [], "further columns of the table are left alone"


async def test_differences_that_cannot_be_mended_say_what_would(open_lab: OpenLab) -> None:
    drifted = table("events", id="int64", binding="string", must="string!")
    async with open_lab(EVENTS) as lab:
        with pytest.raises(
            TableMismatch, match=r"lab\.events: column id is .* to mend it: ALTER TABLE"
        ) as caught:
            await changes(lab, drifted)
        assert f"ADD COLUMN {lab.dialect.quote('must')}" in caught.value.__notes__[0]


async def test_unmanaged_tables_are_only_checked(open_lab: OpenLab) -> None:
    async with open_lab(EVENTS) as lab:
        some = table("events", id="string").model_copy(update={"managed": False})
        assert await changes(lab, some) == []
        more = CHANGED.model_copy(update={"managed": False})
        with pytest.raises(TableMismatch, match="has no column added"):
            await changes(lab, more)
        absent = table("absent", id="string").model_copy(update={"managed": False})
        with pytest.raises(TableMismatch, match="does not exist"):
            await changes(lab, absent)


async def test_events_are_merged_exactly_once(open_lab: OpenLab) -> None:
    def event(number: int) -> dict[str, object]:
        return {
            "event_id": f"{number:03}", "event_type": "job.finished", "timestamp": at(number),
            "producer_component": "test", "run_id": "r", "status": "success", "payload": {"n": number, "at": at(0)},
        }  # fmt: skip

    async with open_lab(EVENTS) as lab:
        assert await lab.warehouse.merge_events([event(n) for n in (1, 2, 2)]) == 2
        assert await lab.warehouse.merge_events([event(n) for n in (3, 1, 0)]) == 2
        assert await lab.warehouse.merge_events([]) == 0
        rows = await lab.rows(EVENT_LOG, "event_id", "timestamp", "trace_id")
        assert rows == [(f"{n:03}", at(n), None) for n in range(4)]
        payloads = await lab.rows(EVENT_LOG, "payload", order_by=("event_id",))
        assert [json.loads(payload)["n"] for (payload,) in payloads] == [0, 1, 2, 3]
