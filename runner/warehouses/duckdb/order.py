"""In which order the rows of a table lie, and putting them into another. All of it blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import duckdb

from runner.layouts import Digest, digest_columns, require_equal
from runner.logs import get_logger
from runner.specs import TableRef
from runner.sql import column_list, qualified
from runner.warehouses.duckdb.calls import Cursor
from runner.warehouses.duckdb.database import Database
from runner.warehouses.duckdb.faults import ENGINE

_log = get_logger("warehouses.duckdb")

BLOCK_ROWS = 122_880
"""Rows of a row group. Of each DuckDB keeps the least and greatest value of every column, and leaves out those that
cannot hold what is looked for: that is all that the order of rows is good for.
"""
TOLERATED = 2
"""In so many blocks a value may lie: one is ideal, and rows that came since the last rewriting are at the end."""

_MEASURE = """
WITH blocks AS (
  SELECT rowid // {rows} AS block, min(row({columns})) AS least, max(row({columns})) AS greatest
  FROM {table} GROUP BY 1
)
SELECT CAST(floor(median(n) + 0.5) AS BIGINT), count(*) FROM (
  SELECT b.block, 1 + count(o.block) AS n
  FROM blocks AS b LEFT JOIN blocks AS o
    ON o.block <> b.block AND o.least < b.greatest AND b.least < o.greatest
  GROUP BY b.block
)
"""


class Order(NamedTuple):
    """In how many of its `blocks` a table has to be read for one value: `depth`, the median over them."""

    depth: int
    blocks: int


def measure(cursor: Cursor, ref: TableRef, columns: Sequence[str]) -> Order:
    """Measure how well a table is ordered by columns: a value may lie in every block whose range overlaps."""
    text = _MEASURE.format(rows=BLOCK_ROWS, columns=column_list(columns), table=qualified(ref))
    depth, blocks = cursor.execute(text).fetchall()[0]
    return Order(int(depth or 0), int(blocks))


def has_unique_index(cursor: Cursor, ref: TableRef) -> bool:
    """Tell whether a table refuses a second row of equal key: then a transaction cannot write its rows anew."""
    values = {"schema": ref.dataset, "table": ref.table}
    text = """
        SELECT (SELECT count(*) FROM duckdb_constraints() WHERE database_name = current_database()
                  AND schema_name = $schema AND table_name = $table
                  AND constraint_type IN ('PRIMARY KEY', 'UNIQUE'))
             + (SELECT count(*) FROM duckdb_indexes() WHERE database_name = current_database()
                  AND schema_name = $schema AND table_name = $table AND is_unique)
    """
    return bool(cursor.execute(text, values).fetchall()[0][0])


def statements(ref: TableRef, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the statements that put the rows of a table into an order, in one transaction."""
    table = qualified(ref)
    # The table itself stays, with its constraints, its comments, and columns that nobody has declared.
    return (
        f"SELECT max(rowid) FROM {table}",
        f"INSERT INTO {table} SELECT * FROM {table} ORDER BY {column_list(columns)}",
        f"SELECT rowid <= $last, {digest_columns('hash(t)')} FROM {table} AS t GROUP BY 1",
        f"DELETE FROM {table} WHERE rowid <= $last",
    )


def rewrite(database: Database, cursor: Cursor, ref: TableRef, columns: Sequence[str]) -> None:
    """Put the rows of a table into an order: a copy behind the old rows, compared with them, which are then deleted.

    Raises `WarehouseError` when the two differ: then nothing has changed.
    """
    last, insert, compare, delete = statements(ref, columns)
    with database.transaction(cursor):
        limit = cursor.execute(last).fetchall()[0][0]
        if limit is None:
            return
        cursor.execute(insert)
        found = cursor.execute(compare, {"last": limit}).fetchall()
        digests = {is_old: Digest(*rest) for is_old, *rest in found}
        require_equal(ENGINE, digests[True], digests[False])
        cursor.execute(delete, {"last": limit})
    checkpoint(cursor)


def checkpoint(cursor: Cursor) -> None:
    """Bring what was committed into the file, and let go of the old rows' blocks there."""
    try:
        cursor.execute("CHECKPOINT")
    except duckdb.TransactionException as error:
        # Someone else's transaction is open; the next checkpoint takes this along.
        _log.debug("no checkpoint after a rewriting: %s", error)
