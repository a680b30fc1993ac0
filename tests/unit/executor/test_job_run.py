"""The account of a job run: statuses of job and steps, and the record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from runner.errors import FunctionFailed, TimeLimitExceeded
from runner.executor.chain import Node
from runner.executor.job_run import JobRun
from runner.executor.meter import Meter
from runner.ports import LandingResult, StepCounts, TargetLanding
from runner.records import Status
from runner.specs import TableRef
from tests.unit.executor.fake_jobs import FakeClock, Scripted, extract_step, write_step

STARTED = datetime(2026, 2, 12, 6, tzinfo=UTC)


class Counted:
    """A step that is over."""

    def __init__(self, **counts: Any) -> None:
        self.counts = StepCounts(**counts)

    def flow(self, batch: Any) -> Any:
        """Not called any more."""
        raise AssertionError(batch)


def job_run(*, started: bool = True, landed: bool = False, quarantined: int = 0) -> tuple[JobRun, FakeClock]:
    """Return a job run of an extract and a write."""
    clock = FakeClock()
    planned = Scripted([extract_step("source", retries=2), write_step()], {}).job()
    run = JobRun(planned, "JR", "R", 12.3456, STARTED, Meter(clock), clock())
    source, write = planned.spec.steps
    run.nodes = [
        Node(source, "extract", Counted(rows_read=3, rows_out=3, batches=1), started=True),
        Node(write, "write", Counted(rows_in=3, batches=1), started=started, lands=True),
    ]
    if landed or quarantined:
        target = TargetLanding(
            step_id="write", table=TableRef("out", "numbers"), staged=3, written=2, duplicates=1
        )
        run.landed.append(LandingResult(batch=0, targets=(target,), quarantined=quarantined))
    return run, clock


ERROR = TimeLimitExceeded("step", 1)


@pytest.mark.parametrize(
    ("landed", "quarantined", "error", "cancelled", "expected"),
    [
        (True, 0, None, False, Status.SUCCESS),
        (False, 0, None, False, Status.SUCCESS),
        (True, 1, None, False, Status.PARTIAL),
        (True, 0, ERROR, False, Status.PARTIAL),
        (False, 0, ERROR, False, Status.FAILURE),
        (True, 0, ERROR, True, Status.CANCELLED),
        (False, 0, None, True, Status.CANCELLED),
    ],
)
def test_status(
    landed: bool, quarantined: int, error: Exception | None, cancelled: bool, expected: Status
) -> None:
    run, _ = job_run(landed=landed, quarantined=quarantined)
    if error:
        run.fail(error, "source")
    assert run.status(cancelled=cancelled) is expected


@pytest.mark.parametrize(
    ("started", "landed", "failed", "cancelled", "expected"),
    [
        (True, True, "", False, ("success", "success")),
        (False, False, "", False, ("success", "skipped")),
        (True, False, "source", False, ("failure", "skipped")),
        (True, True, "source", False, ("failure", "success")),
        (True, False, "write", False, ("success", "failure")),
        (False, False, "source", True, ("cancelled", "skipped")),
        (True, False, "write", True, ("cancelled", "cancelled")),
    ],
)
def test_step_status(
    started: bool, landed: bool, failed: str, cancelled: bool, expected: tuple[str, str]
) -> None:
    run, clock = job_run(started=started, landed=landed)
    if failed:
        run.fail(ERROR, failed)
    record = run.record(run.status(cancelled=cancelled), STARTED, clock, "")
    assert tuple(timing.status.value for timing in record.step_timings) == expected


def test_the_record_says_everything() -> None:
    run, clock = job_run(landed=True, quarantined=1)
    run.meter.enter("source")
    clock.pass_ms(30)
    run.meter.enter("write")
    clock.pass_ms(70)
    run.meter.enter(None)

    record = run.record(Status.PARTIAL, STARTED, clock, "4bf9")

    assert (record.run_id, record.pipeline_run_id, record.job_id, record.group) == ("JR", "R", "job", "group")
    assert (record.queue, record.trace_id) == ("default", "4bf9")
    assert (record.duration_ms, record.queue_ms) == (100, 12.346)
    assert (record.rows_read, record.rows_written, record.rows_quarantined) == (3, 2, 1)
    assert [(t.duration_ms, t.busy_ms, t.rows_read, t.rows_written) for t in record.step_timings] == [
        (30, 30, 3, None),
        (70, 70, None, 2),
    ]
    assert record.performance_indicators is not None
    assert record.performance_indicators.bottleneck_step == "write"


def test_errors_are_described_with_their_step_and_category() -> None:
    run, _ = job_run()
    run.fail(FunctionFailed("m:f", RuntimeError()), "source")
    (error,) = run.errors
    assert (error.category, error.type, error.step_id) == ("function", "FunctionFailed", "source")
    assert "RuntimeError" in error.message
    run.fail(RuntimeError(), "source")
    assert (run.errors[1].category, run.errors[1].message) == ("bug", "RuntimeError")


def test_the_step_that_failed_says_how_often_it_is_tried_again() -> None:
    run, _ = job_run()
    assert run.retries_allowed == 0
    run.failed_step = "source"
    assert run.retries_allowed == 2
    run.begin_again()
    assert (run.attempts, run.failed_step) == (2, "")
