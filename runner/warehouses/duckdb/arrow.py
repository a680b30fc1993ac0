"""Schemas of batches, as DuckDB takes and gives them."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from runner.specs import TableSpec
from runner.types.schema import arrow_type


def arrow_schema(table: TableSpec, columns: Iterable[str]) -> pa.Schema:
    """Return the schema of some columns of a table. Raises `KeyError` for a column that is not declared."""
    return pa.schema([pa.field(name, arrow_type(table.column(name).type)) for name in columns])
