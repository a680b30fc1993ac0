"""Tables as DuckDB has them, and changes to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb

from runner.ddl import statements
from runner.logs import get_logger
from runner.ports import TableChange, TableShape
from runner.specs import TableRef
from runner.sql import DUCKDB
from runner.warehouses.duckdb.calls import Cursor
from runner.warehouses.duckdb.database import Database

_log = get_logger("warehouses.duckdb")

# information_schema asks only this database (2 ms); duckdb_columns() also lists the engine's own (19 ms).
_SHAPES = """
SELECT c.table_schema, c.table_name, t.table_type = 'VIEW', c.column_name, c.data_type
FROM information_schema.columns AS c
JOIN information_schema.tables AS t USING (table_catalog, table_schema, table_name)
WHERE c.table_catalog = current_database()
  AND c.table_schema || '.' || c.table_name IN (SELECT unnest($names))
ORDER BY c.table_schema, c.table_name, c.ordinal_position
"""


def inspect(cursor: Cursor, tables: Sequence[TableRef]) -> Mapping[TableRef, TableShape]:
    """Return the shapes of those tables that exist. Blocks."""
    columns: dict[TableRef, dict[str, str]] = {}
    views: set[TableRef] = set()
    found = cursor.execute(_SHAPES, {"names": [str(ref) for ref in tables]}).fetchall()
    for dataset, table, is_view, column, engine_type in found:
        ref = TableRef(dataset, table)
        columns.setdefault(ref, {})[column] = engine_type
        if is_view:
            views.add(ref)
    return {ref: TableShape(ref=ref, columns=found, is_view=ref in views) for ref, found in columns.items()}


def has_row_ids(shape: TableShape | None) -> bool:
    """Tell whether a relation is a table whose rows have DuckDB's hidden numbers: a view has none, and a column of the
    same name hides them.
    """
    return shape is not None and not shape.is_view and DUCKDB.numbers_rows(shape.columns)


def apply(database: Database, cursor: Cursor, changes: Sequence[TableChange]) -> None:
    """Carry out DDL in one transaction, then checkpoint: replaying DDL from the log is where others have seen
    crashes (GUARANTEES 5). Blocks.
    """
    with database.transaction(cursor):
        for text in statements(changes, DUCKDB):
            cursor.execute(text)
    try:
        cursor.execute("CHECKPOINT")
    except duckdb.TransactionException as error:
        # Someone else's transaction is open; the next checkpoint takes this along.
        _log.debug("no checkpoint after DDL: %s", error)
