"""Random queues in simulated time: who goes first, who waits for what, and how long."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from runner.graph import JobGraph
from runner.records import Status
from runner.scheduler import Scheduler
from runner.specs.pipelines import JobSpec
from runner.specs.plan import PlannedJob

STEPS = ({"step_id": "read", "op": "read", "dataset": "d", "table": "t"},)
SPEC = JobSpec.model_validate({"job_id": "j", "steps": STEPS})


def job(number: int, queue: str, priority: int = 0, after: Sequence[int] = ()) -> PlannedJob:
    """Return a job of a plan."""
    spec = SPEC.model_copy(update={"job_id": f"j{number}", "queue": queue, "priority": priority})
    return PlannedJob(spec=spec, group="g", file=Path("x"), after=tuple(f"j{other}" for other in after))


@dataclass(frozen=True)
class Ran:
    """One job as it ran, in seconds: ready, started, ended, and the wait that it was told."""

    job: PlannedJob
    number: int
    place: int
    ready: float
    start: float
    end: float
    queue_ms: float

    @property
    def turn(self) -> tuple[int, int]:
        """What decides within a queue: the lower goes first."""
        return (-self.job.spec.priority, self.number)


def places(jobs: Sequence[PlannedJob]) -> list[int]:
    """Return for each job its place among all: its queue's places, handed out by priority, then plan order."""
    found = [0] * len(jobs)
    for queue in {job.spec.queue for job in jobs}:
        numbers = [number for number, job in enumerate(jobs) if job.spec.queue == queue]
        by_priority = sorted(numbers, key=lambda number: (-jobs[number].spec.priority, number))
        for place, number in zip(numbers, by_priority, strict=True):
            found[number] = place
    return found


def run(
    jobs: Sequence[PlannedJob], seconds: Sequence[float], queues: Mapping[str, int], cap: int | None
) -> list[Ran]:
    """Run jobs that take so many seconds in simulated time."""
    started: dict[str, tuple[float, float]] = {}
    ended: dict[str, float] = {}

    async def run_job(job: PlannedJob, queue_ms: float) -> Status:
        started[job.job_id] = (anyio.current_time(), queue_ms)
        await anyio.sleep(seconds[int(job.job_id[1:])])
        ended[job.job_id] = anyio.current_time()
        return Status.SUCCESS

    async def main() -> float:
        began = anyio.current_time()
        scheduler = Scheduler(
            JobGraph(jobs),
            run_job=run_job,
            on_skipped=lambda job, reason: None,
            limits={},
            queues=queues,
            max_workers=cap,
            monotonic_ns=lambda: round(anyio.current_time() * 1e9),
        )
        await scheduler.run()
        return began

    clock = trio.testing.MockClock(autojump_threshold=0)
    began = anyio.run(main, backend="trio", backend_options={"clock": clock})
    place = places(jobs)
    return [
        Ran(
            job=job,
            number=number,
            place=place[number],
            ready=max((ended[name] for name in job.after), default=began) - began,
            start=started[job.job_id][0] - began,
            end=ended[job.job_id] - began,
            queue_ms=started[job.job_id][1],
        )
        for number, job in enumerate(jobs)
    ]


QUEUES = ("a", "b", "c")


@st.composite
def plans(draw: st.DrawFn) -> list[PlannedJob]:
    """Jobs of three queues with priorities, some of which come after one or two earlier ones."""
    jobs = []
    for number in range(draw(st.integers(1, 25))):
        after = draw(st.lists(st.integers(0, number - 1), max_size=2)) if number else []
        priority = draw(st.sampled_from([0, 0, -100, -1, 5, 5, 100]))
        jobs.append(job(number, draw(st.sampled_from(QUEUES)), priority, after))
    return jobs


