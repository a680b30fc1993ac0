"""What the recorder does in its worker thread."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from runner.clock import monotonic_ns
from runner.events import Event, JobFinished, RunStarted
from runner.records import RunRecord

if TYPE_CHECKING:
    from runner.fold import RunFold
    from runner.ports import RunWriter

SYNC_EVERY = 0.2
"""Seconds between two `fdatasync` of the event file, at least; none is sent while nothing was written."""


class Disk:
    """Brings queued events to one run writer. What could not be written is kept for the next attempt."""

    def __init__(self, writer: RunWriter, queue: deque[Event], fold: RunFold) -> None:
        self.fold = fold
        self.unsynced = False
        self._writer = writer
        self._queue = queue
        self._events: list[Event] = []
        self._records: deque[RunRecord] = deque()
        self._started = False
        self._synced_ns = monotonic_ns()

    def write(self) -> None:
        """Write all that is queued: events first, then what follows from them."""
        self._take()
        if self._events:
            self._writer.append(self._events)
            self._events.clear()
            self.unsynced = True
        if self._started:
            self._writer.write_run(self.fold.run())
            self._started = False
        while self._records:
            self._writer.write_job(self._records[0])
            self._records.popleft()
        if self.unsynced and monotonic_ns() - self._synced_ns >= SYNC_EVERY * 1e9:
            self._sync()

    def finish(self) -> None:
        """Write all that is queued, and the run as it now is."""
        self.write()
        self._sync()
        self._writer.write_run(self.fold.run())

    def close(self) -> None:
        """Let go of the run."""
        self._writer.close()

    def _take(self) -> None:
        while self._queue:
            event = self._queue.popleft()
            self.fold.apply(event)
            self._events.append(event)
            if isinstance(event, JobFinished):
                self._records.append(event.record)
            elif isinstance(event, RunStarted):
                self._started = True

    def _sync(self) -> None:
        self._writer.sync()
        self._synced_ns = monotonic_ns()
        self.unsynced = False
