"""Records: their form, the figures derived from them, and that old ones still load."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from runner.errors import RunFailed
from runner.records import (
    PIPELINE_RUN_SCHEMA,
    ErrorInfo,
    PerformanceIndicators,
    PipelineRun,
    RunRecord,
    Status,
    StepRegression,
    StepTiming,
    WarningInfo,
    run_status,
)

AT = datetime(2026, 2, 12, 6, tzinfo=UTC)


def job(job_id: str = "a", status: Status = Status.SUCCESS, *, errors: int = 0, rows: int = 0) -> RunRecord:
    """A job's record with as much in it as a test needs."""
    return RunRecord(
        run_id="J",
        job_id=job_id,
        status=status,
        rows_read=rows,
        rows_written=rows,
        errors=tuple(ErrorInfo(category="bug", message=f"{job_id} broke") for _ in range(errors)),
    )


def run_of(*jobs: RunRecord, status: Status = Status.SUCCESS) -> PipelineRun:
    """A run of these jobs."""
    return PipelineRun(
        pipeline_run_id="R", pipeline_id="daily", status=status, started_at=AT, completed_at=AT, jobs=jobs
    )


def test_records_come_back_from_their_json() -> None:
    """Every field of every level, also those that are left out when empty."""
    read = StepTiming(
        step_id="read_me",
        op="read",
        duration_ms=1.5,
        rows_read=60,
        first_ms=0.1,
        last_ms=2.5,
        warehouse={"bytes": 7},
    )
    write = StepTiming(step_id="write", op="write", status=Status.FAILURE, rows_written=0, attempts=3)
    full = RunRecord(
        run_id="J",
        job_id="form_obs_intake_01",
        pipeline_run_id="R",
        group="daily/formation",
        queue="nightly",
        waits_for=("daily/ingest", "form_me_intake_01"),
        needs=("form_me_intake_01",),
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        status=Status.PARTIAL,
        started_at=AT,
        completed_at=AT,
        duration_ms=12.5,
        queue_ms=3,
        rows_read=60,
        rows_written=429,
        rows_quarantined=2,
        warnings=(
            WarningInfo(code="check.failed", message="out.a: rows from 1: there are none", step_id="fit"),
        ),
        errors=(ErrorInfo(category="data", message="é\n\u2028", type="BadRows", step_id="write"),),
        step_timings=(read, write),
        performance_indicators=PerformanceIndicators.from_timings((read, write)),
        warehouse={"query_ids": ["q1"]},
    )
    run = PipelineRun(
        pipeline_run_id="R",
        pipeline_id="daily",
        status=Status.PARTIAL,
        started_at=AT,
        completed_at=AT,
        duration_ms=13,
        max_workers=4,
        as_of=AT,
        errors=(ErrorInfo(category="timeout", message="run stopped"),),
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        peak_memory_bytes=123_456_789,
        regressions=(
            StepRegression(job_id="a", step_id="score", was_ms=1200, is_ms=1800.5, ratio=1.5, runs=20),
        ),
        jobs=(full, job()),
        barriers={"daily/ingest": ("a", "b")},
    )
    assert PipelineRun.from_dict(json.loads(json.dumps(run.to_dict()))) == run


def test_empty_parts_of_a_record_are_left_out() -> None:
    """Requirement 1.3: no step_timings and no indicators where there are none."""
    data = job().to_dict()
    left_out = {"waits_for", "needs", "step_timings", "performance_indicators", "warehouse"}
    assert left_out.isdisjoint(data)
    assert data["status"] == "success"
    assert data["errors"] == []
    assert "rows_read" not in StepTiming(step_id="w", op="write", rows_written=0).to_dict()
    assert StepTiming(step_id="w", op="write", rows_written=0).to_dict()["rows_written"] == 0


def test_old_records_load() -> None:
    """`failed` for `failure`, errors as texts, times with an offset, missing and unknown members."""
    old = {
        "run_id": "01KH4SATJ0",
        "job_id": "form_me_followup",
        "status": "failed",
        "duration_ms": 84694,
        "started_at": "2026-02-12T07:00:00+01:00",
        "errors": ["boom"],
        "manifest": {"of": "another time"},
    }
    record = RunRecord.from_dict(old)
    assert record.status is Status.FAILURE
    assert record.errors == (ErrorInfo(category="unknown", message="boom"),)
    assert (record.started_at, record.completed_at) == (AT, None)
    assert (record.rows_read, record.step_timings, record.performance_indicators) == (0, (), None)
    assert (record.queue, record.waits_for, record.needs, record.trace_id) == ("", (), (), "")


def test_old_runs_load() -> None:
    """What runs of version 1 did not tell is not known: no order, no trace, no memory."""
    old = {
        "schema": PIPELINE_RUN_SCHEMA,
        "pipeline_run_id": "R",
        "pipeline_id": "daily",
        "status": "success",
        "started_at": "2026-02-12T06:00:00.000000Z",
        "jobs": [{"run_id": "J", "job_id": "a", "status": "success"}],
    }
    run = PipelineRun.from_dict(old)
    assert (run.barriers, run.trace_id, run.peak_memory_bytes) == ({}, "", None)
    assert PipelineRun.from_dict(run.to_dict()) == run


