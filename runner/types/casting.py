"""Arrow columns that a function returned, brought to their declared type without losing anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from json import JSONDecoder
from typing import TYPE_CHECKING

from runner.errors import RunPipelineError
from runner.types.columns import Reject, array_of, in_python_range
from runner.types.schema import arrow_type, is_whole_decimal, plain_values
from runner.types.values import EPOCH, show

if TYPE_CHECKING:
    import pyarrow as pa

_NANOSECONDS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


class SchemaMismatch(RunPipelineError):
    """A record batch that does not fit its table as a whole. `column` is the first column that does not."""

    category = "data"

    def __init__(self, column: str, problem: str) -> None:
        super().__init__(column, problem)
        self.column = column
        self.problem = problem

    def __str__(self) -> str:
        return f"record batch, column {self.column!r}: {self.problem}"


def cast_column(name: str, array: pa.Array, column_type: str, reject: Reject) -> pa.Array:
    """Return an array of the declared type, with NULL where `reject(position, reason)` was called.

    Raises `SchemaMismatch` when no value of the array's type could be stored without changing its meaning.
    """
    import pyarrow as pa

    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if isinstance(array, pa.DictionaryArray):
        array = array.dictionary_decode()
    if not _fits(array.type, column_type):
        raise SchemaMismatch(name, f"is {array.type}; expected {column_type}, as {arrow_type(column_type)}")
    if column_type == "timestamp":
        return _cast_times(array, reject)
    try:
        exact = array.cast(arrow_type(column_type))
    except pa.ArrowInvalid:  # some value does not fit; asked one by one they say which
        exact = array_of(column_type, plain_values(array), reject)
    return _checked_json(exact, reject) if column_type == "json" else exact


def _fits(source: pa.DataType, column_type: str) -> bool:
    """Tell whether a type may become a declared one, each value permitting: another width, unit or layout
    may; a change of meaning (text to number, float to int, a time without zone to an instant) may not.
    """
    import pyarrow.types as t

    if t.is_null(source):
        return True
    kinds: dict[str, tuple[Callable[[pa.DataType], bool], ...]] = {
        "string": (t.is_string, t.is_large_string, t.is_string_view),
        "json": (t.is_string, t.is_large_string, t.is_string_view),
        "int64": (t.is_integer, is_whole_decimal),
        "float64": (t.is_floating, t.is_integer),
        "numeric": (t.is_decimal, t.is_integer),
        "bool": (t.is_boolean,),
        "timestamp": (t.is_timestamp,),
        "date": (t.is_date32,),
        "bytes": (t.is_binary, t.is_large_binary, t.is_binary_view, t.is_fixed_size_binary),
    }
    if column_type == "timestamp" and getattr(source, "tz", None) is None:
        return False
    return any(is_kind(source) for is_kind in kinds[column_type])


def _cast_times(array: pa.Array, reject: Reject) -> pa.Array:
    import pyarrow as pa

    try:
        times = array.cast(arrow_type("timestamp"))
        if in_python_range(times):
            return times
    except pa.ArrowInvalid:
        ...  # some value is too fine or too far; asked one by one they say which
    return array_of("timestamp", list(_exact_times(array, reject)), reject)


def _exact_times(array: pa.Array, reject: Reject) -> Iterator[datetime | None]:
    unit = _NANOSECONDS[array.type.unit]
    for position, tick in enumerate(array.view("int64").to_pylist()):
        microseconds, rest = divmod((tick or 0) * unit, 1000)
        try:
            moment = EPOCH + timedelta(0, 0, microseconds)
        except OverflowError:
            reject(position, f"expected a time in the years 1 to 9999 of UTC, got {tick} {array.type.unit}")
            moment = None
        if rest:
            reject(position, f"expected whole microseconds, got {tick} ns since 1970")
        yield None if tick is None or rest else moment


def _checked_json(texts: pa.Array, reject: Reject) -> pa.Array:
    """Return texts that are JSON; a record batch carries it as text that nobody has looked at yet."""
    import pyarrow as pa

    decode = JSONDecoder(parse_constant=_no_constant).decode
    values = texts.to_pylist()
    bad = 0
    for position, text in enumerate(values):
        try:
            text is None or decode(text)
        except (ValueError, RecursionError) as error:
            reject(position, f"expected JSON text ({error}), got {show(text)}")
            values[position] = None
            bad += 1
    return pa.array(values, pa.utf8()) if bad else texts


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
