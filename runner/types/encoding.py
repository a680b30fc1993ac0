"""Rows as Arrow batches of declared columns, strictly: the good go on in order, the bad are named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from runner.errors import did_you_mean
from runner.types.casting import SchemaMismatch, cast_column
from runner.types.columns import array_of
from runner.types.schema import ColumnLike, arrow_schema, arrow_type
from runner.types.values import show

if TYPE_CHECKING:
    import pyarrow as pa

    from runner.ports import Batch, Row


@dataclass(frozen=True, slots=True)
class BadCell:
    """Why a row is bad: its position in the input, the first column that does not fit, and the reason, which
    says value and expectation. `key` is the values of the key columns as text, `row` the whole row as it
    came.
    """

    index: int
    column: str
    reason: str
    key: str
    row: Row


@dataclass(frozen=True, slots=True)
class Encoded:
    """The good rows, and one `BadCell` for each bad row, both in order; together they are the input."""

    batch: pa.RecordBatch
    bad: list[BadCell] = field(default_factory=list)


class RowEncoder:
    """Makes record batches of the given columns.

    None, or a column that is not given, is NULL; where it is `required` or part of `key`, the row is bad. So is one
    with a text that the warehouse cannot hold: `unfit_texts`, as `runner.sql.Dialect` has them.
    """

    def __init__(
        self,
        columns: Sequence[ColumnLike],
        *,
        key: Sequence[str] = (),
        unfit_texts: Mapping[str, tuple[str, str]] = MappingProxyType({}),
    ) -> None:
        self.schema: pa.Schema = arrow_schema(columns)
        self._columns = tuple(columns)
        self._names = tuple(column.name for column in columns)
        self._key = tuple(key)
        self._needed = {column.name for column in columns if column.required}.union(key)
        self._unfit = {
            column.name: unfit_texts[column.type] for column in columns if column.type in unfit_texts
        }

    def encode(self, batch: Batch) -> Encoded:
        """Encode a batch of any shape. Raises as `encode_arrow` does."""
        if batch.arrow is not None:
            return self.encode_arrow(batch.arrow)
        if batch.columns is not None:
            return self.encode_columns(batch.columns, batch.length)
        return self.encode_rows(batch.rows or [])

    def encode_rows(self, rows: Sequence[Row]) -> Encoded:
        """Encode dictionaries. A key that is no column makes its row bad."""
        batch = _Encoding(self._names, len(rows), rows.__getitem__)
        columns = self._transposed(rows)
        if columns is None:
            known = set(self._names)
            for index, row in enumerate(rows):
                if not row.keys() <= known:
                    name = next(name for name in row if name not in known)
                    batch.reject(name, index, self._unknown(name))
            columns = {name: [row.get(name) for row in rows] for name in self._names}
        return self._encode(batch, columns)

    def encode_columns(self, columns: Mapping[str, list[Any]], length: int) -> Encoded:
        """Encode lists of equal length. A name that is no column makes every row bad."""
        batch = _Encoding(self._names, length, lambda index: {name: columns[name][index] for name in columns})
        for name in columns:
            if name not in self._names:
                for index in range(length):
                    batch.reject(name, index, self._unknown(name))
        return self._encode(batch, columns)

    def encode_arrow(self, given: pa.RecordBatch) -> Encoded:
        """Encode a record batch by its column names, casting where nothing can be lost.

        Raises `SchemaMismatch` for a column that is unknown, occurs twice, or has a type of another meaning.
        """
        batch = _Encoding(self._names, given.num_rows, partial(shown_row, given))
        names = given.schema.names
        for name in names:
            if name not in self._names:
                raise SchemaMismatch(name, self._unknown(name))
            if names.count(name) > 1:
                raise SchemaMismatch(name, "occurs more than once")
        for column in self._columns:
            if column.name in names:
                reject = partial(batch.reject, column.name)
                array = cast_column(column.name, given.column(column.name), column.type, reject)
                batch.arrays[column.name] = array
        return self._finish(batch)

    def _encode(self, batch: _Encoding, columns: Mapping[str, list[Any]]) -> Encoded:
        for column in self._columns:
            if column.name in columns:
                reject = partial(batch.reject, column.name)
                batch.arrays[column.name] = array_of(column.type, columns[column.name], reject)
        return self._finish(batch)

    def _finish(self, batch: _Encoding) -> Encoded:
        """Add what is missing, refuse rows that lack what they need, and part the good rows from the bad."""
        import pyarrow as pa

        for column in self._columns:
            if column.name not in batch.arrays:
                batch.arrays[column.name] = pa.nulls(batch.length, arrow_type(column.type))
            if column.name in self._needed:
                why = "part of the key" if column.name in self._key else "required"
                batch.refuse_nulls(column.name, f"expected a value, the column is {why}, got None")
        for name, (pattern, what) in self._unfit.items():
            batch.refuse_texts(name, pattern, what)
        arrays = [batch.arrays[name] for name in self._names]
        good = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        if not batch.bad:
            return Encoded(good)
        kept = pa.array([index not in batch.bad for index in range(batch.length)], pa.bool_())
        return Encoded(good.filter(kept), [self._cell(batch, index) for index in sorted(batch.bad)])

    def _transposed(self, rows: Sequence[Row]) -> dict[str, list[Any]] | None:
        """Return the rows' columns, or None if not every row is a dictionary of exactly these columns."""
        width = len(self._names)
        if width < 2 or set(map(type, rows)) != {dict} or sum(map(len, rows)) != width * len(rows):
            return None
        try:
            values = list(chain.from_iterable(map(itemgetter(*self._names), rows)))
        except KeyError:
            return None
        return {name: values[position::width] for position, name in enumerate(self._names)}

    def _cell(self, batch: _Encoding, index: int) -> BadCell:
        row = batch.row_at(index)
        column, reason = batch.bad[index]
        key = ", ".join(f"{name}={show(row.get(name))}" for name in self._key)
        return BadCell(index, column, reason, key, row)

    def _unknown(self, name: object) -> str:
        hint = did_you_mean(str(name), self._names)
        text = f"unknown column {name!r}; expected one of {', '.join(self._names)}"
        return f"{text}, {hint}" if hint else text


