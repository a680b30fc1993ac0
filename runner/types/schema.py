"""Declared column types as Arrow types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

NUMERIC_PRECISION = 38
"""Digits of a `numeric` value, before and after the point."""

NUMERIC_SCALE = 9
"""Decimal places of a `numeric` value."""


def arrow_type(column_type: str) -> pa.DataType:
    """Return the Arrow type of a declared column type (one of `COLUMN_TYPES`; anything else is a `KeyError`).

    `json` is text; `timestamp` is microseconds in UTC; `numeric` is decimal128(38, 9).
    """
    import pyarrow as pa

    match column_type:
        case "string" | "json":
            return pa.utf8()
        case "int64":
            return pa.int64()
        case "float64":
            return pa.float64()
        case "numeric":
            return pa.decimal128(NUMERIC_PRECISION, NUMERIC_SCALE)
        case "bool":
            return pa.bool_()
        case "timestamp":
            return pa.timestamp("us", tz="UTC")
        case "date":
            return pa.date32()
        case "bytes":
            return pa.binary()
        case _:
            raise KeyError(column_type)


class ColumnLike(Protocol):
    """What converting needs to know of a column; a declaration (`ColumnSpec`) is one."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def type(self) -> str:
        """One of `COLUMN_TYPES`."""

    @property
    def required(self) -> bool:
        """Whether a row without a value is bad."""


class Column(NamedTuple):
    """A column that no table declares, or whose declaration is elsewhere: it goes to other processes cheaply."""

    name: str
    type: str
    required: bool = False


def arrow_schema(columns: Sequence[ColumnLike]) -> pa.Schema:
    """Return the schema of a batch of these columns. All fields are nullable: whether a value may be missing
    is checked row by row (`RowEncoder`), because Arrow itself does not enforce it.
    """
    import pyarrow as pa

    return pa.schema([(column.name, arrow_type(column.type)) for column in columns])


def is_whole_decimal(kind: pa.DataType) -> bool:
    """Tell whether a type holds whole numbers only, as decimals: what DuckDB makes of a sum of integers (HUGEINT)."""
    import pyarrow.types as kinds

    return bool(kinds.is_decimal(kind)) and kind.scale == 0


def plain_values(array: pa.Array) -> list[Any]:
    """Return the values as Python has them; whole decimals as int. Raises as `to_pylist` does."""
    values: list[Any] = array.to_pylist()
    if is_whole_decimal(array.type):
        return [None if value is None else int(value) for value in values]
    return values
