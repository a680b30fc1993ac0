"""Small questions: counts, the greatest value, which keys are missing. Each blocks, and is one job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
from runner.ports import IncrementalCounts, IncrementalRead, ReadQuery
from runner.specs import Filter, TableSpec
from runner.sql import BIGQUERY
from runner.warehouses.bigquery.arrow import engine_types
from runner.warehouses.bigquery.jobs import Jobs
from runner.warehouses.bigquery.parameters import rows_parameter

ASKED = "asked_keys"
NUMBER = "asked_number_"
ASKED_ROWS = 10_000
"""Keys of one job: they travel in the request, which the service bounds (docs, "Quotas": 10 MB with parameters)."""


def count(jobs: Jobs, query: ReadQuery, *, remembered: bool) -> IncrementalCounts:
    """Count how the source rows of an incremental query stand."""
    return counts_of(jobs.fetch(count_statement(query, BIGQUERY, remembered=remembered))[0])


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
    return in_utc(jobs.fetch(greatest_statement(table, column, filters, BIGQUERY))[0][0])


def greatest_by(
    jobs: Jobs, table: TableSpec, column: str, by: str, filters: Sequence[Filter]
) -> dict[Any, Any]:
    """Return the greatest value of a column for each value of the column `by`, NULL left out on both sides."""
    return greatest_values(jobs.fetch(greatest_by_statement(table, column, by, filters, BIGQUERY)))


def count_matching(jobs: Jobs, table: TableSpec, filters: Sequence[Filter]) -> int:
    """Count the rows of a table that match."""
    return int(jobs.fetch(matching_statement(table, filters, BIGQUERY))[0][0])


def count_quarantined(jobs: Jobs, job_id: str) -> int:
    """Count the distinct quarantined keys of a job."""
    return int(jobs.fetch(quarantined_statement(job_id, BIGQUERY))[0][0])
