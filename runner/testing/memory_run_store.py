"""A run store in memory: the same contract as the one in files, for tests and for runs that leave nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import datetime

from runner.clock import utc_now
from runner.errors import RunNotFound, UsageError, did_you_mean
from runner.events import Event
from runner.fold import fold_run
from runner.ids import is_ulid
from runner.records import PipelineRun, RunRecord, Status

_FAILED = (Status.FAILURE, Status.PARTIAL, Status.CRASHED)


class MemoryRunStore:
    """Keeps runs as long as it lives. Thread-safe."""

    def __init__(self) -> None:
        self._runs: dict[str, MemoryRunWriter] = {}
        self._lock = threading.Lock()

    def create(self, run_id: str, name: str, started_at: datetime) -> MemoryRunWriter:
        """Make a new run, alive until its writer is closed. Raises `ValueError`, `FileExistsError`."""
        if not is_ulid(run_id):
            raise ValueError(f"{run_id!r} is not a ULID")
        with self._lock:
            if run_id in self._runs:
                raise FileExistsError(run_id)
            writer = self._runs[run_id] = MemoryRunWriter(run_id, name, started_at)
        return writer

    def load(self, run_id: str) -> PipelineRun:
        """Return the run with its jobs. Raises `RunNotFound`."""
        return self._find(run_id).load()

    def resolve(self, reference: str) -> str:
        """Turn an id, a unique beginning, `last`, `last-failed` or a name (its newest run) into a run id.

        Raises `RunNotFound`, `UsageError`.
        """
        if reference in ("last", "last-failed"):
            for run in self.latest():
                if reference == "last" or run.status in _FAILED:
                    return run.pipeline_run_id
            raise RunNotFound(reference)
        if named := [writer for writer in self._newest() if writer.name == reference]:
            return next((writer for writer in named if writer.begun), named[0]).run_id
        found = [run_id for run_id in self._runs if reference and run_id.startswith(reference.upper())]
        if not found:
            near = did_you_mean(reference, {writer.name for writer in self._runs.values()})
            raise RunNotFound(reference, hint=near or "run-pipeline runs lists them")
        if len(found) > 1:
            raise UsageError(f"{reference!r} fits {len(found)} runs: {', '.join(found)}")
        return found[0]

    def latest(self, *, limit: int | None = None, name: str | None = None) -> Sequence[PipelineRun]:
        """Return runs without their jobs, newest first."""
        runs: list[PipelineRun] = []
        for writer in self._newest():
            if limit is not None and len(runs) >= limit:
                break
            if writer.begun and name in (None, writer.name):
                runs.append(writer.load().without_jobs())
        return runs

    def events(self, run_id: str) -> Sequence[Event]:
        """Return the events of a run in the order they were written. Raises `RunNotFound`."""
        return tuple(self._find(run_id).stored)

    def is_alive(self, run_id: str) -> bool:
        """Tell whether the run's writer is open. Raises `RunNotFound`."""
        return self._find(run_id).alive

    def records(self, run_id: str) -> dict[str, RunRecord]:
        """Return what was given to `write_job`, by job id. Raises `RunNotFound`."""
        return dict(self._find(run_id).records)

    def _find(self, run_id: str) -> MemoryRunWriter:
        try:
            return self._runs[run_id]
        except KeyError:
            raise RunNotFound(run_id) from None

    def _newest(self) -> Iterator[MemoryRunWriter]:
        runs = sorted(self._runs.values(), key=lambda run: (run.started_at.date(), run.run_id), reverse=True)
        yield from runs


class MemoryRunWriter:
    """One run, which is alive until `close`."""

    def __init__(self, run_id: str, name: str, started_at: datetime) -> None:
        self.run_id = run_id
        self.name = name
        self.started_at = started_at
        self.alive = True
        self.stored: list[Event] = []
        self.records: dict[str, RunRecord] = {}
        self.summary: PipelineRun | None = None

    @property
    def begun(self) -> bool:
        """Whether it is a run yet: from its first event on, or as long as someone holds it."""
        return self.alive or bool(self.stored) or self.summary is not None

    def append(self, events: Sequence[Event]) -> None:
        """Keep the events."""
        self.stored.extend(events)

    def sync(self) -> None:
        """Nothing outlives the process."""

    def write_job(self, record: RunRecord) -> None:
        """Keep one job's record."""
        self.records[record.job_id] = record

    def write_run(self, run: PipelineRun) -> None:
        """Keep the summary in place of the one before."""
        self.summary = run

    def close(self) -> None:
        """The run is no longer alive. Closing twice is harmless."""
        self.alive = False

    def load(self) -> PipelineRun:
        """The run as it now is. Raises `RunNotFound` when it ended before it began."""
        if self.summary is not None and self.summary.status is not Status.RUNNING:
            return self.summary
        if not self.begun:
            raise RunNotFound(self.run_id, hint="it ended before it began")
        return fold_run(
            list(self.stored),
            run_id=self.run_id,
            name=self.name,
            started_at=self.started_at,
            alive=self.alive,
        ).until(utc_now())
