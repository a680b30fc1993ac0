"""Values of filters, typed by the column that they are compared with."""

from __future__ import annotations

from typing import Any

from runner.errors import ConfigurationError
from runner.specs import ColumnSpec, TableSpec
from runner.sql import typed_value

UNQUOTED = {
    "int64": "a whole number without quotes",
    "float64": "a number without quotes",
    "bool": "true or false without quotes",
}
"""Types that YAML has itself. On the command line everything is text; in a file, text for these is a
mistake.
"""


def filter_value(table: TableSpec, column: ColumnSpec, value: object) -> Any:
    """Return `value` as the Python type that is bound for the column.

    Raises `ValueError` whose text says what was expected.
    """
    if isinstance(value, str) and column.type in UNQUOTED:
        raise ValueError(UNQUOTED[column.type])
    try:
        return typed_value(table, column, value)
    except ConfigurationError as error:
        raise ValueError(error.problems[0].expected.partition(": ")[2]) from None