@pytest.mark.parametrize("status", ["done", "", None, 1])
def test_a_status_that_is_none_is_refused(status: object) -> None:
    """Never silently a success."""
    with pytest.raises(ValueError, match="Status"):
        RunRecord.from_dict({"run_id": "J", "job_id": "a", "status": status})


def test_a_naive_time_has_no_place_in_a_record() -> None:
    """Nobody could say what moment it means."""
    with pytest.raises(ValueError, match="no UTC offset"):
        RunRecord.from_dict(
            {"run_id": "J", "job_id": "a", "status": "success", "started_at": "2026-02-12T06:00"}
        )


def test_a_run_without_its_jobs_still_counts_their_rows() -> None:
    """In lists of runs, and after a round trip of what they print."""
    run = replace(run_of(job("a", rows=60), job("b", rows=5)), barriers={"daily/x": ("a", "b")})
    short = run.without_jobs()
    assert (short.jobs, short.rows_read, short.rows_written) == ((), 65, 65)
    assert short.to_dict(jobs=False) == run.to_dict(jobs=False)
    assert PipelineRun.from_dict(run.to_dict(jobs=False)) == short
    assert short.without_jobs() == short


def test_the_form_of_a_run() -> None:
    """`-o json` prints this: DESIGN.md, Command line."""
    data = run_of(job()).to_dict()
    assert data["schema"] == PIPELINE_RUN_SCHEMA
    assert list(data)[-2:] == ["jobs", "barriers"]
    assert data["started_at"] == "2026-02-12T06:00:00.000000Z"
    assert {"jobs", "barriers"}.isdisjoint(run_of(job()).to_dict(jobs=False))


@pytest.mark.parametrize(
    ("read_ms", "word"),
    [(0, "good"), (4999.999, "good"), (5000, "moderate"), (14999.999, "moderate"), (15000, "poor")],
)
def test_query_efficiency_has_two_thresholds(read_ms: float, word: str) -> None:
    """Of the time of all read steps, by op and not by name (T9)."""
    timings = [
        StepTiming(step_id="query", op="read", duration_ms=read_ms / 2),
        StepTiming(step_id="again", op="read", duration_ms=read_ms / 2),
        StepTiming(step_id="read_file", op="call", duration_ms=60_000),
    ]
    assert PerformanceIndicators.from_timings(timings).query_efficiency == word


def test_throughput_is_of_the_phase() -> None:
    """429 rows in 1.164 s of writing and 11.702 s of scoring: T8. Rows are not counted once a step."""
    timings = [
        StepTiming(step_id="read_me", op="read", duration_ms=71_828, rows_read=60, rows_out=60),
        StepTiming(step_id="prepare", op="call", duration_ms=234, rows_in=60, rows_out=60),
        StepTiming(step_id="score", op="call", duration_ms=11_468, rows_in=60, rows_out=429),
        StepTiming(step_id="write", op="write", duration_ms=1_164, rows_in=429, rows_written=429),
    ]
    figures = PerformanceIndicators.from_timings(timings)
    assert (figures.transform_throughput, figures.write_throughput) == (36.66, 368.56)
    assert (figures.bottleneck_step, figures.query_efficiency) == ("read_me", "poor")


def test_figures_of_nothing() -> None:
    """No steps, no time, and no rows divide nothing by nothing (T9)."""
    assert PerformanceIndicators.from_timings([]) == PerformanceIndicators(
        query_efficiency="good", transform_throughput=0, write_throughput=0, bottleneck_step=None
    )
    instant = [StepTiming(step_id="a", op="write", rows_written=5), StepTiming(step_id="b", op="call")]
    assert PerformanceIndicators.from_timings(instant).write_throughput == 0
    assert PerformanceIndicators.from_timings(instant).bottleneck_step == "a"


@pytest.mark.parametrize(
    ("jobs", "status"),
    [
        ([], Status.SUCCESS),
        ([job()], Status.SUCCESS),
        ([job(status=Status.SKIPPED)], Status.SUCCESS),
        ([job(status=Status.FAILURE)], Status.FAILURE),
        ([job(status=Status.FAILURE), job(status=Status.SKIPPED)], Status.FAILURE),
        ([job(status=Status.FAILURE), job()], Status.PARTIAL),
        ([job(status=Status.PARTIAL)], Status.SUCCESS),
        ([job(status=Status.PARTIAL, errors=1)], Status.PARTIAL),
        ([job(), job(status=Status.FAILURE), job(status=Status.CANCELLED)], Status.CANCELLED),
    ],
)
def test_what_the_jobs_make_of_their_run(jobs: list[RunRecord], status: Status) -> None:
    """DESIGN.md, Words; quarantine within its limit is no failure."""
    assert run_status(jobs) is status


def test_a_run_raises_only_when_told_to() -> None:
    """Failures are data until someone asks."""
    assert run_of(job()).raise_for_status() == run_of(job())
    with pytest.raises(RunFailed, match="run R of daily: partial; b: b broke"):
        run_of(job(), job("b", Status.FAILURE, errors=1), status=Status.PARTIAL).raise_for_status()
