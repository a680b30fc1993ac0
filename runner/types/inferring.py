"""Columns of an Arrow schema that no table declares: what a batch function returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from runner.types.schema import Column, ColumnLike, is_whole_decimal

if TYPE_CHECKING:
    import pyarrow as pa


def columns_of(schema: pa.Schema, known: Mapping[str, ColumnLike]) -> list[ColumnLike]:
    """Return a declaration for each field: the known one of that name, else one that follows from the Arrow type.

    Arrow knows no JSON, so an undeclared text column stays text.
    """
    return [known.get(field.name) or Column(field.name, _declared(field.type)) for field in schema]


def _declared(arrow: pa.DataType) -> str:
    import pyarrow.types as kinds

    choices: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
        (kinds.is_boolean, "bool"),
        (kinds.is_integer, "int64"),
        (is_whole_decimal, "int64"),
        (kinds.is_floating, "float64"),
        (kinds.is_decimal, "numeric"),
        (kinds.is_timestamp, "timestamp"),
        (kinds.is_date, "date"),
        (kinds.is_binary, "bytes"),
        (kinds.is_large_binary, "bytes"),
    )
    for matches, declared in choices:
        if matches(arrow):
            return declared
    return "string"
