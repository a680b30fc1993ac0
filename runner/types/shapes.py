"""A batch in another of its shapes: as rows for row functions, as Arrow for batch functions, one row of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from runner.types.decoding import decode_rows
from runner.types.inferring import columns_of

if TYPE_CHECKING:
    import pyarrow as pa

    from runner.ports import Batch, Row
    from runner.types.schema import ColumnLike


def rows_of(batch: Batch, declared: Sequence[ColumnLike]) -> list[Row]:
    """Return a batch of any shape as dictionaries that a function may change. `declared` columns type Arrow."""
    if batch.rows is not None:
        return [dict(row) for row in batch.rows]
    if batch.arrow is not None:
        return decode_arrow(batch.arrow, declared)
    columns = batch.columns or {}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def decode_arrow(arrow: pa.RecordBatch, declared: Sequence[ColumnLike]) -> list[Row]:
    """Return a record batch as dictionaries of all its columns, each typed as declared, else as Arrow has it."""
    known = {column.name: column for column in declared}
    return decode_rows(arrow, columns_of(arrow.schema, known))


def row_at(batch: Batch, index: int, declared: Sequence[ColumnLike]) -> Row:
    """Return one row of a batch of any shape."""
    if batch.rows is not None:
        return batch.rows[index]
    if batch.arrow is not None:
        return decode_arrow(batch.arrow.slice(index, 1), declared)[0]
    return {name: values[index] for name, values in (batch.columns or {}).items()}


def part_of(batch: Batch, start: int, length: int) -> Batch:
    """Return some rows of a batch, in the shape it has. Rows and record batches are not copied."""
    end = min(start + length, batch.length)
    part = replace(batch, length=end - start)
    if batch.rows is not None:
        part.rows = batch.rows[start:end]
    if batch.arrow is not None:
        part.arrow = batch.arrow.slice(start, end - start)
    if batch.columns is not None:
        part.columns = {name: values[start:end] for name, values in batch.columns.items()}
    return part


def arrow_of(batch: Batch) -> pa.RecordBatch:
    """Return a batch for a batch function. Rows of an earlier row function carry no declaration: Arrow infers."""
    import pyarrow as pa

    if batch.arrow is not None:
        return batch.arrow
    return pa.RecordBatch.from_pylist(batch.rows or [])
