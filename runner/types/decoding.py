"""Arrow batches as rows, the cheap way.

`RecordBatch.to_pylist` spends four fifths of its time on time zones. Here timestamps come from their
integers, and the dictionaries from one generated comprehension a schema.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import lru_cache
from json import JSONDecoder
from typing import TYPE_CHECKING, Any

from runner.errors import RunPipelineError
from runner.types.schema import ColumnLike, arrow_type, plain_values
from runner.types.values import EPOCH, show

if TYPE_CHECKING:
    import pyarrow as pa

    from runner.ports import Row


class UndecodableValue(RunPipelineError):
    """A value of a source table that Python cannot hold: an infinite time, text that is not JSON."""

    category = "data"

    def __init__(self, column: str, value: str, expected: str) -> None:
        super().__init__(column, value, expected)
        self.column = column
        self.value = value
        self.expected = expected

    def __str__(self) -> str:
        return f"column {self.column!r} holds {self.value}; expected {self.expected}"


def decode_rows(batch: pa.RecordBatch, columns: Sequence[ColumnLike]) -> list[Row]:
    """Return the rows of a batch as dictionaries of the named columns, in that order.

    Timestamps become aware UTC datetimes, `numeric` Decimal, `json` the value that its text stands for. The
    batch may carry further columns. Raises `UndecodableValue`, and `KeyError` for a column that the batch
    does not carry.
    """
    if not columns:
        return [{} for _ in range(batch.num_rows)]
    lists = [_values(batch.column(column.name), column) for column in columns]
    return _row_maker(tuple(column.name for column in columns))(*lists)


def _values(array: pa.Array, column: ColumnLike) -> list[Any]:
    match column.type:
        case "timestamp":
            return _times(array, column.name)
        case "json":
            return _documents(array, column.name)
        case _:
            return _plain(array, column)


def _plain(array: pa.Array, column: ColumnLike) -> list[Any]:
    try:
        values = plain_values(array) if column.type == "int64" else array.to_pylist()
    except (OverflowError, ValueError) as error:
        raise UndecodableValue(
            column.name, f"a {column.type} ({error})", "one that Python can hold"
        ) from error
    return values


def _times(array: pa.Array, name: str) -> list[Any]:
    import pyarrow as pa

    if getattr(array.type, "tz", None) is None:
        raise UndecodableValue(name, f"{array.type} values", "times with a time zone")
    wanted = arrow_type("timestamp")
    times = array if array.type == wanted else array.cast(wanted)  # a cast loads `pyarrow.compute`
    ticks: list[Any] = times.view(pa.int64()).to_pylist()
    try:
        if array.null_count:
            return [None if tick is None else EPOCH + timedelta(0, 0, tick) for tick in ticks]
        return [EPOCH + timedelta(0, 0, tick) for tick in ticks]
    except OverflowError:
        tick = max((tick for tick in ticks if tick is not None), key=abs)
        value = f"a time {tick} microseconds from 1970"
        raise UndecodableValue(name, value, "a time in the years 1 to 9999") from None


def _documents(array: pa.Array, name: str) -> list[Any]:
    texts = array.to_pylist()
    try:
        return _parsed(texts)
    except (ValueError, RecursionError) as error:
        text = next(text for text in texts if text is not None and not _is_json(text))
        raise UndecodableValue(name, show(text), f"JSON text ({error})") from error


def _parsed(texts: list[str | None]) -> list[Any]:
    """Return what the texts stand for. `raw_decode` needs two thirds of the time of `decode`, which looks for white
    space around the value: that is left for texts that have some, or are no JSON.
    """
    decoder = JSONDecoder()
    raw_decode = decoder.raw_decode
    values: list[Any] = []
    for text in texts:
        if text is None:
            values.append(None)
            continue
        try:
            value, end = raw_decode(text)
        except ValueError:
            value, end = None, -1
        values.append(value if end == len(text) else decoder.decode(text))
    return values


def _is_json(text: str) -> bool:
    try:
        JSONDecoder().decode(text)
    except (ValueError, RecursionError):
        return False
    return True


@lru_cache(maxsize=256)
def _row_maker(names: tuple[str, ...]) -> Callable[..., list[Row]]:
    """Return a function that makes rows of one list for each of these columns.

    It is a lambda like `lambda c0, c1: [{'id': v0, 'at': v1} for v0, v1 in zip(c0, c1, strict=True)]`.
    """
    lists = ", ".join(f"c{position}" for position in range(len(names)))
    values = ", ".join(f"v{position}" for position in range(len(names)))
    items = ", ".join(f"{name!r}: v{position}" for position, name in enumerate(names))
    source = f"lambda {lists}: [{{{items}}} for {values}, in zip({lists}, strict=True)]"
    maker: Callable[..., list[Row]] = eval(source)  # noqa: S307 - numbered names and quoted column names only
    return maker
