"""Values of a statement as query parameters: typed by what they are in Python, and never text in the SQL."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from google.cloud.bigquery import (
    ArrayQueryParameter,
    ScalarQueryParameter,
    ScalarQueryParameterType,
    StructQueryParameter,
    StructQueryParameterType,
)

Parameter = ScalarQueryParameter | ArrayQueryParameter

_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "BOOL"),
    (int, "INT64"),
    (float, "FLOAT64"),
    (Decimal, "NUMERIC"),
    (datetime, "TIMESTAMP"),
    (date, "DATE"),
    (bytes, "BYTES"),
    (str, "STRING"),
)
"""The first that fits: a bool is an int, and a datetime a date."""


def parameters(values: Mapping[str, Any]) -> list[Parameter]:
    """Return query parameters by name. Lists are arrays; None is a STRING without a value.

    Raises `TypeError` for a value of a type that no column has.
    """
    return [_parameter(name, value) for name, value in values.items()]


def _parameter(name: str, value: Any) -> Parameter:
    if isinstance(value, ArrayQueryParameter):
        return value
    if isinstance(value, list | tuple):
        known = next((item for item in value if item is not None), "")
        return ArrayQueryParameter(name, engine_type(known), list(value))
    return ScalarQueryParameter(name, engine_type(value), value)


def engine_type(value: Any) -> str:
    """Return the service's type of a Python value; STRING for None."""
    if value is None:
        return "STRING"
    for kind, engine in _TYPES:
        if isinstance(value, kind):
            return engine
    raise TypeError(f"a value of type {type(value).__name__} cannot be a query parameter")


def rows_parameter(name: str, batch: pa.RecordBatch, types: Mapping[str, str]) -> ArrayQueryParameter:
    """Return the rows of a batch as an array of structs, for `UNNEST(@name)`. `types`: the service's by column."""
    columns = [(column, types[column]) for column in batch.schema.names]
    element = StructQueryParameterType(
        *(ScalarQueryParameterType(engine, name=column) for column, engine in columns)
    )
    rows = zip(*(batch.column(column).to_pylist() for column, _ in columns), strict=True)
    structs = [
        StructQueryParameter(
            None,
            *(
                ScalarQueryParameter(column, engine, value)
                for (column, engine), value in zip(columns, row, strict=True)
            ),
        )
        for row in rows
    ]
    return ArrayQueryParameter(name, element, structs)
