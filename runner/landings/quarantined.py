"""Refused rows as they stand in `ops.quarantine`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runner.ddl import QUARANTINE
from runner.ids import new_ulid
from runner.ports import BadRow, LandingSpec
from runner.types.schema import arrow_type

if TYPE_CHECKING:
    import pyarrow as pa


def quarantine_table(landing: LandingSpec, rows: Sequence[BadRow]) -> pa.Table:
    """Return refused rows with the columns of `ops.quarantine`, each with an id of its own."""
    import pyarrow as pa

    found = [
        (new_ulid(), landing.job_id, row.step_id, landing.run_id, landing.job_run_id, row.key, row.column,
         row.reason, row.content, landing.stamp)
        for row in rows
    ]  # fmt: skip
    schema = pa.schema([(column.name, arrow_type(column.type)) for column in QUARANTINE.columns])
    columns = list(zip(*found, strict=True)) if found else [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)
