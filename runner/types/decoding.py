"""Arrow batches as rows, the cheap way.

`RecordBatch.to_pylist` spends four fifths of its time on time zones. Here timestamps go through int64, and the
dictionaries are made by one generated comprehension a schema.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import lru_cache
from json import JSONDecoder
from typing import TYPE_CHECKING, Any

from runner.ports import Row
from runner.specs import ColumnSpec
from runner.types.schema import arrow_type
from runner.types.values import EPOCH

if TYPE_CHECKING:
    import pyarrow as pa


def decode_rows(batch: pa.RecordBatch, columns: Sequence[ColumnSpec]) -> list[Row]:
    """Return the rows of a batch as dictionaries with the named columns, in that order.

    Timestamps become aware UTC datetimes, `numeric` Decimal, `json` the decoded value. The batch may carry more
    columns. Raises `KeyError` for a column that it does not carry, `ValueError` for text that is not JSON.
    """
    lists = [_values(batch.column(column.name), column.type) for column in columns]
    return _maker(tuple(column.name for column in columns))(*lists) if lists else [{} for _ in range(batch.num_rows)]


def _values(array: pa.Array, column_type: str) -> list[Any]:
    """Return one column as Python values."""
    if column_type == "timestamp":
        return _times(array)
    values: list[Any] = array.to_pylist()
    return _documents(values) if column_type == "json" else values


def _times(array: pa.Array) -> list[Any]:
    import pyarrow as pa

    ticks = array.cast(arrow_type("timestamp")).cast(pa.int64()).to_pylist()
    if array.null_count:
        return [None if tick is None else EPOCH + timedelta(0, 0, tick) for tick in ticks]
    return [EPOCH + timedelta(0, 0, tick) for tick in ticks]


def _documents(texts: list[Any]) -> list[Any]:
    decode = JSONDecoder().decode
    return [None if text is None else decode(text) for text in texts]


@lru_cache(maxsize=256)
def _maker(names: tuple[str, ...]) -> Callable[..., list[Row]]:
    """Return a function of one list a column that returns the rows, made for these column names."""
    variables = [f"v{position}" for position in range(len(names))]
    lists = [f"c{position}" for position in range(len(names))]
    literal = ", ".join(f"{name!r}: {variable}" for name, variable in zip(names, variables, strict=True))
    source = (
        f"lambda {', '.join(lists)}: "
        f"[{{{literal}}} for {', '.join(variables)}, in zip({', '.join(lists)}, strict=True)]"
    )
    maker: Callable[..., list[Row]] = eval(source)  # noqa: S307 - made of numbered names and quoted literals only
    return maker
