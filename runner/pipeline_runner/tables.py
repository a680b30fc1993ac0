"""Brings the tables of a run to their declarations, with one metadata query for all of them."""

from __future__ import annotations

from collections.abc import Sequence

from runner.ddl import ENGINE_TABLES, plan_changes
from runner.ports import TableChange, Warehouse
from runner.specs import RunPlan
from runner.sql import DIALECTS


async def changes_for(plan: RunPlan, warehouse: Warehouse) -> Sequence[TableChange]:
    """Return the DDL that the run's tables and the engine's own need. Raises `TableMismatch`."""
    declared = {table.ref: table for table in (*ENGINE_TABLES, *plan.tables.values())}
    shapes = await warehouse.inspect(list(declared))
    return plan_changes(declared.values(), shapes, DIALECTS[warehouse.engine])


def sentence(change: TableChange) -> str:
    """Say what a change did, for the notice about it."""
    if change.kind == "create":
        return f"created table {change.table.ref}"
    return f"added column {change.column} to table {change.table.ref}"
