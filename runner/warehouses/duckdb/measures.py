"""Small questions: counts, the greatest value, which keys are missing. Each blocks, on a cursor of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from runner.incremental import (
    count_statement,
    counts_of,
    greatest_by_statement,
    greatest_statement,
    greatest_values,
    in_utc,
    matching_statement,
    missing_statement,
    quarantined_statement,
)
from runner.ports import IncrementalCounts, IncrementalRead, ReadQuery, Statement
from runner.specs import Filter, TableSpec
from runner.sql import DUCKDB
from runner.warehouses.duckdb.calls import Cursor

ASKED = "asked_keys"
NUMBER = "asked_number_"


def fetch(cursor: Cursor, statement: Statement) -> list[tuple[Any, ...]]:
    """Run a statement and return its rows."""
    return cursor.execute(statement.text, statement.values or None).fetchall()


def table(cursor: Cursor, statement: Statement) -> pa.Table:
    """Run a statement and return its rows as Arrow: DuckDB's own conversion of times needs pytz."""
    return cursor.sql(statement.text, params=dict(statement.values) or None).to_arrow_table()


def count(cursor: Cursor, query: ReadQuery, *, remembered: bool) -> IncrementalCounts:
    """Count how the source rows of an incremental query stand."""
    return counts_of(fetch(cursor, count_statement(query, DUCKDB, remembered=remembered))[0])


def missing(cursor: Cursor, read: IncrementalRead, keys: pa.RecordBatch, *, remembered: bool) -> list[bool]:
    """Tell for each row of `keys` whether it is new."""
    times = read.spec.source_ts is not None and read.spec.source_ts in keys.schema.names
    numbered = keys.append_column(NUMBER, pa.arange(0, keys.num_rows))
    statement = missing_statement(read, ASKED, NUMBER, DUCKDB, times=times, remembered=remembered)
    cursor.register(ASKED, pa.Table.from_batches([numbered]).to_reader())
    try:
        new = {row[0] for row in fetch(cursor, statement)}
    finally:
        cursor.unregister(ASKED)
    return [number in new for number in range(keys.num_rows)]


def greatest(cursor: Cursor, table: TableSpec, column: str, filters: Sequence[Filter]) -> Any:
    """Return the greatest value of a column among the rows that match, or None; times are aware and in UTC."""
    return in_utc(_values(cursor, greatest_statement(table, column, filters, DUCKDB))[0][0])


def greatest_by(
    cursor: Cursor, table: TableSpec, column: str, by: str, filters: Sequence[Filter]
) -> dict[Any, Any]:
    """Return the greatest value of a column for each value of the column `by`, NULL left out on both sides."""
    return greatest_values(_values(cursor, greatest_by_statement(table, column, by, filters, DUCKDB)))


def count_matching(cursor: Cursor, table: TableSpec, filters: Sequence[Filter]) -> int:
    """Count the rows of a table that match."""
    return int(fetch(cursor, matching_statement(table, filters, DUCKDB))[0][0])


def count_quarantined(cursor: Cursor, job_id: str) -> int:
    """Count the distinct quarantined keys of a job."""
    return int(fetch(cursor, quarantined_statement(job_id, DUCKDB))[0][0])


def _values(cursor: Cursor, statement: Statement) -> list[tuple[Any, ...]]:
    """Return the rows of a few columns, by way of Arrow."""
    return list(zip(*(column.to_pylist() for column in table(cursor, statement).columns), strict=True))
