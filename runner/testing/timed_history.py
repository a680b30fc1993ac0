"""The events of a run whose jobs took so long, as the engine would have emitted them: stages, workers, waits."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from runner.events import Event, JobFinished, JobStarted, Landed, RunFinished, RunStarted, StepFinished
from runner.ids import new_ulid
from runner.records import ErrorInfo, PerformanceIndicators, RunRecord, Status, StepTiming, run_status

OPS = {"read": "read", "fetch": "extract", "write": "write", "check": "check"}
"""The op of a step with this id; any other is a `call`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedJob:
    """A job of a history: milliseconds by step id, rows that it read and wrote, and how it failed, if it did.

    `stage`: a number; a stage begins when the one before it is over. Only the last step of a job fails.
    """

    job_id: str
    steps: Mapping[str, float]
    stage: int = 0
    rows: int = 60
    error: ErrorInfo | None = None
    usage: Mapping[str, float] = field(default_factory=dict)


def timed_history(
    name: str,
    jobs: Sequence[TimedJob],
    *,
    started_at: datetime,
    max_workers: int = 1,
    run_id: str = "",
) -> list[Event]:
    """Return the events of a run of `jobs` that began at `started_at` (UTC), with at most `max_workers` at once.

    Its id is that of the time, unless it is given.
    """
    from ulid import ULID

    run_id = run_id or str(ULID.from_datetime(started_at))
    stages = sorted({job.stage for job in jobs})
    members = {stage: tuple(job.job_id for job in jobs if job.stage == stage) for stage in stages}
    before = {stage: (f"{name}/{stages[place - 1]}",) if place else () for place, stage in enumerate(stages)}
    events: list[Event] = [
        RunStarted(
            run_id=run_id,
            timestamp=started_at,
            name=name,
            jobs=tuple((job.job_id, f"{name}/{job.stage}") for job in jobs),
            max_workers=max_workers,
            as_of=started_at,
            queues={job.job_id: "default" for job in jobs},
            waits_for={job.job_id: before[job.stage] for job in jobs if before[job.stage]},
            barriers={f"{name}/{stage}": members[stage] for stage in stages},
        )
    ]
    records: list[RunRecord] = []
    end_ms = 0.0
    for stage in stages:
        begin = end_ms
        for job, start_ms in _placed([job for job in jobs if job.stage == stage], begin, max_workers):
            record = _record(run_id, name, job, before[stage], started_at, begin, start_ms)
            records.append(record)
            events += _events(run_id, job, record)
            end_ms = max(end_ms, start_ms + record.duration_ms)
    events.append(
        RunFinished(
            run_id=run_id,
            timestamp=started_at + timedelta(milliseconds=end_ms),
            status=run_status(records),
            duration_ms=end_ms,
        )
    )
    return events


def _placed(jobs: Sequence[TimedJob], begin: float, workers: int) -> Iterator[tuple[TimedJob, float]]:
    """Give each job the worker that is free first."""
    free = [begin] * workers
    for job in jobs:
        start = heapq.heappop(free)
        heapq.heappush(free, start + sum(job.steps.values()))
        yield job, start


def _record(
    run_id: str,
    name: str,
    job: TimedJob,
    waits_for: tuple[str, ...],
    started_at: datetime,
    ready_ms: float,
    start_ms: float,
) -> RunRecord:
    status = Status.FAILURE if job.error else Status.SUCCESS
    written = 0 if job.error else job.rows
    timings = tuple(
        _timing(step_id, ms, job, last=step_id == [*job.steps][-1]) for step_id, ms in job.steps.items()
    )
    duration = sum(job.steps.values())
    return RunRecord(
        run_id=new_ulid(),
        job_id=job.job_id,
        pipeline_run_id=run_id,
        group=f"{name}/{job.stage}",
        queue="default",
        waits_for=waits_for,
        status=status,
        started_at=started_at + timedelta(milliseconds=start_ms),
        completed_at=started_at + timedelta(milliseconds=start_ms + duration),
        duration_ms=duration,
        queue_ms=start_ms - ready_ms,
        rows_read=job.rows,
        rows_written=written,
        errors=(job.error,) if job.error else (),
        step_timings=timings,
        performance_indicators=PerformanceIndicators.from_timings(timings),
        warehouse=dict(job.usage) or None,
    )


def _timing(step_id: str, ms: float, job: TimedJob, *, last: bool) -> StepTiming:
    op = OPS.get(step_id, "call")
    failed = last and job.error is not None
    return StepTiming(
        step_id=step_id,
        op=op,
        status=Status.FAILURE if failed else Status.SUCCESS,
        duration_ms=ms,
        busy_ms=ms,
        rows_read=job.rows if op in ("read", "extract") else None,
        rows_written=(0 if failed else job.rows) if op == "write" else None,
        rows_in=0 if op in ("read", "extract") else job.rows,
        rows_out=0 if op == "write" else job.rows,
        batches=1,
        warehouse=dict(job.usage) if last and job.usage else None,
    )


def _events(run_id: str, job: TimedJob, record: RunRecord) -> Iterator[Event]:
    assert record.started_at is not None  # noqa: S101 - tells the type checker what `_record` does
    assert record.completed_at is not None  # noqa: S101
    begin, end = record.started_at, record.completed_at
    ids = {"run_id": run_id, "job_run_id": record.run_id, "job_id": job.job_id}
    yield JobStarted(**ids, timestamp=begin, group=record.group, queue_ms=record.queue_ms)
    for timing in record.step_timings:
        yield StepFinished(**ids, timestamp=end, timing=timing)
    if record.status is Status.SUCCESS:
        yield Landed(**ids, timestamp=end, batch=0, rows={"derived.x": record.rows_written})
    yield JobFinished(**ids, timestamp=end, record=record)
