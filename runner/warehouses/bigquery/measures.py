"""Small questions: counts, the greatest value, which keys are missing. Each blocks, and is one job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from runner.incremental import count_statement, missing_statement, quarantined_statement
from runner.ports import IncrementalCounts, IncrementalRead, ReadQuery, Statement
from runner.specs import Filter, TableSpec
from runner.sql import BIGQUERY, Parameters, conditions
from runner.warehouses.bigquery.arrow import engine_types
from runner.warehouses.bigquery.jobs import Jobs
from runner.warehouses.bigquery.parameters import rows_parameter

ASKED = "asked_keys"
NUMBER = "asked_number_"
ASKED_ROWS = 10_000
"""Keys of one job: they travel in the request, which the service bounds (docs, "Quotas": 10 MB with parameters)."""


def count(jobs: Jobs, query: ReadQuery, *, remembered: bool) -> IncrementalCounts:
    """Count how the source rows of an incremental query stand."""
    total, new, present, held, null_key, stale = jobs.fetch(
        count_statement(query, BIGQUERY, remembered=remembered)
    )[0]
    return IncrementalCounts(
        total=total, new=new, present=present, remembered=held, null_key=null_key, stale=stale
    )


def missing(jobs: Jobs, read: IncrementalRead, keys: pa.RecordBatch, *, remembered: bool) -> list[bool]:
    """Tell for each row of `keys` whether it is new."""
    found: list[bool] = []
    for start in range(0, keys.num_rows, ASKED_ROWS):
        found += _missing(jobs, read, keys.slice(start, ASKED_ROWS), remembered=remembered)
    return found


def _missing(jobs: Jobs, read: IncrementalRead, keys: pa.RecordBatch, *, remembered: bool) -> list[bool]:
    times = read.spec.source_ts is not None and read.spec.source_ts in keys.schema.names
    statement = missing_statement(read, ASKED, NUMBER, BIGQUERY, times=times, remembered=remembered)
    numbered = keys.append_column(NUMBER, pa.array(range(keys.num_rows), pa.int64()))
    columns = ", ".join(
        f"r.{BIGQUERY.quote(name)} AS {BIGQUERY.quote(name)}" for name in numbered.schema.names
    )
    asked = f"WITH {BIGQUERY.quote(ASKED)} AS (SELECT {columns} FROM UNNEST(@{ASKED}) AS r)\n"
    rows = rows_parameter(ASKED, numbered, engine_types(numbered.schema))
    values = {**statement.values, ASKED: rows}
    new = {number for (number,) in jobs.fetch(replace(statement, text=asked + statement.text, values=values))}
    return [number in new for number in range(keys.num_rows)]


def greatest(jobs: Jobs, table: TableSpec, column: str, filters: Sequence[Filter]) -> Any:
    """Return the greatest value of a column among the rows that match, or None; times are aware and in UTC."""
    parameters = Parameters(BIGQUERY)
    where = _where(table, filters, parameters)
    text = f"SELECT max({BIGQUERY.quote(column)}) AS greatest FROM {BIGQUERY.qualified(table.ref)}{where}"
    return jobs.fetch(Statement(text=text, values=parameters.values))[0][0]


def greatest_by(
    jobs: Jobs, table: TableSpec, column: str, by: str, filters: Sequence[Filter]
) -> dict[Any, Any]:
    """Return the greatest value of a column for each value of the column `by`, NULL left out on both sides."""
    parameters = Parameters(BIGQUERY)
    where = _where(table, filters, parameters)
    names = f"{BIGQUERY.quote(by)} AS kind, max({BIGQUERY.quote(column)}) AS greatest"
    text = f"SELECT {names} FROM {BIGQUERY.qualified(table.ref)}{where} GROUP BY {BIGQUERY.quote(by)}"
    found = jobs.fetch(Statement(text=text, values=parameters.values))
    return {key: value for key, value in found if key is not None and value is not None}


def count_matching(jobs: Jobs, table: TableSpec, filters: Sequence[Filter]) -> int:
    """Count the rows of a table that match."""
    parameters = Parameters(BIGQUERY)
    text = f"SELECT count(*) AS n FROM {BIGQUERY.qualified(table.ref)}{_where(table, filters, parameters)}"
    return int(jobs.fetch(Statement(text=text, values=parameters.values))[0][0])


def count_quarantined(jobs: Jobs, job_id: str) -> int:
    """Count the distinct quarantined keys of a job."""
    return int(jobs.fetch(quarantined_statement(job_id, BIGQUERY))[0][0])


def _where(table: TableSpec, filters: Sequence[Filter], parameters: Parameters) -> str:
    found = conditions(table, filters, parameters)
    return f" WHERE {' AND '.join(found)}" if found else ""
