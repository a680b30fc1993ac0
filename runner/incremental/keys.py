"""The text of a key: how keys are remembered, quarantined and shown, the same in Python and in SQL.

A single string key is its own text; another single key is its canonical text (timestamps as RFC 3339 in UTC with
microseconds, numerics with nine decimals, bytes in upper-case hex); a composite key is the list of its
parts' texts, as JSON has it but for control characters, which stay as they are. A key with a NULL part has no text.

Of float64 and json engines write other texts than Python (PostgreSQL's 1.0 is "1"), so the loader takes no such keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from runner.clock import format_utc
from runner.sql import nine_decimals

_ESCAPES = {ord('"'): '\\"', ord("\\"): "\\\\"}
"""Only what a text needs to be unambiguous, since every engine has to write the same."""


def key_text(values: Sequence[Any], types: Sequence[str]) -> str | None:
    """Return the text of one key, given its Python values and declared column types; None when a part is NULL."""
    if any(value is None for value in values):
        return None
    texts = [_TEXTS[declared](value) for value, declared in zip(values, types, strict=True)]
    if len(texts) == 1:
        return texts[0]
    return "[" + ",".join(f'"{text.translate(_ESCAPES)}"' for text in texts) + "]"


def _timestamp(value: datetime) -> str:
    return format_utc(value if value.tzinfo else value.replace(tzinfo=UTC))


def _numeric(value: Decimal) -> str:
    return format(nine_decimals(Decimal(value)), "f")


def _date(value: date) -> str:
    return value.isoformat()


_TEXTS: dict[str, Callable[[Any], str]] = {
    "string": lambda value: value,
    "json": lambda value: value,
    "int64": str,
    "float64": lambda value: repr(float(value)),
    "numeric": _numeric,
    "bool": lambda value: "true" if value else "false",
    "timestamp": _timestamp,
    "date": _date,
    "bytes": lambda value: value.hex().upper(),
}
