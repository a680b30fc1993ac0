"""Columns of Python values as Arrow arrays: as a whole where that is proven exact, else value by value."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from runner.types.schema import arrow_type
from runner.types.values import EPOCH, STRICT, Unfit, json_text, show

if TYPE_CHECKING:
    import pyarrow as pa

Reject = Callable[[int, str], None]
"""Takes the position of a bad row and the reason."""

_NONE = type(None)
_EXACT_TYPES: dict[str, set[type]] = {
    "string": {str, _NONE},
    "int64": {int, _NONE},
    "float64": {float, int, _NONE},
    "numeric": {Decimal, int, _NONE},
    "bool": {bool, _NONE},
    "timestamp": {datetime, _NONE},
    "date": {date, _NONE},
    "bytes": {bytes, _NONE},
}
"""Types whose conversion by Arrow is either exact or an error. Values of subclasses are asked one by one."""


def array_of(column_type: str, values: list[Any], reject: Reject) -> pa.Array:
    """Return the values as an array of a declared type, with NULL for each that was rejected."""
    import pyarrow as pa

    try:
        if column_type == "json":
            return _build("json", [None if value is None else json_text(value) for value in values])
        if set(map(type, values)) <= _EXACT_TYPES[column_type]:
            return _build(column_type, values)
    except (pa.ArrowException, OverflowError, RecursionError, TypeError, ValueError):
        ...  # some value does not fit; asked one by one they say which
    return _build(column_type, list(_each(STRICT[column_type], values, reject)))


def in_python_range(times: pa.Array) -> bool:
    """Tell whether all instants lie in the years that Python's datetime knows, 1 to 9999 of UTC."""
    ends = _call_function("min_max", [times.view("int64")]).as_py()
    return ends["min"] is None or (ends["min"] >= _FIRST and ends["max"] <= _LAST)


def _call_function(name: str, arguments: list[pa.Array]) -> pa.Scalar:
    """Call a function of Arrow's. `pyarrow.compute` would first wrap and document all there are, which takes every
    process 0.07 s.
    """
    try:
        from pyarrow._compute import call_function
    except ImportError:  # it is not promised to be there
        from pyarrow.compute import call_function
    return call_function(name, arguments)


def _each(check: Callable[[Any], Any], values: Iterable[Any], reject: Reject) -> Iterable[Any]:
    for position, value in enumerate(values):
        try:
            yield None if value is None else check(value)
        except Unfit as problem:
            reject(position, f"{problem}, got {show(value)}")
            yield None


def _build(column_type: str, values: list[Any]) -> pa.Array:
    import pyarrow as pa

    return _times(values) if column_type == "timestamp" else pa.array(values, arrow_type(column_type))


def _times(values: list[Any]) -> pa.Array:
    """Return aware datetimes as an array. Raises `TypeError` for a naive one, `OverflowError` beyond the years.

    Arrow takes differences four times faster than aware datetimes, and subtracting refuses naive ones itself.
    """
    import pyarrow as pa

    since = [None if value is None else value - EPOCH for value in values]
    times = pa.array(since, pa.duration("us")).view(arrow_type("timestamp"))
    if not in_python_range(times):
        raise OverflowError("a time zone carries a time out of the years 1 to 9999")
    return times


def _ticks(moment: datetime) -> int:
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


_FIRST = _ticks(datetime.min.replace(tzinfo=EPOCH.tzinfo))
_LAST = _ticks(datetime.max.replace(tzinfo=EPOCH.tzinfo))
