"""Filters as SQL conditions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from runner.specs import ColumnSpec, Filter, TableSpec
from runner.sql.dialect import Parameters
from runner.sql.values import column_problem, typed_value


def conditions(
    table: TableSpec, filters: Iterable[Filter], parameters: Parameters, alias: str = ""
) -> list[str]:
    """Return one SQL condition a filter, values bound and typed by the column's declaration.

    Raises `ConfigurationError` for an unknown column or a value that does not fit.
    """
    return [_condition(table, item, parameters, f"{alias}." if alias else "") for item in filters]


def _condition(table: TableSpec, item: Filter, parameters: Parameters, prefix: str) -> str:
    column, value = filter_value(table, item)
    left = prefix + parameters.dialect.quote(column.name)
    if item.op == "in":
        bound = [parameters.bind(column.name, one, column.type) for one in value]
        return f"{left} IN ({', '.join(bound)})"
    operator = "<>" if item.op == "!=" else item.op
    return f"{left} {operator} {parameters.bind(column.name, value, column.type)}"


def filter_value(table: TableSpec, item: Filter) -> tuple[ColumnSpec, Any]:
    """Return the column of a filter and its value (for `in` a list of values) as Python values of its type."""
    try:
        column = table.column(item.column)
    except KeyError:
        expected = ", ".join(table.column_names)
        raise column_problem(table, item.column, "is not a column that can be filtered", expected) from None
    if column.type == "json":
        raise column_problem(
            table, column.name, "is json: text of equal meaning may differ", "a filter on another column"
        )
    if item.op == "in":
        return column, [typed_value(table, column, value) for value in item.value]
    return column, typed_value(table, column, item.value)
