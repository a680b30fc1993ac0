"""Values as a column's type has them: read from what YAML, settings and the command line give, never guessed."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Context, Decimal, InvalidOperation
from typing import Any

from runner.errors import ConfigurationError, Problem
from runner.specs import ColumnSpec, TableSpec

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
NUMERIC_STEP = Decimal("1e-9")
NUMERIC_BOUND = Decimal(10) ** 29
_WIDE = Context(prec=60)
"""Python's default of 28 digits is too few for DECIMAL(38,9)."""


def nine_decimals(number: Decimal) -> Decimal:
    """Return a number with exactly nine decimals, as `numeric` keeps it. Raises `InvalidOperation` if too wide."""
    return number.quantize(NUMERIC_STEP, context=_WIDE)


def typed_value(table: TableSpec, column: ColumnSpec, value: Any) -> Any:
    """Return `value` as the Python type of a column: str, int, float, Decimal, bool, aware UTC datetime, date, bytes.

    Text is read as the column's type; nothing is rounded, cut or guessed.
    Raises `ConfigurationError` that names table, column, value and what was expected.
    """
    convert, expected = _CONVERTERS[column.type]
    try:
        return convert(value)
    except (ValueError, TypeError, InvalidOperation, OverflowError):
        raise column_problem(
            table, column.name, f"value {value!r} does not fit", f"{column.type}: {expected}"
        ) from None


def column_problem(table: TableSpec, column: str, message: str, expected: str) -> ConfigurationError:
    """Return the error about one column of a table."""
    return ConfigurationError([Problem(path=f"{table.ref}.{column}", message=message, expected=expected)])


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode()  # lone surrogates are no text
    return value


def _int64(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError
    number = int(value)
    if not INT64_MIN <= number <= INT64_MAX:
        raise OverflowError
    return number


def _float64(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    number = float(value)
    if math.isnan(number):
        raise ValueError  # NaN is a value, only no useful one: it equals nothing
    return number


def _numeric(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise TypeError
    number = Decimal(str(value))
    # abs() would round to the 28 digits of the context.
    if not number.is_finite() or number.copy_abs() >= NUMERIC_BOUND or number != nine_decimals(number):
        raise ValueError
    return number


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}[value] if value in ("true", "false") else _refuse()


def _timestamp(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(_string(value))
    if moment.tzinfo is None:
        raise ValueError
    return moment.astimezone(UTC)


def _date(value: Any) -> date:
    if isinstance(value, datetime):
        raise TypeError
    return value if isinstance(value, date) else date.fromisoformat(_string(value))


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError
    return value


def _refuse() -> Any:
    raise TypeError


_CONVERTERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "string": (_string, "text"),
    "int64": (_int64, "a whole number of 64 bits"),
    "float64": (_float64, "a number"),
    "numeric": (_numeric, "a number with at most 29 digits before and 9 after the point"),
    "bool": (_bool, "true or false"),
    "timestamp": (_timestamp, "ISO 8601 with an offset, such as 2026-02-12T06:00:00Z"),
    "date": (_date, "ISO 8601, such as 2026-02-12"),
    "bytes": (_bytes, "bytes"),
}
