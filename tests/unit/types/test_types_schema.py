"""Declared types as Arrow types."""

from __future__ import annotations

import pyarrow as pa
import pytest

from runner.specs import COLUMN_TYPES, ColumnSpec
from runner.types import arrow_schema, arrow_type

TYPES = {
    "string": pa.utf8(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "numeric": pa.decimal128(38, 9),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
    "json": pa.utf8(),
    "bytes": pa.binary(),
}


def test_every_declared_type_has_its_arrow_type() -> None:
    assert {name: arrow_type(name) for name in COLUMN_TYPES} == TYPES


def test_an_unknown_type_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="decimal"):
        arrow_type("decimal")


def test_a_schema_keeps_names_and_order_and_is_nullable() -> None:
    columns = [ColumnSpec(name="b", type="date", required=True), ColumnSpec(name="a", type="json")]
    assert arrow_schema(columns) == pa.schema([pa.field("b", pa.date32()), pa.field("a", pa.utf8())])
