"""Rows of Python values as Arrow batches of a declared schema, strictly: good rows go on, bad ones are named.

A column is looked at as a whole: one set of its value types usually proves it good, and Arrow builds the array.
Only when that proof fails is every value of the column asked (`runner.types.values`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from runner.errors import did_you_mean
from runner.ports import Batch, Row
from runner.specs import ColumnSpec
from runner.types.casting import SchemaMismatch, is_lossless
from runner.types.schema import arrow_schema, arrow_type
from runner.types.values import EPOCH, STRICT, json_text, show

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class BadCell:
    """Why a row is bad: its position in the input, the first column that does not fit, and the reason.

    `reason` says value and expectation; `key` are the values of the key columns as text, `row` the whole row.
    """

    index: int
    column: str
    reason: str
    key: str
    row: Row


@dataclass(frozen=True, slots=True)
class Encoded:
    """The good rows in order, and the bad ones (one `BadCell` a row, in order). Together they are the input."""

    batch: pa.RecordBatch
    bad: list[BadCell] = field(default_factory=list)


class RowEncoder:
    """Makes record batches of declared columns.

    A value None (or a missing column) is NULL, and a bad row where the column is required or part of `key`.
    """

    def __init__(self, columns: Sequence[ColumnSpec], *, key: Sequence[str] = ()) -> None:
        self._columns = tuple(columns)
        self._names = tuple(column.name for column in self._columns)
        self._key = tuple(key)
        self._needed = {c.name for c in self._columns if c.required} | set(self._key)
        self.schema = arrow_schema(self._columns)

    def encode(self, batch: Batch) -> Encoded:
        """Encode a batch of any shape. Raises `SchemaMismatch` for an Arrow batch with a column of another kind."""
        if batch.arrow is not None:
            return self.encode_arrow(batch.arrow)
        if batch.columns is not None:
            return self.encode_columns(batch.columns, batch.length)
        return self.encode_rows(batch.rows or [])

    def encode_rows(self, rows: Sequence[Row]) -> Encoded:
        """Encode dictionaries. A key that is no column makes its row a bad row."""
        raise_unknown: dict[int, tuple[str, str]] = {}
        known = set(self._names)
        for index, row in enumerate(rows):
            if not row.keys() <= known:
                name = next(name for name in row if name not in known)
                raise_unknown[index] = (name, self._unknown(name))
        columns = {name: [row.get(name) for row in rows] for name in self._names}
        return self._encode(columns, len(rows), raise_unknown, lambda index: rows[index])

    def encode_columns(self, columns: Mapping[str, list[Any]], length: int) -> Encoded:
        """Encode lists of equal length. Columns that are not given are NULL."""
        bad: dict[int, tuple[str, str]] = {}
        for name in columns:
            if name not in self._names:
                bad = dict.fromkeys(range(length), (name, self._unknown(name)))
                break
        return self._encode(columns, length, bad, lambda i: {name: values[i] for name, values in columns.items()})

    def encode_arrow(self, batch: pa.RecordBatch) -> Encoded:
        """Encode an Arrow batch by column names."""
        for name in batch.schema.names:
            if name not in self._names:
                raise SchemaMismatch(name, self._unknown(name))
        columns: dict[str, list[Any]] = {}
        for column in self._columns:
            if column.name in batch.schema.names:
                array = batch.column(column.name)
                if not is_lossless(array.type, column.type):
                    raise SchemaMismatch(column.name, f"a batch has {array.type} where {column.type} is declared")
                columns[column.name] = array.to_pylist()
        return self.encode_columns(columns, batch.num_rows)

    def _encode(
        self,
        columns: Mapping[str, list[Any]],
        length: int,
        bad: dict[int, tuple[str, str]],
        row_at: Callable[[int], Row],
    ) -> Encoded:
        import pyarrow as pa

        arrays = []
        for column in self._columns:
            values = columns.get(column.name)
            array = pa.nulls(length, arrow_type(column.type)) if values is None else self._array(column, values, bad)
            if column.name in self._needed and array.null_count:
                for index, ok in enumerate(array.is_valid().to_pylist()):
                    if not ok:
                        bad.setdefault(index, (column.name, "expected a value, the column is required"))
            arrays.append(array)
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.schema) if arrays else None
        if not bad:
            return Encoded(batch)
        batch = batch.filter(pa.array([index not in bad for index in range(length)], pa.bool_()))
        return Encoded(batch, [self._cell(i, *bad[i], row_at(i)) for i in sorted(bad)])

    def _array(self, column: ColumnSpec, values: list[Any], bad: dict[int, tuple[str, str]]) -> pa.Array:
        import pyarrow as pa

        try:
            array = _quick(column.type, values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, TypeError, ValueError, RecursionError):
            array = None
        if array is not None:
            return array
        strict = STRICT[column.type]
        exact: list[Any] = []
        for index, value in enumerate(values):
            try:
                exact.append(None if value is None else strict(value))
            except ValueError as error:
                exact.append(None)
                bad.setdefault(index, (column.name, f"{error}, got {show(value)}"))
        return pa.array(exact, arrow_type(column.type))

    def _cell(self, index: int, column: str, reason: str, row: Row) -> BadCell:
        key = ", ".join(f"{name}={show(row.get(name))}" for name in self._key)
        return BadCell(index, column, reason, key, row)

    def _unknown(self, name: str) -> str:
        near = did_you_mean(name, self._names)
        return f"unknown column {name!r}; expected one of {', '.join(self._names)}" + (f" ({near})" if near else "")


_QUICK: dict[str, frozenset[type]] = {
    "string": frozenset({str}),
    "int64": frozenset({int}),
    "float64": frozenset({float}),
    "numeric": frozenset({int, Decimal}),
    "bool": frozenset({bool}),
    "date": frozenset({date}),
    "bytes": frozenset({bytes}),
}


def _quick(column_type: str, values: list[Any]) -> pa.Array | None:
    import pyarrow as pa

    types = set(map(type, values))
    types.discard(type(None))
    if column_type == "json":
        return pa.array([None if value is None else json_text(value) for value in values], pa.utf8())
    if column_type == "timestamp" or not types <= _QUICK[column_type]:
        return None
    return pa.array(values, arrow_type(column_type))
