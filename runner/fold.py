"""Events in, records out: the one way in which a run's account is made, live, after a crash, and in tests.

The result depends neither on the order of the events nor on how often each one is given: of two events that
say the same thing the one with the greater id counts (ids grow with time, also when the wall clock steps
back). So a replay, a duplicate, or two partial copies of a log cannot change a record.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from runner.events import (
    REGRESSION,
    Event,
    JobFinished,
    JobStarted,
    Landed,
    Noticed,
    RunFinished,
    RunStarted,
    StepFinished,
)
from runner.records import (
    ErrorInfo,
    PerformanceIndicators,
    PipelineRun,
    RunRecord,
    Status,
    StepRegression,
)
from runner.usage import summed

E = TypeVar("E", bound=Event)

CRASHED = ErrorInfo(category="crashed", message="the runner ended without recording the end of this job")
RUN_CRASHED = ErrorInfo(category="crashed", message="the runner ended without recording the end of this run")


def fold_run(
    events: Iterable[Event],
    *,
    run_id: str,
    name: str = "",
    started_at: datetime | None = None,
    alive: bool = True,
) -> PipelineRun:
    """Return the run that `events` tell of.

    `run_id`, `name` and `started_at` (UTC) stand in where the start of the run is not among the events. A run
    without an end is `running` if `alive`, else `crashed`: then jobs that had begun are crashed, too, and
    those that had not are skipped.
    """
    fold = RunFold(run_id, name=name, started_at=started_at)
    for event in events:
        fold.apply(event)
    return fold.run(alive=alive)


class RunFold:
    """The same, event by event: `apply` each, ask for `run` at any time."""

    def __init__(self, run_id: str, *, name: str = "", started_at: datetime | None = None) -> None:
        self.run_id = run_id
        self._name = name
        self._started_at = started_at
        self._started: RunStarted | None = None
        self._finished: RunFinished | None = None
        self._latest: datetime | None = None
        self._jobs: dict[str, _Job] = {}
        self._regressions: dict[tuple[str, str], Noticed] = {}

    def apply(self, event: Event) -> None:
        """Take in one event of the run."""
        self._latest = event.timestamp if self._latest is None else max(self._latest, event.timestamp)
        match event:
            case RunStarted():
                self._started = _later(self._started, event)
            case RunFinished():
                self._finished = _later(self._finished, event)
            case Noticed() if event.code == REGRESSION:
                key = (event.job_id, event.step_id)
                self._regressions[key] = _later(self._regressions.get(key), event)
            case JobStarted():
                job = self._job(event)
                job.started = _later(job.started, event)
            case StepFinished():
                job = self._job(event)
                job.steps[event.timing.step_id] = _later(job.steps.get(event.timing.step_id), event)
            case Landed():
                job = self._job(event)
                job.landings[event.batch] = _later(job.landings.get(event.batch), event)
            case JobFinished():
                job = self._job(event)
                job.finished = _later(job.finished, event)
            case _:
                return

    def run(self, *, alive: bool = True) -> PipelineRun:
        """Return the run as far as it is known; see `fold_run`."""
        return self._run(self._finished, alive=alive)

    def run_ending_with(self, finished: RunFinished) -> PipelineRun:
        """Return the run as it will be after this last event."""
        return self._run(finished, alive=True)

    def _run(self, finished: RunFinished | None, *, alive: bool) -> PipelineRun:
        started = self._started
        over = finished is not None or not alive
        status = finished.status if finished else Status.RUNNING if alive else Status.CRASHED
        return PipelineRun(
            pipeline_run_id=self.run_id,
            pipeline_id=started.name if started else self._name,
            status=status,
            started_at=started.timestamp if started else self._started_at or datetime.fromtimestamp(0, UTC),
            completed_at=finished.timestamp if finished else None,
            duration_ms=finished.duration_ms if finished else self._elapsed_ms(),
            setup_ms=started.setup_ms if started else 0,
            max_workers=started.max_workers if started else None,
            as_of=started.as_of if started else None,
            params=started.params if started else {},
            retry_of=started.retry_of if started else None,
            rescore=started.rescore if started else False,
            notify=started.notify if started else True,
            trace_id=started.trace_id if started else "",
            peak_memory_bytes=finished.peak_memory_bytes if finished else None,
            errors=finished.errors if finished else () if alive else (RUN_CRASHED,),
            regressions=tuple(
                StepRegression.from_dict(notice.details)
                for notice in sorted(self._regressions.values(), key=lambda notice: notice.event_id)
            ),
            jobs=tuple(self._records(over=over)),
            barriers=started.barriers if started else {},
        )

    def _elapsed_ms(self) -> float:
        """From the start to the latest event: all that is known of a run without an end. Wall time, so never exact."""
        if self._started is None or self._latest is None:
            return 0
        return max(0.0, round((self._latest - self._started.timestamp).total_seconds() * 1000, 3))

    def _records(self, *, over: bool) -> Iterable[RunRecord]:
        """The jobs in plan order, then any that the plan does not name, in order of their ids."""
        planned = dict(self._started.jobs) if self._started else {}
        for job_id in (*planned, *sorted(self._jobs.keys() - planned.keys())):
            job = self._jobs.get(job_id)
            if job is not None:
                yield job.record(self._planned(job_id, planned.get(job_id, "")), over=over)
            elif over:
                yield self._planned(job_id, planned[job_id])

    def _planned(self, job_id: str, group: str) -> RunRecord:
        """A job as the start of the run tells of it: not begun."""
        started = self._started
        return RunRecord(
            run_id="",
            job_id=job_id,
            pipeline_run_id=self.run_id,
            group=group,
            queue=started.queues.get(job_id, "") if started else "",
            waits_for=started.waits_for.get(job_id, ()) if started else (),
            needs=started.needs.get(job_id, ()) if started else (),
            trace_id=started.trace_id if started else "",
            status=Status.SKIPPED,
        )

    def _job(self, event: JobStarted | StepFinished | Landed | JobFinished) -> _Job:
        job = self._jobs.get(event.job_id)
        if job is None:
            job = self._jobs[event.job_id] = _Job()
        job.run_id = max(job.run_id, event.job_run_id)
        return job


class _Job:
    """What is known of one job."""

    __slots__ = ("finished", "landings", "run_id", "started", "steps")

    def __init__(self) -> None:
        self.run_id = ""
        self.started: JobStarted | None = None
        self.finished: JobFinished | None = None
        self.steps: dict[str, StepFinished] = {}
        self.landings: dict[int, Landed] = {}

    def record(self, planned: RunRecord, *, over: bool) -> RunRecord:
        """The record that the job made of itself, else one from what it left on its way: `planned`, and that.

        Rows written are those of its landings: they are in the warehouse, whatever became of the job.
        """
        if self.finished is not None:
            return self.finished.record
        by_id = sorted(self.steps.values(), key=lambda event: event.event_id)
        timings = tuple(event.timing for event in by_id)
        landed = sum(sum(landing.rows.values()) for landing in self.landings.values())
        return replace(
            planned,
            run_id=self.run_id,
            group=self.started.group if self.started else planned.group,
            status=Status.CRASHED if over else Status.RUNNING,
            started_at=self.started.timestamp if self.started else None,
            duration_ms=round(sum(timing.duration_ms for timing in timings), 3),
            queue_ms=self.started.queue_ms if self.started else 0,
            rows_read=sum(timing.rows_read or 0 for timing in timings),
            rows_written=landed,
            errors=(CRASHED,) if over else (),
            step_timings=timings,
            performance_indicators=PerformanceIndicators.from_timings(timings) if timings else None,
            warehouse=summed(timing.warehouse for timing in timings),
        )


def _later(one: E | None, other: E) -> E:
    return other if one is None or other.event_id >= one.event_id else one
