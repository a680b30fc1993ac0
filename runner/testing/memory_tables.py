"""Tables in memory: rows as dictionaries, conditions on them, and their order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from runner.errors import WarehouseError
from runner.ports import Row
from runner.specs import Filter, TableRef, TableSpec
from runner.sql import filter_value
from runner.types.schema import arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

ENGINE = "memory"
NO_SQL = "tables in memory understand no SQL: no sql steps"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class MemoryTable:
    """The rows of one table, and the columns that it has by now with their declared types."""

    types: dict[str, str]
    required: set[str]
    rows: list[Row] = field(default_factory=list)


Tables = dict[TableRef, MemoryTable]

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    ">": lambda left, right: left > right,
    "<=": lambda left, right: left <= right,
    ">=": lambda left, right: left >= right,
    "in": lambda left, right: left in right,
}


def matcher(table: TableSpec, filters: Iterable[Filter]) -> Callable[[Row], bool]:
    """Return a test for rows: every filter holds; NULL matches nothing. Raises `ConfigurationError` like SQL does."""
    tests = [
        (item.column, _OPERATORS[item.op], _comparable_value(filter_value(table, item)[1]))
        for item in filters
    ]

    def matches(row: Row) -> bool:
        return all(
            row[name] is not None and test(comparable(row[name]), value) for name, test, value in tests
        )

    return matches


def _comparable_value(value: Any) -> Any:
    return [comparable(item) for item in value] if isinstance(value, list) else comparable(value)


def comparable(value: Any) -> Any:
    """Return a value that compares as in a warehouse: NaN is equal to itself and greater than any number."""
    if isinstance(value, float):
        return (1, 0.0) if math.isnan(value) else (0, value)
    return value


def moment(value: Any) -> Any:
    """Return a date as the start of its day in UTC, so that dates and times compare; other values as they are."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


def ordered(rows: Iterable[Row], names: Sequence[str]) -> list[Row]:
    """Return rows by columns, ascending, NULL last."""
    return sorted(
        rows,
        key=lambda row: [
            (row[name] is None, 0 if row[name] is None else comparable(row[name])) for name in names
        ],
    )


def find(tables: Mapping[TableRef, MemoryTable], ref: TableRef) -> MemoryTable:
    """Return a table. Raises `WarehouseError` when there is none."""
    try:
        return tables[ref]
    except KeyError:
        raise WarehouseError(ENGINE, f"table {ref} does not exist") from None


def to_rows(batch: pa.RecordBatch) -> list[Row]:
    """Return the rows of a batch; times are aware and in UTC, and made without reading time zone files."""
    columns = {name: _values(batch.column(name)) for name in batch.schema.names}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _values(array: pa.Array) -> list[Any]:
    import pyarrow as pa

    if not pa.types.is_timestamp(array.type):
        values: list[Any] = array.to_pylist()
        return values
    ticks = array.cast(arrow_type("timestamp")).view(pa.int64()).to_pylist()
    return [None if tick is None else EPOCH + timedelta(microseconds=tick) for tick in ticks]


def to_batch(table: TableSpec, columns: Sequence[str], rows: Sequence[Row]) -> pa.RecordBatch:
    """Return rows as a batch, typed as declared."""
    import pyarrow as pa

    schema = pa.schema([(name, arrow_type(table.column(name).type)) for name in columns])
    arrays = [pa.array([row[field.name] for row in rows], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
