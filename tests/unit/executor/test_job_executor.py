"""The executor: attempts, limits, landings in pieces, cancellation. On asyncio and on trio."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import anyio
import pytest

from runner.errors import (
    QuotaExceeded,
    UncleanCancel,
    WarehouseError,
    WarehouseUnavailable,
    WriteConflict,
)
from runner.events import JobFinished, JobRetrying, JobStarted, Landed, Noticed, StepFinished, StepProgress
from runner.ports import Batch, LandingResult, LandingSpec, StepContext, Writer
from runner.records import Status
from runner.specs import TableRef
from runner.testing import MemoryWarehouse
from tests.unit.executor.fake_jobs import Scripted, call_step, extract_step, give, write_step

pytestmark = pytest.mark.anyio
NUMBERS = TableRef("out", "numbers")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run on both."""
    return str(request.param)


class LandingWarehouse(MemoryWarehouse):
    """A warehouse whose landings take a while, fail a number of times, or land although they are stopped."""

    def __init__(
        self,
        *,
        seconds: float = 0,
        errors: Sequence[Exception] = (),
        stubborn: bool = False,
        silent: bool = False,
    ) -> None:
        super().__init__()
        self.seconds = seconds
        self.errors = list(errors)
        self.stubborn = stubborn
        self.silent = silent

    def writer(self, landing: LandingSpec) -> AbstractAsyncContextManager[Writer]:
        """Wrap the writer."""
        return self._wrapped(landing)

    @asynccontextmanager
    async def _wrapped(self, landing: LandingSpec) -> AsyncIterator[Writer]:
        async with super().writer(landing) as writer:
            yield LandingWriter(self, writer)


class LandingWriter:
    """The writer of a `LandingWarehouse`."""

    def __init__(self, warehouse: LandingWarehouse, writer: Writer) -> None:
        self._warehouse = warehouse
        self._writer = writer
        self.stage, self.stage_keys = writer.stage, writer.stage_keys
        self.stage_bad_rows = writer.stage_bad_rows

    async def land(self, batch: int = 0) -> LandingResult:
        """Land, later or not at all."""
        if self._warehouse.errors:
            raise self._warehouse.errors.pop(0)
        try:
            await anyio.sleep(self._warehouse.seconds)
        except anyio.get_cancelled_exc_class():
            if self._warehouse.stubborn:
                with anyio.CancelScope(shield=True):
                    await self._writer.land(batch)
            raise
        return await self._writer.land(batch)

    async def has_landed(self, batch: int = 0) -> bool:
        """Look for the marker."""
        if self._warehouse.silent:
            raise WarehouseUnavailable("memory", "gone")
        return await self._writer.has_landed(batch)


def loading(**more: Any) -> Scripted:
    """Return a job that writes three batches of numbers."""
    options: dict[str, Any] = {"script": {"source": give([1, 2], [3], [4, 5])}} | more
    steps = options.pop("steps", [extract_step(retries=2), write_step(retries=2)])
    return Scripted(steps, **options)


def landed(job: Scripted) -> list[int]:
    """Return the numbers that the warehouse has."""
    assert isinstance(job.warehouse, MemoryWarehouse)
    return sorted(row["n"] for row in job.warehouse.tables[NUMBERS].rows)


async def test_events_tell_the_story_in_order() -> None:
    job = loading()

    assert await job.run(queue_ms=1.23456) is Status.SUCCESS

    kinds = [type(event) for event in job.events]
    assert kinds == [JobStarted, *[StepProgress] * 3, Landed, StepFinished, StepFinished, JobFinished]
    assert {event.run_id for event in job.events} == {"RUN"}
    (started,), (land,) = job.of(JobStarted), job.of(Landed)
    assert (started.queue_ms, started.group) == (1.235, "group")
    assert land.rows == {"out.numbers": 5}
    assert landed(job) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("error", [WriteConflict("memory", "other"), WarehouseUnavailable("memory", "away")])
async def test_a_landing_that_may_succeed_later_is_tried_again_from_the_read_on(error: Exception) -> None:
    job = loading(warehouse=LandingWarehouse(errors=[error, error]))

    assert await job.run() is Status.SUCCESS

    assert job.builds == 3 * 2, "steps of every attempt are new"
    assert [timing.attempts for timing in job.record.step_timings] == [3, 3]
    assert job.record.rows_read == 5
    assert [event.error.step_id for event in job.of(JobRetrying)] == ["write", "write"]
    assert landed(job) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("errors", "attempts"),
    [
        ([WarehouseUnavailable("memory", "away")] * 3, 3),
        ([WarehouseError("memory", "no such thing")], 1),
        ([RuntimeError("a bug")], 1),
    ],
)
async def test_what_does_not_pass_fails_the_job(errors: list[Exception], attempts: int) -> None:
    job = loading(warehouse=LandingWarehouse(errors=errors))

    assert await job.run() is Status.FAILURE

    assert job.record.status is Status.FAILURE
    assert [error.step_id for error in job.record.errors] == ["write"]
    assert job.record.step_timings[1].attempts == attempts
    assert landed(job) == []


async def test_pieces_land_on_the_way_and_are_not_landed_again() -> None:
    job = loading(steps=[extract_step(), write_step(retries=5, commit_every=1)])
    warehouse = job.warehouse = LandingWarehouse()

    async def source(batch: Batch, context: StepContext) -> AsyncGenerator[Batch, None]:
        async with aclosing(give([1, 2], [3], [4, 5])(batch, context)) as rows:
            async for given in rows:
                if given.rows == [{"n": 4}, {"n": 5}]:
                    warehouse.errors.append(WarehouseUnavailable("memory", "away"))
                yield given

    job.script["source"] = source

    assert await job.run() is Status.FAILURE, "what needs it must not run"

    assert job.record.status is Status.PARTIAL
    assert (job.record.rows_written, landed(job)) == (3, [1, 2, 3])
    assert [event.batch for event in job.of(Landed)] == [0, 1]
    assert job.of(JobRetrying) == []


