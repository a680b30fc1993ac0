"""Predictions against runs: the same plan, once predicted from records, once run in another simulated time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from runner.analysis.critical_path import critical_path
from runner.graph import JobGraph
from runner.operations.what_if import stages_of, what_if
from runner.operations.what_if.simulated import simulate
from runner.records import PipelineRun, RunRecord, Status
from runner.scheduler import Scheduler
from runner.specs.pipelines import JobSpec
from runner.specs.plan import Barrier, PlannedJob, RunPlan

START = datetime(2026, 2, 12, 6, tzinfo=UTC)
STEPS = ({"step_id": "read", "op": "read", "dataset": "d", "table": "t"},)
QUEUES = {"default": 3, "narrow": 1}


@st.composite
def plans(draw: st.DrawFn) -> tuple[RunPlan, Mapping[str, float]]:
    """Stages of jobs with limits, queues and priorities, and how many milliseconds each job lasts."""
    jobs: list[PlannedJob] = []
    barriers: list[Barrier] = []
    limits = {}
    after: tuple[str, ...] = ()
    for stage in range(draw(st.integers(1, 3))):
        group = f"p/s{stage}"
        limits[group] = draw(st.integers(1, 3))
        members = []
        for number in range(draw(st.integers(1, 4))):
            members.append(f"j{stage}{number}")
            queue = draw(st.sampled_from(sorted(QUEUES)))
            spec = JobSpec.model_validate(
                {"job_id": members[-1], "queue": queue, "priority": draw(st.integers(0, 2)), "steps": STEPS}
            )
            jobs.append(PlannedJob(spec=spec, group=group, file=Path("x"), after=after, limits=(group,)))
        barriers.append(Barrier(barrier_id=group, members=tuple(members)))
        after = (group,)
    # Not shorter: waits of less than WAIT_MS count as the engine's own time.
    milliseconds = {job.job_id: float(draw(st.integers(10, 5000))) for job in jobs}
    plan = RunPlan(
        name="p", kind="pipeline", project=Path("."), as_of=START, jobs=tuple(jobs), barriers=tuple(barriers),
        limits=limits, max_workers=draw(st.sampled_from([None, 1, 2, 4])),
    )  # fmt: skip
    return plan, milliseconds


def run_on_trio(plan: RunPlan, milliseconds: Mapping[str, float]) -> PipelineRun:
    """The records of a run of the plan, on another event loop and another clock than predictions use."""
    records: dict[str, RunRecord] = {}

    async def main() -> float:
        begin = trio.current_time()

        async def run_job(job: PlannedJob, queue_ms: float) -> Status:
            at = trio.current_time() - begin
            await trio.sleep(milliseconds[job.job_id] / 1000)
            records[job.job_id] = RunRecord(
                run_id="", job_id=job.job_id, group=job.group, queue=job.spec.queue, waits_for=job.after,
                status=Status.SUCCESS, started_at=START + timedelta(seconds=at),
                duration_ms=milliseconds[job.job_id], queue_ms=queue_ms,
            )  # fmt: skip
            return Status.SUCCESS

        await Scheduler(
            JobGraph(plan.jobs, plan.barriers),
            run_job=run_job,
            on_skipped=lambda job, reason: pytest.fail(f"{job.job_id}: {reason}"),
            limits=plan.limits,
            queues=QUEUES,
            max_workers=plan.max_workers,
            monotonic_ns=lambda: round(trio.current_time() * 1e9),
        ).run()
        return trio.current_time() - begin

    seconds = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return PipelineRun(
        pipeline_run_id="R", pipeline_id="p", status=Status.SUCCESS, started_at=START, duration_ms=seconds * 1000,
        max_workers=plan.max_workers, jobs=tuple(records[job.job_id] for job in plan.jobs),
        barriers={barrier.barrier_id: barrier.members for barrier in plan.barriers},
    )  # fmt: skip


def with_workers(plan: RunPlan, workers: int | None) -> RunPlan:
    """The plan as the loader makes it for another number of workers."""
    if workers is None:
        return plan
    return replace(plan, limits=dict.fromkeys(plan.limits, workers), max_workers=workers)


@given(plans(), st.integers(1, 6))
def test_a_prediction_is_what_a_run_with_so_many_workers_takes(
    case: tuple[RunPlan, Mapping[str, float]], workers: int
) -> None:
    """Recorded with the declared workers, predicted for others, and run with those."""
    plan, milliseconds = case
    recorded = run_on_trio(plan, milliseconds)
    found = what_if("p", [recorded], lambda number: with_workers(plan, number), QUEUES, [workers])
    actual = run_on_trio(with_workers(plan, workers), milliseconds)

    assert found.unknown == ()
    assert found.asked[0].duration_ms == pytest.approx(actual.duration_ms, abs=0.1)
    assert found.asked[0].stages_ms == pytest.approx(stages_of(actual), abs=0.1)
    assert found.declared.duration_ms == pytest.approx(found.recorded_ms, abs=0.1)
    assert found.unlimited.duration_ms >= max(milliseconds.values()) - 0.1


@given(plans())
def test_the_critical_path_of_a_run_with_limits_is_of_jobs_alone(
    case: tuple[RunPlan, Mapping[str, float]],
) -> None:
    """In a run whose engine takes no time each moment belongs to a job: who waits for a slot is behind who had it."""
    plan, milliseconds = case
    run = simulate(plan, QUEUES, milliseconds)
    path = critical_path(run)

    assert path.time_of("job") == pytest.approx(run.duration_ms, abs=0.1)
    assert path.duration_ms == pytest.approx(run.duration_ms, abs=0.1)
    assert sum(path.shares().values()) == pytest.approx(1, abs=0.001)


@given(plans())
def test_without_limits_no_path_is_behind_a_slot(case: tuple[RunPlan, Mapping[str, float]]) -> None:
    """Then only the order of the jobs holds them up."""
    plan, milliseconds = case
    free = replace(plan, limits=dict.fromkeys(plan.limits, 100), max_workers=None)
    run = simulate(free, dict.fromkeys(QUEUES, 100), milliseconds)
    assert critical_path(run).behind_slots_ms == 0
    assert run.duration_ms <= sum(milliseconds.values()) + 0.1
