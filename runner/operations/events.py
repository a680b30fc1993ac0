"""Events of many runs: out of `ops.event_log`, or out of the files of the run store, in the same form."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import heappush, heappushpop
from itertools import count
from typing import Any

from runner.ddl import EVENT_LOG
from runner.errors import DamagedRecord, RunNotFound
from runner.event_log import events_to_rows
from runner.ports import ReadQuery, Warehouse
from runner.run_store import FileRunStore
from runner.specs.steps import Filter

EventRow = Mapping[str, Any]
"""A row of `ops.event_log`; `payload` as JSON data, `timestamp` aware UTC."""
_END = datetime.max.replace(tzinfo=UTC)
_BEHIND = timedelta(seconds=1)
"""So much may the clock of files be behind that of events: the kernel's by milliseconds, that of another machine's disk
by more.
"""
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

    Those that were written to last are read first: a run that began long ago may have said the latest. None is read
    that ended before `since`, or before all of the events that are found by then.
    """
    newest: list[tuple[datetime, str, int, EventRow]] = []
    number = count()
    for written, run_id in _written(store, wanted):
        full = len(newest) == wanted.limit
        since = max(filter(None, (wanted.since, newest[0][0] if full else None)), default=None)
        if since is not None and since - written > _BEHIND:
            break
        if since is not None and _ended_before(store, run_id, since):
            continue  # a store that was copied has files that are newer than what is in them
        for row in _rows(store, run_id, wanted.types):
            if wanted.takes(row):
                keep = heappush if len(newest) < wanted.limit else heappushpop
                keep(newest, (row["timestamp"], row["event_id"], next(number), row))
    return [_plain(row) for *_, row in sorted(newest)]


def _written(store: FileRunStore, wanted: WantedEvents) -> Iterable[tuple[datetime, str]]:
    """Return the runs to look at, with when they last wrote; the one that is asked for as if it did so at the end."""
    return store.by_last_event() if wanted.run_id is None else [(_END, wanted.run_id)]


def _ended_before(store: FileRunStore, run_id: str, moment: datetime) -> bool:
    run = store.one(run_id, jobs=False)
    return run is not None and run.completed_at is not None and run.completed_at < moment


def _rows(store: FileRunStore, run_id: str, types: Sequence[str]) -> list[EventRow]:
    try:
        if types and not store.may_have(run_id, types):
            return []
        return list(events_to_rows(store.events(run_id)))
    except (RunNotFound, DamagedRecord):
        return []


def _plain(row: EventRow) -> EventRow:
    payload = row["payload"]
    return {**row, "payload": json.loads(payload) if isinstance(payload, str) else payload}
