"""Random plans in simulated time: limits hold, order holds, and every job ends in exactly one way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import anyio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from runner.graph import JobGraph
from runner.records import Status
from runner.scheduler import Scheduler
from runner.scheduler.slots import WaitingJobs
from runner.specs.pipelines import JobSpec
from runner.specs.plan import Barrier, PlannedJob

STEPS = ({"step_id": "read", "op": "read", "dataset": "d", "table": "t"},)
ENDS = st.sampled_from([*[Status.SUCCESS] * 4, Status.PARTIAL, Status.FAILURE, Status.SKIPPED])
LIMITS = ("outer", "inner", "other")


@st.composite
def jobs_with_limits(draw: st.DrawFn) -> list[PlannedJob]:
    """Jobs with edges to earlier ones (and to barriers, see `barriers_of`), queues, limits and groups."""
    jobs: list[PlannedJob] = []
    for number in range(draw(st.integers(1, 14))):
        earlier = [f"j{other}" for other in range(number)] + [f"@{other}" for other in range(number // 3)]
        some = st.lists(st.sampled_from(earlier), max_size=2) if earlier else st.just([])
        spec = JobSpec.model_validate(
            {"job_id": f"j{number}", "queue": draw(st.sampled_from(["q", "narrow"])), "steps": STEPS}
        )
        jobs.append(
            PlannedJob(
                spec=spec,
                group="g",
                file=Path("x"),
                needs=tuple(draw(some)),
                after=tuple(draw(some)),
                limits=tuple(draw(st.lists(st.sampled_from(LIMITS), max_size=2, unique=True))),
                stops=tuple(draw(st.sets(st.sampled_from(["g1", "g2"])))),
            )
        )
    return jobs


def barriers_of(jobs: list[PlannedJob]) -> list[Barrier]:
    """One barrier for every three jobs."""
    return [
        Barrier(barrier_id=f"@{number}", members=tuple(f"j{number * 3 + other}" for other in range(3)))
        for number in range(len(jobs) // 3)
    ]


def slots(job: PlannedJob, cap: int | None) -> list[str]:
    """Name everything that a job takes a slot of."""
    return [f"queue {job.spec.queue}", *job.limits, *(["cap"] if cap is not None else [])]


SIZES = st.fixed_dictionaries(dict.fromkeys(LIMITS, st.integers(1, 3)))


@given(
    jobs=jobs_with_limits(),
    limits=SIZES,
    narrow=st.integers(1, 2),
    cap=st.sampled_from([None, 1, 2, 5]),
    fail_fast=st.booleans(),
    cancel_after=st.one_of(st.none(), st.floats(0, 20)),
    data=st.data(),
)
def test_every_run_keeps_its_promises(
    jobs: list[PlannedJob],
    limits: Mapping[str, int],
    narrow: int,
    cap: int | None,
    fail_fast: bool,
    cancel_after: float | None,
    data: st.DataObject,
) -> None:
    takes = {job.job_id: data.draw(st.integers(0, 5)) for job in jobs}
    ends = {job.job_id: data.draw(ENDS) for job in jobs}
    sizes = {"queue q": 10, "queue narrow": narrow, "cap": cap or 0, **limits}
    in_use: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    graph = JobGraph(jobs, barriers_of(jobs))

    async def run_job(job: PlannedJob, queue_ms: float) -> Status:
        assert queue_ms >= 0
        before = {name for name in (*job.needs, *job.after) if name.startswith("j")}
        assert before <= set(ended), "started too early"
        assert all(graph.outcomes[name] in ("success", "partial") for name in job.needs if name in before)
        in_use.update(slots(job, cap))
        assert all(in_use[name] <= sizes[name] for name in slots(job, cap)), (
            "more at once than a limit allows"
        )
        try:
            await anyio.sleep(takes[job.job_id])
            return ends[job.job_id]
        finally:
            in_use.subtract(slots(job, cap))
            ended[job.job_id] += 1

    def on_skipped(job: PlannedJob, reason: str) -> None:
        assert reason
        ended[job.job_id] += 1

    async def main() -> None:
        scheduler = Scheduler(
            graph,
            run_job=run_job,
            on_skipped=on_skipped,
            limits=limits,
            queues={"q": 10, "narrow": narrow},
            max_workers=cap,
            fail_fast=fail_fast,
        )
        with anyio.move_on_after(cancel_after):
            assert await scheduler.run() == graph.outcomes

    clock = trio.testing.MockClock(autojump_threshold=0)
    anyio.run(main, backend="trio", backend_options={"clock": clock})
    assert ended == Counter(job.job_id for job in jobs), "a job ended twice, or never"
    assert list(graph.outcomes) == [job.job_id for job in jobs]


SPEC = JobSpec.model_validate({"job_id": "j", "steps": STEPS})
KINDS = [
    PlannedJob(
        spec=SPEC.model_copy(update={"queue": queue, "priority": priority}),
        group="g",
        file=Path("x"),
        limits=limits,
    )
    for queue, priority in (("q", 0), ("narrow", 0), ("narrow", 7))
    for limits in ((), ("outer",), ("inner",), ("outer", "inner"), ("outer", "other"), ("inner", "other"))
]


@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=4, max_size=25),
    limits=st.fixed_dictionaries(dict.fromkeys(LIMITS, st.integers(1, 2))),
    cap=st.sampled_from([None, 3]),
    events=st.lists(
        st.tuples(st.sampled_from(["add", "release", "release", "discard"]), st.integers(0, 24)), min_size=10
    ),
    at_once=st.integers(0, 25),
)
def test_slots_go_to_the_first_job_in_line_that_can_have_all_of_its_own(
    kinds: list[PlannedJob],
    limits: Mapping[str, int],
    cap: int | None,
    events: list[tuple[str, int]],
    at_once: int,
) -> None:
    """Against a list that is searched from its beginning each time."""
    jobs = [
        replace(kind, spec=kind.spec.model_copy(update={"job_id": f"j{number}"}))
        for number, kind in enumerate(kinds)
    ]
    waiting = WaitingJobs(jobs, limits, {"q": 3, "narrow": 1}, cap)
    place = dict(enumerate(range(len(jobs))))
    narrow = [number for number, job in enumerate(jobs) if job.spec.queue == "narrow"]
    place |= dict(zip(sorted(narrow, key=lambda n: (-jobs[n].spec.priority, n)), narrow, strict=True))
    free: dict[str, int] = {"queue q": 3, "queue narrow": 1, "cap": cap or 0, **limits}
    new, queued, running = list(range(len(jobs))), set[int](), list[int]()

    def change(number: int, by: int) -> None:
        for name in slots(jobs[number], cap):
            free[name] += by

    for what, pick in [*[("add", 0)] * at_once, *events]:
        if what == "add" and new:
            number = new.pop(pick % len(new))
            waiting.add(jobs[number])
            queued.add(number)
        elif what == "discard" and queued:
            number = sorted(queued)[pick % len(queued)]
            waiting.discard(jobs[number])
            queued.remove(number)
        elif what == "release" and running:
            number = running.pop(pick % len(running))
            waiting.release(jobs[number])
            change(number, +1)
        taken: int | None = 0
        while taken is not None:
            taken = next(
                (
                    n
                    for n in sorted(queued, key=place.__getitem__)
                    if all(free[name] for name in slots(jobs[n], cap))
                ),
                None,
            )
            assert waiting.take() is (None if taken is None else jobs[taken])
            if taken is not None:
                queued.remove(taken)
                running.append(taken)
                change(taken, -1)
