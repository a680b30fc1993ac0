"""The scheduler on asyncio and trio, and in simulated time: order, limits, failures, cancellation."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio.testing

from runner.errors import ConfigurationError, UncleanCancel
from runner.graph import JobGraph
from runner.records import Status
from runner.scheduler import Scheduler
from runner.specs.pipelines import JobSpec
from runner.specs.plan import Barrier, PlannedJob

STEPS = ({"step_id": "read", "op": "read", "dataset": "d", "table": "t"},)
BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def job(
    job_id: str,
    *,
    needs: str = "",
    after: str = "",
    limits: str = "",
    stops: str = "",
    queue: str = "default",
) -> PlannedJob:
    spec = JobSpec.model_validate({"job_id": job_id, "queue": queue, "steps": STEPS})
    return PlannedJob(
        spec=spec,
        group="daily",
        file=Path(f"configs/jobs/{job_id}.yaml"),
        needs=tuple(needs.split()),
        after=tuple(after.split()),
        limits=tuple(limits.split()),
        stops=tuple(stops.split()),
    )


class Run:
    """A run of jobs that take `seconds` each (1 unless given) and end as `ends` says, and what came of it."""

    def __init__(
        self,
        jobs: Sequence[PlannedJob],
        barriers: Sequence[Barrier] = (),
        *,
        seconds: Mapping[str, float] | None = None,
        ends: Mapping[str, Status | Exception] | None = None,
        **options: Any,
    ) -> None:
        self.seconds = seconds or {}
        self.ends = ends or {}
        self.events: list[str] = []
        self.started_at: dict[str, float] = {}
        self.queue_ms: dict[str, float] = {}
        self.skipped: dict[str, str] = {}
        self.outcomes: Mapping[str, Status] = {}
        self.duration = -1.0
        options = {"limits": {}, "queues": {"default": 1000}, "max_workers": None, **options}
        self.graph = JobGraph(jobs, barriers)
        self.scheduler = Scheduler(self.graph, run_job=self.run_job, on_skipped=self.on_skipped, **options)

    async def run_job(self, job: PlannedJob, queue_ms: float) -> Status:
        name = job.job_id
        self.started_at[name] = anyio.current_time()
        self.queue_ms[name] = queue_ms
        self.events.append(f"+{name}")
        try:
            await anyio.sleep(self.seconds.get(name, 1))
        except anyio.get_cancelled_exc_class():
            self.events.append(f"!{name}")
            raise
        self.events.append(f"-{name}")
        end = self.ends.get(name, Status.SUCCESS)
        if isinstance(end, Exception):
            raise end
        return end

    def on_skipped(self, job: PlannedJob, reason: str) -> None:
        assert job.job_id not in self.skipped
        self.skipped[job.job_id] = reason

    async def __call__(self) -> Run:
        begun = anyio.current_time()
        try:
            self.outcomes = await self.scheduler.run()
        finally:
            self.duration = anyio.current_time() - begun
        return self


def simulate(main: Callable[[], Awaitable[Any]]) -> Any:
    """Run on trio with a clock that jumps to the next moment at which anything happens."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    return anyio.run(main, backend="trio", backend_options={"clock": clock})


def named(count: int, prefix: str = "j", **options: Any) -> list[PlannedJob]:
    return [job(f"{prefix}{number}", **options) for number in range(count)]


# --- order and limits -----------------------------------------------------------------------------


def test_four_jobs_of_30_s_with_four_workers_take_30_s() -> None:
    run = simulate(Run(named(4), seconds=dict.fromkeys(("j0", "j1", "j2", "j3"), 30), max_workers=4))
    assert run.duration == 30
    assert set(run.outcomes.values()) == {Status.SUCCESS}


def test_one_worker_unless_told_otherwise() -> None:
    run = Run(named(3))
    run.scheduler = Scheduler(
        run.graph, run_job=run.run_job, on_skipped=run.on_skipped, limits={}, queues={"default": 10}
    )
    simulate(run)
    assert run.events == ["+j0", "-j0", "+j1", "-j1", "+j2", "-j2"]
    assert run.duration == 3


def test_a_job_starts_as_soon_as_one_ends_not_in_waves() -> None:
    run = simulate(Run(named(4), seconds={"j0": 10, "j1": 1, "j2": 1, "j3": 1}, max_workers=2))
    assert run.duration == 10
    assert run.started_at["j3"] - run.started_at["j0"] == 2


def test_stages_follow_each_other() -> None:
    run = simulate(
        Run(
            [*named(2, "a", limits="one"), *named(2, "b", after="@one", limits="two")],
            [Barrier(barrier_id="@one", members=("a0", "a1"))],
            seconds={"a0": 5},
            limits={"one": 2, "two": 2},
        )
    )
    assert run.duration == 6
    assert max(run.events.index("-a0"), run.events.index("-a1")) < min(
        run.events.index("+b0"), run.events.index("+b1")
    )