async def test_nothing_is_landed_where_nothing_came() -> None:
    job = loading(script={"source": give()})
    assert await job.run() is Status.SUCCESS
    assert job.of(Landed) == []
    assert job.record.rows_written == 0


async def test_a_job_without_a_write_lands_nothing() -> None:
    job = loading(steps=[extract_step(), call_step("call")])
    assert await job.run() is Status.SUCCESS
    assert (job.record.rows_read, job.record.rows_written) == (5, 0)


@pytest.mark.parametrize("which", ["step", "settings", "job", "job settings"])
async def test_a_landing_is_bounded_by_the_limits_too(which: str) -> None:
    write = write_step(timeout=0.05) if which == "step" else write_step()
    job = loading(
        steps=[extract_step(), write],
        warehouse=LandingWarehouse(seconds=30),
        timeout=0.05 if which == "job" else None,
        step_limit=0.05 if which == "settings" else None,
        job_limit=0.05 if which == "job settings" else None,
    )
    with anyio.fail_after(5):
        assert await job.run() is Status.FAILURE
    (error,) = job.record.errors
    subject = "job job" if which.startswith("job") else "step write"
    assert (error.category, error.step_id) == ("timeout", "write")
    assert error.message == f"{subject} stopped at its time limit of 0.05 s"
    assert job.record.step_timings[1].status is Status.FAILURE
    assert landed(job) == []


async def test_a_landing_that_could_not_be_stopped_counts_as_landed() -> None:
    job = loading(warehouse=LandingWarehouse(seconds=30, stubborn=True), job_limit=0.05)
    assert await job.run() is Status.FAILURE
    assert job.record.status is Status.PARTIAL
    assert [event.code for event in job.of(Noticed)] == ["landing.committed"]
    assert landed(job) == [1, 2, 3, 4, 5]


async def test_a_warehouse_that_cannot_say_whether_it_landed() -> None:
    job = loading(warehouse=LandingWarehouse(seconds=30, silent=True), job_limit=0.05)
    assert await job.run() is Status.FAILURE
    (notice,) = job.of(Noticed)
    assert (notice.level, notice.code) == ("warning", "landing.unknown")
    assert "memory: gone" in notice.message


async def test_cancelled_it_is_recorded_and_the_cancellation_goes_on() -> None:
    job = loading(warehouse=LandingWarehouse(seconds=30))
    with anyio.move_on_after(0.05) as scope:
        await job.run()
    assert scope.cancelled_caught
    assert job.record.status is Status.CANCELLED
    assert [timing.status.value for timing in job.record.step_timings] == ["cancelled", "cancelled"]
    assert job.record.errors == ()


async def test_cancelled_while_it_waits_for_the_next_attempt() -> None:
    job = loading(warehouse=LandingWarehouse(errors=[WarehouseUnavailable("memory", "away")]))
    with anyio.CancelScope() as scope:

        def emit(event: Any) -> None:
            job.events.append(event)
            if isinstance(event, JobRetrying):
                scope.cancel()

        job.emit = emit
        await job.run()
    assert scope.cancelled_caught
    assert job.record.status is Status.CANCELLED


async def test_a_function_that_had_to_be_given_up_is_recorded_and_raised() -> None:
    async def deaf(batch: Batch, context: StepContext) -> AsyncGenerator[Batch, None]:
        yield batch
        raise UncleanCancel("function f", 0.5)

    job = loading(steps=[extract_step(), call_step("call"), write_step()])
    job.script["call"] = deaf
    with pytest.raises(UncleanCancel):
        await job.run()
    assert job.record.status is Status.CANCELLED
    assert [error.category for error in job.record.errors] == ["cancelled"]


async def test_a_warehouse_that_opens_no_writer_fails_the_step_that_lands_and_is_asked_again() -> None:
    refusals = [WarehouseUnavailable("memory", "away"), WarehouseError("memory", "closed")]

    class Closed(MemoryWarehouse):
        def writer(self, landing: LandingSpec) -> AbstractAsyncContextManager[Writer]:
            raise refusals.pop(0)

    job = loading(warehouse=Closed())
    assert await job.run() is Status.FAILURE
    (error,) = job.record.errors
    assert (error.step_id, error.message, job.record.step_timings) == ("write", "memory: closed", ())
    assert [event.error.message for event in job.of(JobRetrying)] == ["memory: away"]


@pytest.mark.parametrize("asked", [0.05, None])
async def test_who_refuses_for_now_is_not_asked_again_before_the_time_it_named(asked: float | None) -> None:
    error = QuotaExceeded("memory", "slow down", retry_after=asked)
    job = loading(warehouse=LandingWarehouse(errors=[error]))

    assert await job.run() is Status.SUCCESS

    (retrying,) = job.of(JobRetrying)
    least = (asked or 0) * 1000
    assert least <= retrying.delay_ms <= least + 1


async def test_the_stop_flag_is_raised_when_the_attempt_is_over() -> None:
    flags = []

    async def look(batch: Batch, context: StepContext) -> AsyncGenerator[Batch, None]:
        flags.append(context.stop)
        assert not context.stop.stopped
        yield batch

    job = loading(steps=[extract_step(), call_step("call"), write_step()])
    job.script["call"] = look
    await job.run()
    assert [flag.stopped for flag in flags] == [True] * 3
