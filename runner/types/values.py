"""What one Python value must be for a declared column type.

The slow and exact half of encoding: it asks each value of a column about which `runner.types.columns` could
not tell as a whole. Every check returns the value to store, or raises `Unfit`.
"""

from __future__ import annotations

import json.encoder
import operator
import re
import reprlib
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any

from runner.types.schema import NUMERIC_PRECISION, NUMERIC_SCALE

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Zero of Arrow's timestamps."""

SHOWN = 80
"""Characters of a value that stand in a message."""

_INT64 = range(-(2**63), 2**63)
_MAX_BYTES = 2**31 - 1  # of one Arrow array of text or bytes, so also of one value
_STEP = Decimal(1).scaleb(-NUMERIC_SCALE)
_EXACT = Context(prec=NUMERIC_PRECISION, traps=[Inexact, InvalidOperation])
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 2 * SHOWN
_SURROGATE = re.compile("[\ud800-\udfff]")


class Unfit(Exception):
    """A value that its column cannot take. The text says what was expected."""


def show(value: object) -> str:
    """Return what `repr` says of a value, for a message: cut at `SHOWN` characters, and never an error itself."""
    try:
        text = _REPR.repr(value)
    except Exception:  # noqa: BLE001 - a `__repr__` of the project, or an int of too many digits
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _json_encoder() -> Callable[[Any], str]:
    """Return what makes compact JSON text of a value; NaN and infinity are `ValueError`.

    `JSONEncoder.encode` sets up its C half anew for each document, which takes as long as a small document
    itself. Values that contain themselves are not looked for, since they end in a RecursionError anyway.
    """
    encoder = json.encoder.JSONEncoder(
        ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
    )
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    quote = json.encoder.encode_basestring  # as JSONEncoder.iterencode does it
    pieces = make(None, encoder.default, quote, None, ":", ",", False, False, False)
    return lambda value: "".join(pieces(value, 0))


json_text = _json_encoder()
"""Compact JSON text of a value; a str becomes a JSON string."""


def string_value(value: object) -> str:
    """Return a str; a lone surrogate has no UTF-8 form."""
    if not isinstance(value, str):
        raise Unfit("expected text (str)")
    return _storable(str.__str__(value))


def int64_value(value: object) -> int:
    """Return an int, or what says by `__index__` that it is one, of 64 bits."""
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise Unfit("expected an int")
    number = int(operator.index(value))  # type: ignore[arg-type]
    if number not in _INT64:
        raise Unfit("expected an int of 64 bits")
    return number


def float64_value(value: object) -> float:
    """Return a float, or the float that equals an int."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unfit("expected a float")
    try:
        number = float(value)
    except OverflowError:
        raise Unfit("expected a number that a float can hold") from None
    if isinstance(value, int) and number != value:
        raise Unfit("expected a number that a float can hold exactly")
    return number


def numeric_value(value: object) -> Decimal:
    """Return a finite Decimal or int with at most 9 decimal places and 29 digits before the point."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        raise Unfit("expected a Decimal or an int")
    number = Decimal(value)
    if not number.is_finite():
        raise Unfit("expected a finite Decimal")
    try:
        return _EXACT.quantize(number, _STEP)
    except Inexact:
        raise Unfit(f"expected at most {NUMERIC_SCALE} decimal places") from None
    except InvalidOperation:
        raise Unfit(f"expected at most {NUMERIC_PRECISION - NUMERIC_SCALE} digits before the point") from None


def bool_value(value: object) -> bool:
    """Return True or False."""
    if not isinstance(value, bool):
        raise Unfit("expected True or False")
    return value


def timestamp_value(value: object) -> datetime:
    """Return an aware datetime in UTC. A naive one is refused: nothing says which instant it means."""
    if not isinstance(value, datetime):
        raise Unfit("expected an aware datetime")
    if value.utcoffset() is None:
        raise Unfit("expected an aware datetime, not one without time zone")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise Unfit("expected a time in the years 1 to 9999 of UTC") from None


def date_value(value: object) -> date:
    """Return a date; a datetime is refused: which day it is depends on the time zone."""
    if isinstance(value, datetime) or not isinstance(value, date):
        raise Unfit("expected a date")
    return value


def json_value(value: object) -> str:
    """Return any JSON value as compact text. As everywhere in Python, keys that are numbers become text."""
    try:
        return _storable(json_text(value))
    except RecursionError:
        raise Unfit("expected a JSON value, not one that contains itself or nests too deeply") from None
    except (TypeError, ValueError) as error:
        raise Unfit(f"expected a JSON value ({error})") from None


def bytes_value(value: object) -> bytes:
    """Return bytes."""
    if not isinstance(value, bytes):
        raise Unfit("expected bytes")
    if len(value) > _MAX_BYTES:
        raise Unfit("expected less than 2 GiB")
    return value


def _storable(text: str) -> str:
    if _SURROGATE.search(text):
        raise Unfit("expected text without lone surrogates (it has no UTF-8 form)")
    if len(text) > _MAX_BYTES // 4 and len(text.encode()) > _MAX_BYTES:
        raise Unfit("expected less than 2 GiB")
    return text


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
"""The check of each column type, for values that are not None. json gives text."""
