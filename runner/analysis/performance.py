"""The figures of jobs, stages and runs as events: for dashboards that read `ops.event_log`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from runner.events import JobPerformance, PipelineFinished, StagePerformance
from runner.records import PipelineRun, RunRecord, Status, StepTiming, run_status


def job_performance(record: RunRecord, kind: str | None = None) -> JobPerformance:
    """Tell where the time of a job went, by what its steps did and not by what they are called.

    Queries: `read`, `extract`, and `sql` that reads. Transforms: `call`. Writes: `write`, and `sql` that writes.
    """
    return JobPerformance(
        run_id=record.pipeline_run_id,
        kind=kind or JobPerformance.event_type,
        job_run_id=record.run_id,
        job_id=record.job_id,
        status=record.status,
        duration_ms=record.duration_ms,
        queue_ms=record.queue_ms,
        query_ms=_spent([t for t in record.step_timings if t.op in ("read", "extract") or _reads(t)]),
        transform_ms=_spent([t for t in record.step_timings if t.op == "call"]),
        write_ms=_spent([t for t in record.step_timings if t.op == "write" or _writes(t)]),
        rows_read=record.rows_read,
        rows_written=record.rows_written,
        warehouse=record.warehouse,
    )


def stage_performance(
    *,
    run_id: str,
    kind: str | None = None,
    stage: str,
    group: str,
    jobs: Sequence[RunRecord],
    max_workers: int,
    duration_ms: float,
) -> StagePerformance:
    """Tell what running the jobs of a stage at once has gained, in `duration_ms` from their first start to their last
    end. Jobs that were skipped do not count; where none ran, there was nothing to gain and all figures are 0.
    """
    ran = [job for job in jobs if job.status is not Status.SKIPPED]
    return StagePerformance(
        run_id=run_id,
        kind=kind or StagePerformance.event_type,
        stage=stage,
        group=group,
        status=run_status(ran) if ran else Status.SKIPPED,
        job_count=len(ran),
        max_workers=max_workers,
        duration_ms=duration_ms,
        speedup_potential=speedup_potential(len(ran), max_workers),
        actual_speedup=_ratio(sum(job.duration_ms for job in ran), duration_ms),
        actual_per_job=_ratio(duration_ms, len(ran), digits=3),
    )


def speedup_potential(job_count: int, max_workers: int) -> float:
    """Return how many times as fast `max_workers` at once do equal jobs as one after the other: 4 for 4 jobs of 4
    workers, 1 for one worker, 0 for no jobs (T10).
    """
    return _ratio(job_count, math.ceil(job_count / max_workers))


def pipeline_finished(run: PipelineRun) -> PipelineFinished:
    """Tell of a run as a whole. It has ended, but for its last event."""
    return PipelineFinished(
        run_id=run.pipeline_run_id,
        status=run.status,
        duration_ms=run.duration_ms,
        setup_ms=run.setup_ms,
        queue_ms=round(sum(job.queue_ms for job in run.jobs), 3),
        jobs_ms=round(sum(job.duration_ms for job in run.jobs), 3),
        job_count=len(run.jobs),
        job_statuses=dict(Counter(job.status.value for job in run.jobs)),
        max_workers=run.max_workers,
        rows_read=run.rows_read,
        rows_written=run.rows_written,
        rows_quarantined=sum(job.rows_quarantined for job in run.jobs),
        peak_memory_bytes=run.peak_memory_bytes,
        warehouse=run.warehouse,
    )


def _reads(timing: StepTiming) -> bool:
    return timing.op == "sql" and timing.rows_written is None


def _writes(timing: StepTiming) -> bool:
    return timing.op == "sql" and timing.rows_written is not None


def _spent(timings: Sequence[StepTiming]) -> float:
    return round(sum(timing.duration_ms for timing in timings), 3)


def _ratio(part: float, whole: float, digits: int = 2) -> float:
    return round(part / whole, digits) if whole else 0.0
