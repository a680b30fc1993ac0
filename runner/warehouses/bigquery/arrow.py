"""Arrow's types as the service names them."""

from __future__ import annotations

import pyarrow as pa

from runner.specs import COLUMN_TYPES
from runner.sql import BIGQUERY
from runner.types.schema import arrow_type

_ENGINE_TYPES = {
    arrow_type(declared): BIGQUERY.types[declared] for declared in COLUMN_TYPES if declared != "json"
}


def engine_types(schema: pa.Schema) -> dict[str, str]:
    """Return the service's type of each column of a batch; json is text. Raises `KeyError` for a type that no declared
    column has.
    """
    return {field.name: _ENGINE_TYPES[field.type] for field in schema}