def test_a_full_limit_holds_up_nobody_else() -> None:
    jobs = [*named(2, "a", limits="narrow"), *named(2, "b", limits="wide")]
    run = simulate(Run(jobs, seconds={"a0": 5, "a1": 5}, limits={"narrow": 1, "wide": 2}))
    assert run.duration == 10
    assert run.started_at["b0"] == run.started_at["b1"] == run.started_at["a0"]


def test_a_queue_bounds_jobs_of_all_stages() -> None:
    jobs = [job("a", queue="maintenance"), job("b", queue="maintenance"), job("c")]
    run = simulate(Run(jobs, queues={"default": 10, "maintenance": 1}))
    assert run.started_at["b"] - run.started_at["a"] == 1
    assert run.started_at["c"] == run.started_at["a"]


def test_queue_ms_is_the_wait_for_slots_not_for_other_jobs() -> None:
    jobs = [job("a"), job("b"), job("c", after="a")]
    run = Run(
        jobs, seconds={"a": 3, "b": 2}, max_workers=1, monotonic_ns=lambda: int(trio.current_time() * 1e9)
    )
    simulate(run)
    assert run.queue_ms == pytest.approx({"a": 0, "b": 3000, "c": 2000})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (job("a", queue="nightly"), r"a\.yaml: a\.queue: unknown queue 'nightly'; expected one of default"),
        (job("a", limits="x"), r"a\.yaml: a\.limit: unknown limit 'x'; expected one of daily"),
    ],
)
def test_unknown_queues_and_limits_are_refused(bad: PlannedJob, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Run([bad], limits={"daily": 1})


# --- failures -------------------------------------------------------------------------------------


def test_a_failure_skips_what_needs_it_and_nothing_else() -> None:
    jobs = [job("a"), job("b", needs="a"), job("c", after="a"), job("d")]
    run = simulate(Run(jobs, ends={"a": Status.FAILURE}))
    assert run.outcomes == {"a": "failure", "b": "skipped", "c": "success", "d": "success"}
    assert run.skipped == {"b": "needs a, which failed"}


def test_stop_on_failure_lets_what_runs_finish() -> None:
    jobs = [
        job("a", stops="formation"),
        job("b", stops="formation"),
        job("c", stops="formation"),
        job("d", after="a", stops="formation"),
        job("e", after="d"),
    ]
    run = simulate(Run(jobs, seconds={"b": 5}, ends={"a": Status.FAILURE}, max_workers=2))
    reason = "formation stops on failure, and a failed"
    assert run.skipped == {"c": reason, "d": reason}
    assert run.outcomes == {
        "a": "failure", "b": "success", "c": "skipped", "d": "skipped", "e": "success"
    }  # fmt: skip


def test_a_job_skipped_while_it_waits_for_a_slot_blocks_no_other() -> None:
    jobs = [
        job("a", limits="narrow"),
        job("b", limits="narrow", stops="g"),
        job("c", limits="narrow", after="a"),
        job("x", stops="g"),
    ]
    run = simulate(Run(jobs, seconds={"a": 5}, ends={"x": Status.FAILURE}, limits={"narrow": 1}))
    assert run.outcomes == {"a": "success", "b": "skipped", "c": "success", "x": "failure"}
    assert run.duration == 6


def test_a_partial_job_stops_nothing() -> None:
    jobs = [job("a", stops="g"), job("b", needs="a", stops="g")]
    run = simulate(Run(jobs, ends={"a": Status.PARTIAL}, fail_fast=True))
    assert run.outcomes == {"a": "partial", "b": "success"}


@BACKENDS
def test_fail_fast_cancels_what_runs_and_skips_the_rest(backend: str) -> None:
    jobs = [job("a"), job("b"), job("c", after="b"), job("d", needs="a")]
    run = Run(
        jobs,
        seconds={"a": 0.01, "b": 30},
        ends={"a": Status.FAILURE},
        fail_fast=True,
    )
    anyio.run(run, backend=backend)
    assert run.outcomes == {"a": "failure", "b": "cancelled", "c": "skipped", "d": "skipped"}
    assert run.skipped == {
        "c": "the run stops at the first failure, and a failed",
        "d": "needs a, which failed",
    }
    assert sorted(run.events[:2]) == ["+a", "+b"]  # trio begins tasks in random order
    assert run.events[2:] == ["-a", "!b"]
    assert run.duration < 5


@BACKENDS
def test_an_exception_is_a_bug_and_is_raised_as_it_is(backend: str) -> None:
    jobs = [job("a"), job("b"), job("c", after="b")]
    run = Run(jobs, seconds={"a": 0.01, "b": 30}, ends={"a": ZeroDivisionError("a bug")})
    with pytest.raises(ZeroDivisionError, match="a bug"):
        anyio.run(run, backend=backend)
    assert run.graph.outcomes == {"a": "failure", "b": "cancelled", "c": "skipped"}
    assert run.skipped == {"c": "the run was ended because of an engine error at job a"}


@BACKENDS
def test_further_bugs_are_noted_on_the_first(backend: str) -> None:
    class Deaf(Run):
        async def run_job(self, job: PlannedJob, queue_ms: float) -> Status:
            with anyio.CancelScope(shield=True):
                return await super().run_job(job, queue_ms)
            raise AssertionError("a shielded job was cancelled")

    ends = {"a": ValueError("first"), "b": OSError("second")}
    run = Deaf([job("a"), job("b")], seconds={"a": 0.01, "b": 0.03}, ends=ends)
    with pytest.raises(ValueError, match="first") as caught:
        anyio.run(run, backend=backend)
    assert caught.value.__notes__ == ["and at job b: OSError: second"]


@BACKENDS
def test_a_bug_in_on_skipped_is_raised_as_it_is(backend: str) -> None:
    class Broken(Run):
        def on_skipped(self, job: PlannedJob, reason: str) -> None:
            raise OSError("no space left on device")

    run = Broken([job("a"), job("b", needs="a")], seconds={"a": 0}, ends={"a": Status.FAILURE})
    with pytest.raises(OSError, match="no space left"):
        anyio.run(run, backend=backend)


def test_a_status_that_is_no_end_is_a_bug() -> None:
    with pytest.raises(ValueError, match="cannot end as 'running'"):
        simulate(Run([job("a")], ends={"a": Status.RUNNING}))


# --- cancellation ---------------------------------------------------------------------------------


@BACKENDS
def test_cancelled_from_outside(backend: str) -> None:
    jobs = [job("a"), job("b"), job("c"), job("d", needs="a")]
    run = Run(jobs, seconds=dict.fromkeys("abcd", 30), max_workers=2)

    async def main() -> None:
        with anyio.move_on_after(0.02) as scope:
            await run()
        assert scope.cancelled_caught

    anyio.run(main, backend=backend)
    assert sorted(run.events[:2]) == ["+a", "+b"]
    assert sorted(run.events[2:]) == ["!a", "!b"]
    assert run.graph.outcomes == {"a": "cancelled", "b": "cancelled", "c": "skipped", "d": "skipped"}
    assert run.skipped == {"c": "the run was cancelled", "d": "needs a, which was cancelled"}


@BACKENDS
def test_cancelled_before_it_begins(backend: str) -> None:
    run = Run([job("a"), job("b", after="a")])

    async def main() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await run()
        assert scope.cancelled_caught

    anyio.run(main, backend=backend)
    assert run.events == []
    assert run.skipped == dict.fromkeys("ab", "the run was cancelled")


@BACKENDS
def test_a_job_that_ends_well_in_spite_of_it_starts_nothing_new(backend: str) -> None:
    class Landing(Run):
        async def run_job(self, job: PlannedJob, queue_ms: float) -> Status:
            with anyio.CancelScope(shield=True):
                return await super().run_job(job, queue_ms)
            raise AssertionError("a shielded job was cancelled")

    run = Landing([job("a"), job("b", after="a")], seconds={"a": 0.03, "b": 0})

    async def main() -> None:
        with anyio.move_on_after(0.01) as scope:
            await run()
        assert scope.cancelled_caught

    anyio.run(main, backend=backend)
    assert run.events == ["+a", "-a"]
    assert run.graph.outcomes == {"a": "success", "b": "skipped"}


@BACKENDS
def test_an_unclean_cancel_reaches_the_host(backend: str) -> None:
    class Deaf(Run):
        async def run_job(self, job: PlannedJob, queue_ms: float) -> Status:
            try:
                return await super().run_job(job, queue_ms)
            except anyio.get_cancelled_exc_class():
                raise UncleanCancel(job.job_id, 0.5) from None

    run = Deaf([job("a"), job("b", after="a")], seconds={"a": 30})

    async def main() -> None:
        with anyio.move_on_after(0.01):
            await run()

    with pytest.raises(UncleanCancel, match="a was still running"):
        anyio.run(main, backend=backend)
    assert run.graph.outcomes == {"a": "cancelled", "b": "skipped"}
    assert run.skipped == {"b": "the run was ended because job a could not be stopped"}


# --- cost -----------------------------------------------------------------------------------------


@pytest.mark.perf
@BACKENDS
@pytest.mark.parametrize("workers", [1, 4, 1000])
def test_a_job_costs_a_tenth_of_a_millisecond(backend: str, workers: int) -> None:
    jobs = named(1000, limits="stage")

    async def nothing(job: PlannedJob, queue_ms: float) -> Status:
        return Status.SUCCESS

    async def main() -> None:
        scheduler = Scheduler(
            JobGraph(jobs),
            run_job=nothing,
            on_skipped=lambda job, reason: None,
            limits={"stage": workers},
            queues={"default": 1000},
            max_workers=None,
        )
        started = time.process_time()
        await scheduler.run()
        assert (time.process_time() - started) / len(jobs) < 0.1e-3

    anyio.run(main, backend=backend)
