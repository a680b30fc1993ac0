"""Statements that measure: how the rows of an incremental read stand, and which given keys are missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from runner.ddl import PROCESSED_KEYS
from runner.incremental.reads import NewRows, check_keys, source_conditions
from runner.ports import IncrementalCounts, IncrementalRead, ReadQuery, Statement
from runner.sql import Dialect, Parameters


def count_statement(query: ReadQuery, dialect: Dialect, *, remembered: bool = True) -> Statement:
    """Return the statement whose one row is total, new_rows, present, remembered, null_key, stale:
    `counts_of` reads it. The query's limit does not count; what is older than its lookback is not in the total.

    Raises `ConfigurationError` when a filter or the keys do not fit, `ValueError` without an incremental part.
    """
    read = _incremental(query)
    check_keys(query.source, read)
    parameters = Parameters(dialect)
    new = NewRows(read, parameters)
    wheres = source_conditions(query, parameters)
    flags = (
        f"SELECT {new.has_null('s')} AS null_key, {new.is_present()} AS present, {new.is_stale()} AS stale, "
        f"{new.is_remembered() if remembered else 'FALSE'} AS remembered "
        f"FROM {dialect.qualified(query.source.ref)} AS s {new.oldest_target()}"
        + (f" WHERE {' AND '.join(wheres)}" if wheres else "")
    )
    is_new = "NOT f.null_key AND (NOT f.present OR f.stale) AND NOT f.remembered"
    text = (
        f"SELECT count(*) AS total, {_count(is_new)} AS new_rows, "
        f"{_count('NOT f.null_key AND f.present AND NOT f.stale')} AS present, "
        f"{_count('NOT f.null_key AND (NOT f.present OR f.stale) AND f.remembered')} AS remembered, "
        f"{_count('f.null_key')} AS null_key, {_count(f'{is_new} AND f.stale')} AS stale FROM ({flags}) AS f"
    )
    return Statement(text=text, values=parameters.values)


def counts_of(row: Sequence[int]) -> IncrementalCounts:
    """Return what the row of `count_statement` says."""
    total, new, present, remembered, null_key, stale = row
    return IncrementalCounts(
        total=total, new=new, present=present, remembered=remembered, null_key=null_key, stale=stale
    )


def _count(condition: str) -> str:
    """Return the expression that counts the rows of a condition. BigQuery has no FILTER."""
    return f"count(CASE WHEN {condition} THEN 1 END)"


def missing_statement(
    read: IncrementalRead, keys: str, number: str, dialect: Dialect, *, times: bool, remembered: bool = True
) -> Statement:
    """Return the statement for the numbers (column `number`) of those keys of the relation `keys` that are new.

    `keys` has the columns named by `source_key`, and with `times` also `source_ts`: without it a key that has a
    target row is present however old that row is.
    """
    if not times:
        read = _without_times(read)
    parameters = Parameters(dialect)
    joins, wheres = NewRows(read, parameters).clauses(remembered=remembered)
    where = f" WHERE {' AND '.join(wheres)}" if wheres else ""
    text = f"SELECT s.{dialect.quote(number)} FROM {dialect.quote(keys)} AS s {' '.join(joins)}{where}"
    return Statement(text=text, values=parameters.values)


def quarantined_statement(job_id: str, dialect: Dialect) -> Statement:
    """Return the statement that counts the distinct quarantined keys of a job."""
    parameters = Parameters(dialect)
    owner = parameters.bind("job_id", job_id)
    text = (
        f"SELECT count(*) FROM (SELECT DISTINCT {dialect.columns(('step_id', 'key'))} "
        f"FROM {dialect.qualified(PROCESSED_KEYS.ref)} WHERE {dialect.quote('job_id')} = {owner} "
        f"AND {dialect.quote('reason')} = 'quarantined') AS q"
    )
    return Statement(text=text, values=parameters.values)


def _incremental(query: ReadQuery) -> IncrementalRead:
    if query.incremental is None:
        raise ValueError(f"the read of {query.source.ref} is not incremental")
    return query.incremental


def _without_times(read: IncrementalRead) -> IncrementalRead:
    spec = read.spec.model_copy(update={"mode": "not_exists", "source_ts": None, "target_ts": None})
    return replace(read, spec=spec)
