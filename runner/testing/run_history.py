"""The events of a run as the engine would emit them, without running anything."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from runner.clock import utc_now
from runner.errors import RunPipelineError
from runner.events import Event, JobFinished, JobStarted, Landed, RunFinished, RunStarted, StepFinished
from runner.ids import new_ulid
from runner.records import ErrorInfo, PerformanceIndicators, RunRecord, Status, StepTiming, run_status

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
"""The trace of all these runs."""


def run_history(
    name: str = "daily",
    jobs: Sequence[str] = ("intake", "scores"),
    *,
    run_id: str = "",
    failing: Sequence[str] = (),
    rows: int = 60,
    started_at: datetime | None = None,
) -> list[Event]:
    """Return the events of a run of `jobs`, one after the other, each a read and a write of `rows` rows.

    Jobs of `failing` fail in their write. `started_at` (UTC) is the run's time, by default now. The whole is a stage
    after which a barrier stands.
    """
    run_id = run_id or new_ulid()
    waits_for = {job_id: (before,) for before, job_id in pairwise(jobs)}
    moment = started_at or utc_now()
    events: list[Event] = [
        RunStarted(
            run_id=run_id,
            timestamp=moment,
            name=name,
            jobs=tuple((job_id, name) for job_id in jobs),
            max_workers=1,
            as_of=moment,
            queues=dict.fromkeys(jobs, "default"),
            waits_for=waits_for,
            barriers={f"{name}/all": tuple(jobs)},
            trace_id=TRACE_ID,
        )
    ]
    records: list[RunRecord] = []
    for number, job_id in enumerate(jobs):
        failure = RunPipelineError(f"{job_id} was told to fail") if job_id in failing else None
        job = _job_history(
            run_id, name, job_id, moment + timedelta(seconds=number), rows, failure, waits_for.get(job_id, ())
        )
        events += job
        records += [event.record for event in job if isinstance(event, JobFinished)]
    end = moment + timedelta(seconds=len(jobs))
    status = run_status(records)
    events.append(
        RunFinished(
            run_id=run_id,
            timestamp=end,
            status=status,
            duration_ms=1000.0 * len(jobs),
            peak_memory_bytes=75_000_000,
        ),
    )
    return events


def _job_history(
    run_id: str,
    group: str,
    job_id: str,
    moment: datetime,
    rows: int,
    failure: RunPipelineError | None,
    waits_for: tuple[str, ...],
) -> list[Event]:
    job_run_id = new_ulid()
    status = Status.FAILURE if failure else Status.SUCCESS
    written = 0 if failure else rows
    read = StepTiming(step_id="read_me", op="read", duration_ms=400, rows_read=rows, rows_out=rows, batches=1)
    write = StepTiming(
        step_id="write", op="write", status=status, duration_ms=600, rows_in=rows, rows_written=written
    )
    end = moment + timedelta(seconds=1)
    record = RunRecord(
        run_id=job_run_id,
        job_id=job_id,
        pipeline_run_id=run_id,
        group=group,
        queue="default",
        waits_for=waits_for,
        trace_id=TRACE_ID,
        status=status,
        started_at=moment,
        completed_at=end,
        duration_ms=1000,
        queue_ms=2,
        rows_read=rows,
        rows_written=written,
        errors=(ErrorInfo(category="bug", message=str(failure), step_id="write"),) if failure else (),
        step_timings=(read, write),
        performance_indicators=PerformanceIndicators.from_timings((read, write)),
    )
    started = JobStarted(
        run_id=run_id, timestamp=moment, job_run_id=job_run_id, job_id=job_id, group=group, queue_ms=2
    )
    first = StepFinished(run_id=run_id, timestamp=end, job_run_id=job_run_id, job_id=job_id, timing=read)
    landed = Landed(
        run_id=run_id, timestamp=end, job_run_id=job_run_id, job_id=job_id, batch=0, rows={"derived.x": rows}
    )
    second = StepFinished(run_id=run_id, timestamp=end, job_run_id=job_run_id, job_id=job_id, timing=write)
    finished = JobFinished(run_id=run_id, timestamp=end, job_run_id=job_run_id, job_id=job_id, record=record)
    return [started, first, *([] if failure else [landed]), second, finished]
