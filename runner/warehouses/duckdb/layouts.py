"""`DuckDBLayouts`: rows in the order of `cluster_by`. Partitions and indexes mean nothing here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from runner.clock import monotonic_ns
from runner.ddl import PROCESSED_KEYS
from runner.incremental import read_statement
from runner.layouts import backup_ref, backups_among, counting, drop_statement
from runner.ports import Backup, LayoutChange, LayoutReport, QueryCost, ReadQuery
from runner.specs import TableSpec
from runner.sql import DUCKDB, qualified
from runner.warehouses.duckdb import order
from runner.warehouses.duckdb.calls import Calls, Cursor
from runner.warehouses.duckdb.shapes import has_row_ids, inspect

_TABLES = """
SELECT table_name FROM information_schema.tables
WHERE table_catalog = current_database() AND table_schema = $schema AND table_type = 'BASE TABLE'
"""


class DuckDBLayouts:
    """The layouts of one file. `calls` without a time limit: a large table takes as long as it takes. `limited` is for
    the project's own queries.
    """

    def __init__(self, calls: Calls) -> None:
        self._limited = calls
        self._calls = Calls(calls.database, calls.limiter, None)

    async def settle(self, table: TableSpec) -> None:
        """Do nothing: what works on the file ends with its process."""

    async def report(self, table: TableSpec, *, rewrite: bool = False) -> LayoutReport:
        """Look at the order of a table's rows, by one pass over the columns that it is declared by."""
        return await self._calls.once(lambda cursor: _report(cursor, table, rewrite=rewrite))

    async def back_up(self, table: TableSpec, stamp: datetime) -> Backup:
        """Copy a table."""
        ref = backup_ref(table.ref, stamp, DUCKDB)
        text = f"CREATE TABLE {qualified(ref)} AS SELECT * FROM {qualified(table.ref)}"
        await self._calls.once(lambda cursor: self._write(cursor, text), text)
        return Backup(table=ref, statement=drop_statement(ref, DUCKDB))

    async def change(self, change: LayoutChange, stamp: datetime) -> Backup | None:
        """Carry out one step, in one transaction."""
        ref, columns = change.table.ref, change.table.cluster_by
        if change.kind == "order":
            work = self._calls.database
            await self._calls.once(
                lambda cursor: order.rewrite(work, cursor, ref, columns), change.statements[1]
            )
        else:
            text = change.statements[0]
            await self._calls.once(lambda cursor: self._write(cursor, text), text)
        return None

    async def measure(self, query: ReadQuery) -> QueryCost:
        """Send a read as a run does."""
        return await self._limited.once(lambda cursor: _measure(cursor, query))

    def _write(self, cursor: Cursor, text: str) -> None:
        with self._calls.database.transaction(cursor):
            cursor.execute(text)
        order.checkpoint(cursor)


def _report(cursor: Cursor, table: TableSpec, *, rewrite: bool) -> LayoutReport:
    names = {name for (name,) in cursor.execute(_TABLES, {"schema": table.dataset}).fetchall()}
    spare = tuple(
        LayoutChange(
            kind="remove",
            table=table,
            why="a backup",
            statements=(drop_statement(ref, DUCKDB),),
            subject=ref.table,
        )
        for ref in backups_among(names, table.ref, DUCKDB)
    )
    shape = inspect(cursor, [table.ref]).get(table.ref)
    if shape is None or shape.is_view:
        about = ("is a view: nothing is changed",) if shape else ()
        return LayoutReport(table=table, exists=shape is not None, spare=spare, notes=about)
    rows = int(cursor.execute(f"SELECT count(*) FROM {qualified(table.ref)}").fetchall()[0][0])
    if not has_row_ids(shape):
        about = ("has a column rowid, which hides the numbers of rows: it cannot be put in order",)
        return LayoutReport(table=table, exists=True, rows=rows, spare=spare, notes=about)
    changes, notes = _order(cursor, table, rows, rewrite=rewrite)
    notes += tuple(_without_meaning(table))
    return LayoutReport(table=table, exists=True, rows=rows, changes=changes, spare=spare, notes=notes)


def _order(
    cursor: Cursor, table: TableSpec, rows: int, *, rewrite: bool
) -> tuple[tuple[LayoutChange, ...], tuple[str, ...]]:
    """Return what would put a table in order, and what else there is to say about it."""
    if not table.cluster_by:
        return (), ()
    by = ", ".join(table.cluster_by)
    if rows <= order.BLOCK_ROWS and not rewrite:
        return (), (f"{rows:,} rows fit into one block of {order.BLOCK_ROWS:,}: order would save nothing",)
    found = order.measure(cursor, table.ref, table.cluster_by)
    where = f"a value of {by} lies in {found.depth} of {found.blocks} blocks of {order.BLOCK_ROWS:,} rows"
    if found.depth <= order.TOLERATED and not rewrite:
        return (), (f"in order: {where}",)
    if order.has_unique_index(cursor, table.ref):
        return (), (f"{where}, but the table has a unique constraint or index: DuckDB cannot rewrite it",)
    change = LayoutChange(
        kind="order",
        table=table,
        why=f"{where}; in order it is 1",
        statements=order.statements(table.ref, table.cluster_by),
    )
    return (change,), ()


def _without_meaning(table: TableSpec) -> Iterator[str]:
    if table.partition_by:
        yield f"partition_by {table.partition_by.column}: DuckDB has no partitions"
    if table.indexes:
        yield "indexes: none are made on DuckDB; they slow loading and speed up no read of many rows"


def _measure(cursor: Cursor, query: ReadQuery) -> QueryCost:
    shapes = inspect(cursor, [query.source.ref, PROCESSED_KEYS.ref])
    numbered = has_row_ids(shapes.get(query.source.ref))
    remembered = query.incremental is not None and PROCESSED_KEYS.ref in shapes
    statement = counting(read_statement(query, DUCKDB, remembered=remembered, row_ids=numbered))
    started = monotonic_ns()
    cursor.execute(statement.text, statement.values or None).fetchall()
    return QueryCost(duration_ms=(monotonic_ns() - started) / 1e6)