@given(
    jobs=plans(),
    queues=st.fixed_dictionaries(dict.fromkeys(QUEUES, st.integers(1, 4))),
    cap=st.sampled_from([None, 1, 2, 3, 6]),
    data=st.data(),
)
def test_queues_keep_their_order_and_limits_and_nobody_waits_for_nothing(
    jobs: list[PlannedJob], queues: dict[str, int], cap: int | None, data: st.DataObject
) -> None:
    seconds: list[float] = data.draw(st.lists(st.integers(1, 5), min_size=len(jobs), max_size=len(jobs)))
    # Of jobs that end at one moment the slots come free one by one, in any order: who is first in line for both of
    # them can only be told where no two ends meet. Sums of different powers of two never do.
    apart = data.draw(st.booleans())
    if apart:
        seconds = [length + 2.0 ** -(number + 1) for number, length in enumerate(seconds)]
    ran = run(jobs, seconds, queues, cap)
    for one in ran:
        assert abs(one.queue_ms / 1000 - (one.start - one.ready)) < 1e-6
    for moment in sorted({one.start for one in ran} | {one.end for one in ran}):
        busy = [one for one in ran if one.start <= moment < one.end]
        in_use = Counter(one.job.spec.queue for one in busy)
        assert all(in_use[queue] <= limit for queue, limit in queues.items())
        assert cap is None or len(busy) <= cap
        full = cap is not None and len(busy) == cap
        waiting = [one for one in ran if one.ready <= moment < one.start]
        for one in waiting:
            assert full or in_use[one.job.spec.queue] == queues[one.job.spec.queue], (
                "waits, but nothing is full"
            )
        # Those who were waiting already when others got a slot at this moment.
        passed_over = [one for one in waiting if one.ready < moment]
        for other in (one for one in busy if one.start == moment):
            for one in passed_over:
                if one.job.spec.queue == other.job.spec.queue:
                    assert other.turn < one.turn, "out of turn in its queue"
                elif apart and in_use[one.job.spec.queue] < queues[one.job.spec.queue]:
                    assert other.place < one.place, "out of turn between queues"


@given(
    flood=st.lists(st.integers(1, 9), max_size=15),
    usual=st.lists(st.integers(1, 5), min_size=1, max_size=25),
    cap=st.sampled_from([None, 11]),
    seed=st.integers(0, 99),
)
def test_a_flood_in_one_queue_does_not_move_the_other(
    flood: list[int], usual: list[int], cap: int | None, seed: int
) -> None:
    """With workers for both queues, `default` runs as if nobody waited for `maintenance`."""
    kinds = [("maintenance", length) for length in flood] + [("default", length) for length in usual]
    random.Random(seed).shuffle(kinds)
    queues = {"default": 10, "maintenance": 1}
    seconds = [length for _, length in kinds]
    both = run([job(number, queue) for number, (queue, _) in enumerate(kinds)], seconds, queues, cap)
    alone = [length for queue, length in kinds if queue == "default"]
    calm = run([job(number, "default") for number in range(len(alone))], alone, queues, cap)
    starts = [one.start for one in both if one.job.spec.queue == "default"]
    assert starts == [one.start for one in calm]


def test_fifty_jobs_of_maintenance_and_fifty_of_default_wait_as_configured() -> None:
    """One second each, written alternately: maintenance one after the other, default ten at a time, by priority."""
    priorities = [(7 * number) % 11 - 5 for number in range(100)]
    queue = ("maintenance", "default")
    jobs = [job(number, queue[number % 2], priorities[number]) for number in range(100)]
    ran = run(jobs, [1.0] * 100, {"default": 10, "maintenance": 1}, None)
    for name, limit in (("maintenance", 1), ("default", 10)):
        in_turn = sorted((one for one in ran if one.job.spec.queue == name), key=lambda one: one.turn)
        assert [round(one.start) for one in in_turn] == [number // limit for number in range(50)]
        assert [round(one.queue_ms) for one in in_turn] == [1000 * (number // limit) for number in range(50)]


def test_with_few_workers_a_flood_holds_no_more_of_them_than_its_queue_has_slots() -> None:
    """Fifty jobs of maintenance stand first in the plan, four workers: three of them are always left for default."""
    jobs = [job(number, "maintenance" if number < 50 else "default") for number in range(100)]
    ran = run(jobs, [1.0] * 100, {"default": 10, "maintenance": 1}, 4)
    last = max(one.start for one in ran if one.job.spec.queue == "default")
    for second in range(round(last)):
        busy = Counter(one.job.spec.queue for one in ran if round(one.start) == second)
        assert busy == {"maintenance": 1, "default": 3}
    assert round(last) == 16
