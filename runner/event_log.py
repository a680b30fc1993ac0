"""Brings the events of runs from the run store into `ops.event_log`, each of them exactly once.

`events.jsonl` is the outbox; `OUTBOX/<run_id>` is an empty file that says it has not been emptied yet. It is
made before the run's first event, and removed after the warehouse has committed the events. A crash in
between sends them again, and the warehouse skips ids that it has. Two flushers do not meet: each holds the
entry's lock. Runs that are still alive are left to themselves.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from runner.clock import utc_now
from runner.errors import DamagedRecord, RunNotFound
from runner.events import (
    Event,
    JobFinished,
    JobPerformance,
    JobRetrying,
    JobStarted,
    Landed,
    Noticed,
    PipelineFinished,
    RunFinished,
    RunStarted,
    StagePerformance,
    StepFinished,
    kind_of,
    to_dict,
)
from runner.files import Folder, is_folder, try_lock
from runner.ids import is_ulid, ulid_ms
from runner.jsonl import dumps

if TYPE_CHECKING:
    from runner.ports import Row, RunStore, Warehouse

BATCH_ROWS = 1_000
"""Rows sent with one `merge_events`."""


ORPHAN_SECONDS = 86_400
"""Age at which an entry without a run is removed: its run was killed, or refused, before it had a folder."""


@dataclass(frozen=True, slots=True)
class FlushProblem:
    """Why the events of one run could not be sent. They stay in the outbox."""

    run_id: str
    error: Exception

    def __str__(self) -> str:
        return f"events of run {self.run_id} are not in ops.event_log yet: {self.error}"


@dataclass(frozen=True, slots=True)
class FlushResult:
    """What a flush did: runs whose entries are gone now, events new to the warehouse, and what went wrong."""

    runs: tuple[str, ...] = ()
    events: int = 0
    problems: tuple[FlushProblem, ...] = ()


def add_to_outbox(outbox_dir: Path, run_id: str) -> None:
    """Make the entry of a run, before its first event is written. Blocking.

    Raises `ValueError` unless `run_id` is a ULID, `FileExistsError`, `OSError`.
    """
    if not is_ulid(run_id):
        raise ValueError(f"{run_id!r} is not a ULID")
    with Folder(outbox_dir, make=True) as folder:
        folder.write_new(run_id, b"")


def pending_runs(outbox_dir: Path) -> list[str]:
    """Return the ids of the runs whose events have not been sent, oldest first. Blocking."""
    if not is_folder(outbox_dir):
        return []
    with Folder(outbox_dir) as folder:
        return [name for name in folder.names() if is_ulid(name)]


async def flush_outbox(store: RunStore, warehouse: Warehouse, outbox_dir: Path) -> FlushResult:
    """Send the events of every run in the outbox that is over (the last one, once its writer is closed).

    Nothing of it should fail a run, so what goes wrong is returned: a run with damaged events stays in the
    outbox and the next one is tried; any other error (a warehouse that is away) ends the flush.
    """
    limiter = anyio.CapacityLimiter(1)
    flushed: list[str] = []
    problems: list[FlushProblem] = []
    new = 0
    for run_id in await anyio.to_thread.run_sync(pending_runs, outbox_dir, limiter=limiter):
        entry = _Entry(outbox_dir, run_id)
        try:
            events = await anyio.to_thread.run_sync(entry.claim, store, limiter=limiter)
            if events is None:
                continue
            new += await _send(warehouse, events)
            await anyio.to_thread.run_sync(entry.remove, limiter=limiter)
            flushed.append(run_id)
        except Exception as error:  # noqa: BLE001 - told to the caller, who warns
            problems.append(FlushProblem(run_id, error))
            if not isinstance(error, DamagedRecord):
                break
        finally:
            entry.release()
    return FlushResult(tuple(flushed), new, tuple(problems))


def events_to_rows(events: Sequence[Event]) -> list[Row]:
    """Return the rows of `ops.event_log` for the durable events of one run, in their order.

    Columns: event_id, event_type, timestamp (aware UTC), producer_component (`pipeline.NAME` for the run or a stage,
    else the job), run_id (the job's run, or the pipeline's), correlation_id (the pipeline's run), trace_id (the same
    for all), status, error_message, payload (JSON text of everything else).
    """
    started = next((event for event in events if isinstance(event, RunStarted)), None)
    name, trace_id = (started.name, started.trace_id) if started else ("", "")
    return [_row(event, name, trace_id) for event in events if event.durable]


def _row(event: Event, name: str, trace_id: str) -> Row:
    payload = to_dict(event)
    for column in ("event_type", "event_id", "timestamp", "run_id"):
        del payload[column]
    job_run_id = payload.pop("job_run_id", "")
    job_id = payload.pop("job_id", "")
    payload.pop("code" if isinstance(event, Noticed) else "kind", None)
    about = event.stage if isinstance(event, StagePerformance) else name
    status, error = _outcome(event)
    return {
        "event_id": event.event_id,
        "event_type": kind_of(event),
        "timestamp": event.timestamp,
        "producer_component": job_id or f"pipeline.{about}",
        "run_id": job_run_id or event.run_id,
        "correlation_id": event.run_id,
        "trace_id": trace_id or None,
        "status": status,
        "error_message": error,
        "payload": dumps(payload),
    }


def _outcome(event: Event) -> tuple[str | None, str | None]:
    """Status and error text of an event, where it has them."""
    match event:
        case RunStarted() | JobStarted():
            return "running", None
        case StepFinished():
            return event.timing.status.value, None
        case Landed():
            return "success", None
        case JobRetrying():
            return "failure", event.error.message
        case JobFinished():
            return event.record.status.value, _text(error.message for error in event.record.errors)
        case JobPerformance() | StagePerformance() | PipelineFinished():
            return event.status.value, None
        case RunFinished():
            return event.status.value, _text(error.message for error in event.errors)
        case Noticed():
            return None, event.message if event.level == "error" else None
        case _:
            return None, None


def _text(messages: Iterator[str]) -> str | None:
    return "\n".join(messages) or None


async def _send(warehouse: Warehouse, events: Sequence[Event]) -> int:
    rows = events_to_rows(events)
    new = 0
    for start in range(0, len(rows), BATCH_ROWS):
        new += await warehouse.merge_events(rows[start : start + BATCH_ROWS])
    return new


class _Entry:
    """One run's entry in the outbox, held by at most one flusher of all processes."""

    def __init__(self, outbox_dir: Path, run_id: str) -> None:
        self._outbox_dir = outbox_dir
        self._run_id = run_id
        self._fd = -1

    def claim(self, store: RunStore) -> Sequence[Event] | None:
        """Lock the entry and return the run's events; none if there is no such run.

        None: another flusher has the entry or has just removed it, or the run is alive or about to begin.
        """
        with Folder(self._outbox_dir) as folder:
            try:
                self._fd = folder.open(self._run_id, os.O_RDONLY)
            except FileNotFoundError:
                return None
        if not try_lock(self._fd) or os.fstat(self._fd).st_nlink == 0:
            return None
        try:
            return None if store.is_alive(self._run_id) else store.events(self._run_id)
        except RunNotFound:
            orphaned = utc_now().timestamp() - ulid_ms(self._run_id) / 1000 > ORPHAN_SECONDS
            return () if orphaned else None

    def remove(self) -> None:
        """Take the entry out of the outbox: its events are in the warehouse."""
        with Folder(self._outbox_dir) as folder:
            folder.remove(self._run_id)

    def release(self) -> None:
        """Give up the lock, whether or not the entry is still there."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
