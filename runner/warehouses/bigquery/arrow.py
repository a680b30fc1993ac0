"""Columns of tables as Arrow has them, and Arrow's types as the service names them."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from runner.specs import COLUMN_TYPES, TableSpec
from runner.sql import BIGQUERY
from runner.types.schema import arrow_type

_ENGINE_TYPES = {
    arrow_type(declared): BIGQUERY.types[declared] for declared in COLUMN_TYPES if declared != "json"
}


def arrow_schema(table: TableSpec, columns: Iterable[str]) -> pa.Schema:
    """Return the schema of some columns of a table. Raises `KeyError` for a column that is not declared."""
    return pa.schema([pa.field(name, arrow_type(table.column(name).type)) for name in columns])


def engine_types(schema: pa.Schema) -> dict[str, str]:
    """Return the service's type of each column of a batch; json is text. Raises `KeyError` for a type that no declared
    column has.
    """
    return {field.name: _ENGINE_TYPES[field.type] for field in schema}
