"""The layouts of tables in memory: their rows lie in the order of `cluster_by`, or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import anyio.lowlevel

from runner.clock import monotonic_ns
from runner.layouts import backup_ref, backups_among
from runner.ports import Backup, LayoutChange, LayoutReport, QueryCost, ReadQuery
from runner.specs import TableRef, TableSpec
from runner.sql import DIALECTS
from runner.testing.memory_tables import ENGINE, Tables, find, ordered

_DIALECT = DIALECTS[ENGINE]


class MemoryLayouts:
    """What `optimize` asks of a warehouse. `count` answers a read with its number of rows."""

    def __init__(self, tables: Tables, count: Callable[[ReadQuery], int]) -> None:
        self._tables = tables
        self._count = count

    async def settle(self, table: TableSpec) -> None:
        """Do nothing."""
        await anyio.lowlevel.checkpoint()

    async def report(self, table: TableSpec, *, rewrite: bool = False) -> LayoutReport:
        """Look whether the rows are in order."""
        await anyio.lowlevel.checkpoint()
        names = [ref.table for ref in self._tables if ref.dataset == table.dataset]
        spare = tuple(
            LayoutChange(
                kind="remove", table=table, why="a backup", statements=(f"drop {ref}",), subject=ref.table
            )
            for ref in backups_among(names, table.ref, _DIALECT)
        )
        if table.ref not in self._tables:
            return LayoutReport(table=table, exists=False, spare=spare)
        rows = self._tables[table.ref].rows
        change = LayoutChange(
            kind="order", table=table, why="rows are not in order", statements=(f"sort {table.ref}",)
        )
        due = bool(table.cluster_by) and (rewrite or rows != ordered(rows, table.cluster_by))
        return LayoutReport(
            table=table, exists=True, rows=len(rows), changes=(change,) if due else (), spare=spare
        )

    async def back_up(self, table: TableSpec, stamp: datetime) -> Backup:
        """Copy a table."""
        await anyio.lowlevel.checkpoint()
        ref = backup_ref(table.ref, stamp, _DIALECT)
        kept = find(self._tables, table.ref)
        self._tables[ref] = replace(kept, rows=[dict(row) for row in kept.rows])
        return Backup(table=ref, statement=f"drop {ref}")

    async def change(self, change: LayoutChange, stamp: datetime) -> Backup | None:
        """Sort the rows, or forget a backup."""
        await anyio.lowlevel.checkpoint()
        ref = change.table.ref
        if change.kind == "remove":
            del self._tables[TableRef(ref.dataset, change.subject)]
        else:
            table = find(self._tables, ref)
            table.rows[:] = ordered(table.rows, change.table.cluster_by)
        return None

    async def measure(self, query: ReadQuery) -> QueryCost:
        """Answer a read."""
        await anyio.lowlevel.checkpoint()
        started = monotonic_ns()
        self._count(query)
        return QueryCost(duration_ms=(monotonic_ns() - started) / 1e6)
