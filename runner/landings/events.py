"""Events as they stand in `ops.event_log`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from runner.ddl import EVENT_LOG
from runner.ports import Row
from runner.types.schema import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa


def event_rows(rows: Iterable[Row]) -> list[Row]:
    """Return each event once, by its id, with its payload as text."""
    return [_with_text(row) for row in {row["event_id"]: row for row in rows}.values()]


def event_batch(rows: Sequence[Row]) -> pa.RecordBatch:
    """Return events whose payload is text with the columns of `ops.event_log`."""
    import pyarrow as pa

    schema = arrow_schema(EVENT_LOG.columns)
    arrays = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _with_text(row: Row) -> Row:
    payload = row.get("payload")
    if payload is None or isinstance(payload, str):
        return row
    return row | {"payload": json.dumps(payload, ensure_ascii=False, default=str)}
