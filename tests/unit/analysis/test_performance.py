"""The figures of jobs, stages and runs, beginning with the sample record of requirement 1."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.analysis.performance import (
    job_performance,
    pipeline_finished,
    speedup_potential,
    stage_performance,
)
from runner.records import PerformanceIndicators, PipelineRun, RunRecord, Status, StepTiming

SAMPLE = Path(__file__).parents[2] / "fixtures" / "records" / "form_obs_intake_01.json"


@pytest.fixture
def sample() -> RunRecord:
    """60 measurement events to 429 observations: 2134, 234, 10234, 1234, 234, 1164 ms."""
    return RunRecord.from_dict(json.loads(SAMPLE.read_text(encoding="utf-8")))


def job(job_id: str, duration_ms: float, status: Status = Status.SUCCESS) -> RunRecord:
    """A job that ran for so long."""
    return RunRecord(run_id="J", job_id=job_id, status=status, duration_ms=duration_ms)


def test_indicators_of_the_sample(sample: RunRecord) -> None:
    """T8: 429 rows in 1.164 s of writing, and in 11.702 s of the three calls; the check is none."""
    figures = PerformanceIndicators.from_timings(sample.step_timings)
    assert figures.to_dict() == {
        "query_efficiency": "good",
        "transform_throughput": 36.66,
        "write_throughput": 368.56,
        "bottleneck_step": "score",
    }


def test_the_event_of_the_sample(sample: RunRecord) -> None:
    """T9: all calls, not the first; by op, not by name."""
    event = job_performance(sample, "formation.performance")
    assert (event.query_ms, event.transform_ms, event.write_ms) == (2134, 11_702, 1164)
    assert (event.rows_read, event.rows_written, event.status) == (60, 429, "success")
    assert (event.kind, event.job_id, event.run_id) == (
        "formation.performance", "form_obs_intake_01", "01KH4SAT00N3V3Q9T6Y8WZ0A1B",
    )  # fmt: skip
    assert event.warehouse is None


def test_each_operation_counts_to_its_kind() -> None:
    """An extract is a query; of `sql`, what writes is a write."""
    steps = (
        StepTiming(step_id="call_read", op="extract", duration_ms=1, rows_read=1),
        StepTiming(step_id="write", op="read", duration_ms=2, rows_read=1),
        StepTiming(step_id="a", op="sql", duration_ms=4, rows_read=1),
        StepTiming(step_id="b", op="sql", duration_ms=8, rows_written=0),
        StepTiming(step_id="c", op="write", duration_ms=16, rows_written=0),
        StepTiming(step_id="d", op="call", duration_ms=32),
        StepTiming(step_id="e", op="check", duration_ms=64),
    )
    event = job_performance(replace(job("a", 200), step_timings=steps, warehouse={"bytes_billed": 7}))
    assert (event.kind, event.query_ms, event.write_ms, event.transform_ms) == ("job.performance", 7, 24, 32)
    assert event.warehouse == {"bytes_billed": 7}


@pytest.mark.parametrize(
    ("jobs", "workers", "potential"),
    [(4, 4, 4), (4, 1, 1), (5, 4, 2.5), (19, 8, 6.33), (2, 10, 2), (1, 1, 1), (0, 4, 0)],
)
def test_potential_speedup(jobs: int, workers: int, potential: float) -> None:
    """T10: jobs by rounds; nothing is divided by no jobs."""
    assert speedup_potential(jobs, workers) == potential


def stage(*jobs: RunRecord, duration_ms: float) -> tuple[object, ...]:
    """What the event of a stage of four workers says."""
    event = stage_performance(
        run_id="R", stage="ingest", group="daily/ingest", jobs=jobs, max_workers=4, duration_ms=duration_ms
    )
    return (
        event.status.value,
        event.job_count,
        event.speedup_potential,
        event.actual_speedup,
        event.actual_per_job,
    )


def test_a_stage_of_equal_jobs_gains_what_it_can() -> None:
    """Four jobs of 30 s in 30 s."""
    jobs = [job(f"j{number}", 30_000) for number in range(4)]
    assert stage(*jobs, duration_ms=30_000) == ("success", 4, 4, 4, 7_500)


def test_the_longest_job_bounds_a_stage() -> None:
    """60 s and three of 20 s are 120 s of work in 60."""
    jobs = [job("a", 60_000), *(job(name, 20_000) for name in "bcd")]
    assert stage(*jobs, duration_ms=60_000) == ("success", 4, 4, 2, 15_000)


def test_jobs_that_did_not_run_do_not_count() -> None:
    """Neither as jobs nor as time; a stage without any other gained nothing."""
    failed, skipped = job("a", 100, Status.FAILURE), job("b", 0, Status.SKIPPED)
    assert stage(failed, skipped, duration_ms=100) == ("failure", 1, 1, 1, 100)
    assert stage(skipped, duration_ms=0) == ("skipped", 0, 0, 0, 0)
    assert stage(duration_ms=0) == ("skipped", 0, 0, 0, 0)


def test_the_figures_of_a_run() -> None:
    """Counts by status, and sums over the jobs."""
    jobs = (
        replace(job("a", 100), queue_ms=5, rows_read=60, rows_written=429, rows_quarantined=1),
        replace(job("b", 50), queue_ms=7),
        job("c", 0, Status.SKIPPED),
    )
    run = PipelineRun(
        pipeline_run_id="R", pipeline_id="daily", status=Status.SUCCESS, duration_ms=120, setup_ms=9,
        started_at=datetime(2026, 2, 12, 6, tzinfo=UTC), max_workers=2, peak_memory_bytes=7, jobs=jobs,
    )  # fmt: skip
    event = pipeline_finished(run)
    assert (event.job_count, event.job_statuses) == (3, {"success": 2, "skipped": 1})
    assert (event.duration_ms, event.jobs_ms, event.queue_ms, event.setup_ms) == (120, 150, 12, 9)
    assert (event.rows_read, event.rows_written, event.rows_quarantined) == (60, 429, 1)
    assert (event.status, event.max_workers, event.peak_memory_bytes) == ("success", 2, 7)
