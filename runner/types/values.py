"""What one Python value must be for a declared column type, and the exact value that Arrow is given for it.

These functions are the slow, exact half of `RowEncoder`: they run over a column in which the fast path found
something. Each returns the value to store or raises `ValueError` with what was expected.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from json import JSONEncoder
from typing import Any

from runner.types.schema import NUMERIC_PRECISION, NUMERIC_SCALE

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Zero of Arrow's timestamps."""

_INT64 = range(-(2**63), 2**63)
_STEP = Decimal(1).scaleb(-NUMERIC_SCALE)
_EXACT = Context(prec=NUMERIC_PRECISION, traps=[Inexact, InvalidOperation])
_SURROGATE = re.compile("[\ud800-\udfff]")
_VALUE_CHARACTERS = 80

# Circular structures end in a RecursionError, which costs nothing when there are none.
json_text = JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode
"""Compact JSON text of a value. A str becomes a JSON string; NaN and infinities are refused (`ValueError`)."""


def show(value: object) -> str:
    """Return `repr(value)` for an error message, on one line and cut."""
    text = repr(value)
    return text if len(text) <= _VALUE_CHARACTERS else f"{text[:_VALUE_CHARACTERS]}…"


def string_value(value: object) -> str:
    """Return a str as it is; lone surrogates have no UTF-8 form and are refused."""
    if not isinstance(value, str):
        raise ValueError("expected text (str)")  # noqa: TRY004 - the reason of a bad row
    if _SURROGATE.search(value):
        raise ValueError("expected text without lone surrogates")
    return str.__str__(value)


def int64_value(value: object) -> int:
    """Return an int (or what says by `__index__` that it is one) of 64 bits."""
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise ValueError("expected an int")
    number = operator.index(value)  # type: ignore[arg-type]
    if number not in _INT64:
        raise ValueError("expected an int of 64 bits")
    return int(number)


def float64_value(value: object) -> float:
    """Return a float, or the float that equals an int exactly."""
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("expected a float")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError("expected a number that a float can hold") from None
    if number != value:
        raise ValueError("expected a number that a float can hold exactly")
    return number


def numeric_value(value: object) -> Decimal:
    """Return a finite Decimal or int with at most 9 decimal places and 29 digits before the point."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        raise ValueError("expected a Decimal or int")
    try:
        return _EXACT.quantize(Decimal(value), _STEP)
    except Inexact:
        raise ValueError(f"expected at most {NUMERIC_SCALE} decimal places") from None
    except InvalidOperation:
        whole = NUMERIC_PRECISION - NUMERIC_SCALE
        raise ValueError(f"expected a finite number of at most {whole} digits before the point") from None


def bool_value(value: object) -> bool:
    """Return True or False."""
    if not isinstance(value, bool):
        raise ValueError("expected True or False")  # noqa: TRY004 - the reason of a bad row
    return value


def timestamp_value(value: object) -> datetime:
    """Return an aware datetime in UTC; a naive one could be any of 38 instants and is refused."""
    if not isinstance(value, datetime):
        raise ValueError("expected an aware datetime")  # noqa: TRY004 - the reason of a bad row
    if value.utcoffset() is None:
        raise ValueError("expected an aware datetime, this one has no time zone")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("expected a time that lies in the years 1 to 9999 of UTC") from None


def date_value(value: object) -> date:
    """Return a date; a datetime is a point in time and is refused."""
    if isinstance(value, datetime) or not isinstance(value, date):
        raise ValueError("expected a date")
    return value


def json_value(value: object) -> str:
    """Return a JSON value as compact text."""
    try:
        text = json_text(value)
    except RecursionError:
        raise ValueError("expected a JSON value; this one nests too deeply or contains itself") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected a JSON value ({error})") from None
    if _SURROGATE.search(text):
        raise ValueError("expected a JSON value without lone surrogates")
    return text


def bytes_value(value: object) -> bytes:
    """Return bytes as they are."""
    if not isinstance(value, bytes):
        raise ValueError("expected bytes")  # noqa: TRY004 - the reason of a bad row
    return value


STRICT: dict[str, Callable[[Any], Any]] = {
    "string": string_value,
    "int64": int64_value,
    "float64": float64_value,
    "numeric": numeric_value,
    "bool": bool_value,
    "timestamp": timestamp_value,
    "date": date_value,
    "json": json_value,
    "bytes": bytes_value,
}
"""The check of each column type, for values that are not None."""
