"""Small questions: counts, the greatest value, which keys are missing. Each blocks, on a cursor of its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from runner.incremental import count_statement, missing_statement, quarantined_statement
from runner.ports import IncrementalCounts, IncrementalRead, ReadQuery, Statement
from runner.specs import Filter, TableSpec
from runner.sql import DUCKDB, Parameters, conditions, qualified, quote
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
    total, new, present, held, null_key, stale = fetch(
        cursor, count_statement(query, DUCKDB, remembered=remembered)
    )[0]
    return IncrementalCounts(
        total=total, new=new, present=present, remembered=held, null_key=null_key, stale=stale
    )


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
    parameters = Parameters(DUCKDB)
    where = _where(table, filters, parameters)
    text = f"SELECT max({quote(column)}) AS greatest FROM {qualified(table.ref)}{where}"
    # Through Arrow: DuckDB's own conversion of times needs pytz.
    return _in_utc(cursor.sql(text, params=parameters.values or None).to_arrow_table().column(0)[0].as_py())


def greatest_by(
    cursor: Cursor, table: TableSpec, column: str, by: str, filters: Sequence[Filter]
) -> dict[Any, Any]:
    """Return the greatest value of a column for each value of the column `by`, NULL left out on both sides."""
    parameters = Parameters(DUCKDB)
    where = _where(table, filters, parameters)
    text = f"SELECT {quote(by)}, max({quote(column)}) FROM {qualified(table.ref)}{where} GROUP BY 1"
    found = cursor.sql(text, params=parameters.values or None).to_arrow_table()
    pairs = zip(found.column(0).to_pylist(), found.column(1).to_pylist(), strict=True)
    return {_in_utc(key): _in_utc(value) for key, value in pairs if key is not None and value is not None}


def count_matching(cursor: Cursor, table: TableSpec, filters: Sequence[Filter]) -> int:
    """Count the rows of a table that match."""
    parameters = Parameters(DUCKDB)
    text = f"SELECT count(*) FROM {qualified(table.ref)}{_where(table, filters, parameters)}"
    return int(fetch(cursor, Statement(text=text, values=parameters.values))[0][0])


def count_quarantined(cursor: Cursor, job_id: str) -> int:
    """Count the distinct quarantined keys of a job."""
    return int(fetch(cursor, quarantined_statement(job_id, DUCKDB))[0][0])


def _in_utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def _where(table: TableSpec, filters: Sequence[Filter], parameters: Parameters) -> str:
    found = conditions(table, filters, parameters)
    return f" WHERE {' AND '.join(found)}" if found else ""
