"""A plan restricted to some of its jobs keeps the order that they have among all of them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from runner.graph import JobGraph
from runner.records import Status
from runner.specs import Barrier, PlannedJob, RunPlan
from runner.specs.pipelines import JobSpec

STEPS = ({"step_id": "read", "op": "read", "dataset": "d", "table": "t"},)
SPEC = JobSpec.model_validate({"job_id": "j", "steps": STEPS})


@st.composite
def plans(draw: st.DrawFn) -> RunPlan:
    """Jobs with edges to earlier ones, and to barriers of three."""
    jobs = []
    for number in range(draw(st.integers(1, 15))):
        earlier = [f"j{other}" for other in range(number)] + [f"@{other}" for other in range(number // 3)]
        some = st.lists(st.sampled_from(earlier), max_size=2, unique=True) if earlier else st.just([])
        spec = SPEC.model_copy(update={"job_id": f"j{number}"})
        jobs.append(
            PlannedJob(spec=spec, group="g", file=Path("x"), needs=tuple(draw(some)), after=tuple(draw(some)))
        )
    barriers = tuple(
        Barrier(barrier_id=f"@{number}", members=tuple(f"j{number * 3 + other}" for other in range(3)))
        for number in range(len(jobs) // 3)
    )
    return RunPlan(
        name="p",
        kind="pipeline",
        project=Path(),
        as_of=datetime.now(UTC),
        jobs=tuple(jobs),
        barriers=barriers,
    )


def ancestors(plan: RunPlan) -> dict[str, set[str]]:
    """Return for each node everything that it waits for, however far."""
    before = {job.job_id: {*job.needs, *job.after} for job in plan.jobs}
    before |= {barrier.barrier_id: set(barrier.members) for barrier in plan.barriers}
    found: dict[str, set[str]] = {}

    def of(node: str) -> set[str]:
        if node not in found:
            found[node] = set(before[node]).union(*(of(other) for other in before[node]))
        return found[node]

    return {node: of(node) for node in before}


def needed(plan: RunPlan, job: PlannedJob) -> set[str]:
    """Return the jobs that must succeed for `job`, directly or as members of a barrier."""
    members = {barrier.barrier_id: barrier.members for barrier in plan.barriers}
    return {name for need in job.needs for name in members.get(need, (need,))}


@given(plans(), st.data())
def test_order_and_needs_among_the_rest_stay(plan: RunPlan, data: st.DataObject) -> None:
    wanted = data.draw(st.sets(st.sampled_from([job.job_id for job in plan.jobs])))
    failing = data.draw(st.sets(st.sampled_from(sorted(wanted)))) if wanted else set()
    restricted = plan.restricted_to(wanted)
    assert [job.job_id for job in restricted.jobs] == [
        job.job_id for job in plan.jobs if job.job_id in wanted
    ]
    before = ancestors(plan)
    graph = JobGraph(restricted.jobs, restricted.barriers)
    ended: dict[str, Status] = {}
    change = graph.begin()
    ready = list(change.ready)
    while True:
        for job, _ in change.skipped:
            ended[job.job_id] = Status.SKIPPED
        if not ready:
            break
        job = ready.pop(data.draw(st.integers(0, len(ready) - 1)))
        assert before[job.job_id] & wanted <= set(ended), "started before what it comes after had ended"
        assert all(ended[name] is Status.SUCCESS for name in needed(plan, job) & wanted)
        graph.start(job.job_id)
        ended[job.job_id] = Status.FAILURE if job.job_id in failing else Status.SUCCESS
        change = graph.finish(job.job_id, ended[job.job_id])
        ready += change.ready
    assert set(ended) == wanted, "a job was forgotten"
    for job in restricted.jobs:
        spoilt = any(ended[name] is not Status.SUCCESS for name in needed(plan, job) & wanted)
        assert (ended[job.job_id] is Status.SKIPPED) == spoilt
