"""Predictions from many runs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from runner.fold import fold_run
from runner.operations.what_if import what_if
from runner.records import PipelineRun, RunRecord
from runner.specs.pipelines import JobSpec
from runner.specs.plan import PlannedJob, RunPlan
from runner.testing.timed_history import TimedJob, timed_history

START = datetime(2026, 2, 12, 6, tzinfo=UTC)
JOBS = tuple(f"job_{number}" for number in range(10))


def run(day: int) -> PipelineRun:
    """A run of ten jobs, one after the other."""
    jobs = [TimedJob(job_id=job_id, steps={"read": 100.0 + day}) for job_id in JOBS]
    events = timed_history("daily", jobs, started_at=START + timedelta(days=day))
    return fold_run(events, run_id=events[0].run_id, alive=False)


def plan(max_workers: int | None) -> RunPlan:
    """The same jobs, in no order."""
    steps = ({"step_id": "read", "op": "read", "dataset": "d", "table": "t"},)
    specs = [JobSpec.model_validate({"job_id": job_id, "steps": steps}) for job_id in JOBS]
    jobs = tuple(PlannedJob(spec=spec, group="daily", file=Path("x")) for spec in specs)
    return RunPlan(
        name="daily", kind="pipeline", project=Path("."), as_of=START, jobs=jobs, max_workers=max_workers
    )


def test_no_more_runs_are_held_than_one_or_two() -> None:
    """A month of runs every five minutes is nine thousand of them."""
    held: list[int] = []

    def newest_first() -> Iterator[PipelineRun]:
        for day in range(7, 0, -1):
            yield run(day)
            held.append(sum(isinstance(each, RunRecord) for each in gc.get_objects()))

    found = what_if("daily", newest_first(), plan, {"default": 100}, [2])
    assert max(held) - held[0] <= 20
    assert (found.runs, found.recorded_ms) == (7, 1040)
    assert found.asked[0].duration_ms == found.engine_ms + 5 * 104
