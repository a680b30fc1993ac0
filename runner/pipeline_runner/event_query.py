"""Reads events back out of `ops.event_log`."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from runner.ddl import EVENT_LOG
from runner.ports import ReadQuery, Warehouse
from runner.specs import Filter

COLUMNS = EVENT_LOG.column_names


async def logged_events(
    warehouse: Warehouse, *, run_id: str | None, event_type: str | None, limit: int
) -> Sequence[Mapping[str, Any]]:
    """Return the newest `limit` rows, oldest first, their payload decoded; none where there is no such table yet.

    `run_id` is that of a pipeline run, or of a run of one job. Raises `WarehouseError`.
    """
    if EVENT_LOG.ref not in await warehouse.inspect([EVENT_LOG.ref]):
        return []
    wanted = [Filter(column="event_type", value=event_type)] if event_type else []
    if run_id is None:
        return await _rows(warehouse, wanted, limit)
    of_pipeline = await _rows(warehouse, [*wanted, Filter(column="correlation_id", value=run_id)], limit)
    return of_pipeline or await _rows(warehouse, [*wanted, Filter(column="run_id", value=run_id)], limit)


async def _rows(warehouse: Warehouse, filters: Sequence[Filter], limit: int) -> Sequence[Mapping[str, Any]]:
    query = ReadQuery(
        source=EVENT_LOG, columns=COLUMNS, filters=tuple(filters), order_by=("timestamp", "event_id")
    )
    newest: deque[Mapping[str, Any]] = deque(maxlen=limit)
    async with warehouse.read(query) as batches:
        async for batch in batches:
            newest.extend(batch.slice(max(0, batch.num_rows - limit)).to_pylist())
    return [{**row, "payload": _decoded(row["payload"])} for row in newest]


def _decoded(payload: Any) -> Any:
    return json.loads(payload) if isinstance(payload, str) else payload
