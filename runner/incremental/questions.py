"""Small questions about one table: its greatest values, and how many of its rows match."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from runner.ports import Statement
from runner.specs import Filter, TableSpec
from runner.sql import Dialect, Parameters, conditions


def greatest_statement(
    table: TableSpec, column: str, filters: Sequence[Filter], dialect: Dialect
) -> Statement:
    """Return the query for the greatest value of a column among the rows that match: one row, NULL without any.

    Raises `ConfigurationError` when a filter does not fit; so do the others.
    """
    return _asked(f"max({dialect.quote(column)}) AS greatest", table, filters, dialect)


def greatest_by_statement(
    table: TableSpec, column: str, by: str, filters: Sequence[Filter], dialect: Dialect
) -> Statement:
    """Return the query for the values of the column `by`, each with the greatest value of a column: for
    `greatest_values`.
    """
    what = f"{dialect.quote(by)} AS kind, max({dialect.quote(column)}) AS greatest"
    return _asked(what, table, filters, dialect, " GROUP BY 1")


def matching_statement(table: TableSpec, filters: Sequence[Filter], dialect: Dialect) -> Statement:
    """Return the query for the number of rows that match."""
    return _asked("count(*) AS n", table, filters, dialect)


def greatest_values(rows: Iterable[Sequence[Any]]) -> dict[Any, Any]:
    """Return the greatest values by kind, NULL left out on both sides; times are in UTC."""
    return {in_utc(key): in_utc(value) for key, value in rows if key is not None and value is not None}


def in_utc(value: Any) -> Any:
    """Return an aware time in UTC, and anything else as it is."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def _asked(
    what: str, table: TableSpec, filters: Sequence[Filter], dialect: Dialect, grouped: str = ""
) -> Statement:
    parameters = Parameters(dialect)
    found = conditions(table, filters, parameters)
    where = f" WHERE {' AND '.join(found)}" if found else ""
    text = f"SELECT {what} FROM {dialect.qualified(table.ref)}{where}{grouped}"
    return Statement(text=text, values=parameters.values)
