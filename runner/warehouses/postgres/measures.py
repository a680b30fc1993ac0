"""Small questions: counts, the greatest value, which keys are missing. Each blocks, on a connection of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.types as kinds

from runner.incremental import (
    count_statement,
    counts_of,
    greatest_by_statement,
    greatest_statement,
    greatest_values,
    in_utc,
    key_profile,
    matching_statement,
    missing_statement,
    quarantined_statement,
)
from runner.ports import IncrementalCounts, IncrementalRead, KeyProfile, ReadQuery, Statement
from runner.specs import Filter, TableSpec
from runner.sql import POSTGRES, Parameters
from runner.warehouses.postgres.session import Row, Session
from runner.warehouses.postgres.shapes import inspect

ASKED = "asked_keys"
NUMBER = "asked_number_"
NUL = "\x00"
"""What PostgreSQL's text cannot hold: a key with it stands in no table."""


def count(session: Session, query: ReadQuery, *, remembered: bool) -> IncrementalCounts:
    """Count how the source rows of an incremental query stand."""
    return counts_of(session.fetch(count_statement(query, POSTGRES, remembered=remembered))[0])


def missing(session: Session, read: IncrementalRead, keys: pa.RecordBatch, *, remembered: bool) -> list[bool]:
    """Tell for each row of `keys` whether it is new. The keys go as arrays, and become rows in the statement."""
    times = read.spec.source_ts is not None and read.spec.source_ts in keys.schema.names
    asking = missing_statement(read, ASKED, NUMBER, POSTGRES, times=times, remembered=remembered)
    parameters = Parameters(POSTGRES, dict(asking.values))
    arrays = [
        f"CAST({parameters.bind('asked', _values(column))} AS {_engine_type(column.type)}[])"
        for column in keys.columns
    ]
    arrays.append(f"CAST({parameters.bind('asked', list(range(keys.num_rows)))} AS bigint[])")
    names = POSTGRES.columns([*keys.schema.names, NUMBER])
    rows = f"SELECT * FROM unnest({', '.join(arrays)}) AS a ({names})"
    text = f"WITH {POSTGRES.quote(ASKED)} AS ({rows}) {asking.text}"
    new = {row[0] for row in session.fetch(Statement(text=text, values=parameters.values))}
    return [number in new for number in range(keys.num_rows)]


def greatest(session: Session, table: TableSpec, column: str, filters: Sequence[Filter]) -> Any:
    """Return the greatest value of a column among the rows that match, or None; times are aware and in UTC."""
    return in_utc(session.fetch(greatest_statement(table, column, filters, POSTGRES))[0][0])


def greatest_by(
    session: Session, table: TableSpec, column: str, by: str, filters: Sequence[Filter]
) -> dict[Any, Any]:
    """Return the greatest value of a column for each value of the column `by`, NULL left out on both sides."""
    return greatest_values(session.fetch(greatest_by_statement(table, column, by, filters, POSTGRES)))


def count_matching(session: Session, table: TableSpec, filters: Sequence[Filter]) -> int:
    """Count the rows of a table that match."""
    return int(session.fetch(matching_statement(table, filters, POSTGRES))[0][0])


def count_quarantined(session: Session, job_id: str) -> int:
    """Count the distinct quarantined keys of a job."""
    return int(session.fetch(quarantined_statement(job_id, POSTGRES))[0][0])


def profile(session: Session, query: ReadQuery) -> KeyProfile:
    """Measure both sides of an incremental query. Raises `ConfigurationError` for a query that is none."""

    def fetch(statement: Statement) -> list[Row]:
        cursor = session.execute(statement.text, statement.values)
        return cursor.fetchall() if cursor.description else []

    target = query.incremental.target.ref if query.incremental else query.source.ref
    return key_profile(query, POSTGRES, fetch, inspect(session, [query.source.ref, target]))


def _values(column: pa.Array) -> list[Any]:
    values: list[Any] = column.to_pylist()
    if kinds.is_string(column.type):
        return [None if value is not None and NUL in value else value for value in values]
    return values


def _engine_type(kind: pa.DataType) -> str:
    """Return the engine's name of a key's type, as a batch has it."""
    if kinds.is_timestamp(kind):
        return POSTGRES.types["timestamp"]
    if kinds.is_decimal(kind):
        return "numeric"
    if kinds.is_integer(kind):
        return POSTGRES.types["int64"]
    if kinds.is_floating(kind):
        return POSTGRES.types["float64"]
    names = {pa.bool_(): "bool", pa.date32(): "date", pa.binary(): "bytes"}
    return POSTGRES.types[names.get(kind, "string")]
