"""Events of many runs: out of `ops.event_log`, or out of the files of the run store, in the same form."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runner.ddl import EVENT_LOG
from runner.errors import DamagedRecord, RunNotFound
from runner.event_log import events_to_rows
from runner.ports import ReadQuery, Warehouse
from runner.run_store import FileRunStore
from runner.specs.steps import Filter

EventRow = Mapping[str, Any]
"""A row of `ops.event_log`; `payload` as JSON data, `timestamp` aware UTC."""
COLUMNS = tuple(column.name for column in EVENT_LOG.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedEvents:
    """Which events are asked for. `run_id` is that of the pipeline run, `job` the component that an event came from,
    `since` a time (UTC). Of those that match, the newest `limit`.
    """

    types: Sequence[str] = ()
    run_id: str | None = None
    job: str | None = None
    since: datetime | None = None
    limit: int = 100

    def filters(self) -> tuple[Filter, ...]:
        """Return the conditions as those of a read."""
        found = []
        if self.types:
            found.append(Filter(column="event_type", op="in", value=list(self.types)))
        if self.run_id is not None:
            found.append(Filter(column="correlation_id", value=self.run_id))
        if self.job is not None:
            found.append(Filter(column="producer_component", value=self.job))
        if self.since is not None:
            found.append(Filter(column="timestamp", op=">=", value=self.since))
        return tuple(found)

    def takes(self, row: EventRow) -> bool:
        """Tell whether a row matches."""
        return (
            (not self.types or row["event_type"] in self.types)
            and (self.job is None or row["producer_component"] == self.job)
            and (self.since is None or row["timestamp"] >= self.since)
        )


async def from_warehouse(warehouse: Warehouse, wanted: WantedEvents) -> list[EventRow] | None:
    """Return events of `ops.event_log`, oldest first; None where there is no such table. Raises `WarehouseError`."""
    if EVENT_LOG.ref not in await warehouse.inspect([EVENT_LOG.ref]):
        return None
    query = ReadQuery(
        source=EVENT_LOG, columns=COLUMNS, filters=wanted.filters(), order_by=("timestamp", "event_id")
    )
    newest: deque[EventRow] = deque(maxlen=wanted.limit)
    async with warehouse.read(query) as batches:
        async for batch in batches:
            newest.extend(batch.slice(max(0, batch.num_rows - wanted.limit)).to_pylist())
    return [_plain(row) for row in newest]


def from_files(store: FileRunStore, wanted: WantedEvents) -> list[EventRow]:
    """Return events of the run store's files, oldest first. Runs whose events cannot be read are left out.

    Runs are looked at from the newest on; those that began before `since` are not, whatever they have done since.
    """
    found: list[EventRow] = []
    for rows in _rows_of_runs(store, wanted):
        matching = [row for row in rows if wanted.takes(row)]
        found += matching[::-1]
        if len(found) >= wanted.limit:
            break
    found.sort(key=lambda row: (row["timestamp"], row["event_id"]))
    return [_plain(row) for row in found[-wanted.limit :]]


def _rows_of_runs(store: FileRunStore, wanted: WantedEvents) -> Iterator[list[EventRow]]:
    ids = (
        [wanted.run_id]
        if wanted.run_id is not None
        else (run.pipeline_run_id for run in store.scan(since=wanted.since))
    )
    for run_id in ids:
        try:
            yield list(events_to_rows(store.events(run_id)))
        except (RunNotFound, DamagedRecord):
            continue


def _plain(row: EventRow) -> EventRow:
    payload = row["payload"]
    return {**row, "payload": json.loads(payload) if isinstance(payload, str) else payload}