class _Encoding:
    """One batch while it is encoded: its arrays by column, and the first reason why a row is bad."""

    def __init__(self, names: tuple[str, ...], length: int, row_at: Callable[[int], Row]) -> None:
        self.length = length
        self.row_at = row_at
        self.arrays: dict[str, pa.Array] = {}
        self.bad: dict[int, tuple[str, str]] = {}

    def reject(self, column: object, index: int, reason: str) -> None:
        """Note that the row at `index` is bad. An unknown `column` may be any key of a dictionary."""
        self.bad.setdefault(index, (str(column).encode("utf-8", "backslashreplace").decode(), reason))

    def refuse_nulls(self, column: str, reason: str) -> None:
        """Reject the rows without a value in a column."""
        array = self.arrays[column]
        if array.null_count:
            for index, missing in enumerate(array.is_null().to_pylist()):
                if missing:
                    self.reject(column, index, reason)

    def refuse_texts(self, column: str, pattern: str, what: str) -> None:
        """Reject the rows whose text in a column has something that a regular expression finds."""
        import pyarrow.compute as pc

        for index in pc.indices_nonzero(pc.match_substring_regex(self.arrays[column], pattern)).to_pylist():
            value = show(self.arrays[column][index].as_py())
            self.reject(
                column, index, f"expected text without {what}, which the warehouse cannot hold, got {value}"
            )


def shown_row(batch: pa.RecordBatch, index: int) -> Row:
    """Return one row of a batch, for people: a time that Python has no value for stands as text."""
    row: Row = {}
    for name in batch.schema.names:
        value = batch.column(name)[index]
        try:
            row[name] = value.as_py()
        except (ValueError, OverflowError):  # a time or date that Python has no value for
            row[name] = f"{value.value} ({value.type})"
    return row
