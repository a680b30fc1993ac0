"""Arrow types of declared columns, as DuckDB takes and gives them."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from runner.specs import TableSpec

ARROW_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "numeric": pa.decimal128(38, 9),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
    "json": pa.string(),
    "bytes": pa.binary(),
}


def arrow_schema(table: TableSpec, columns: Iterable[str]) -> pa.Schema:
    """Return the schema of some columns of a table. Raises `KeyError` for a column that is not declared."""
    return pa.schema([pa.field(name, ARROW_TYPES[table.column(name).type]) for name in columns])
