"""`in_own_task` and `time_limit`: what cancellation may do, and what it may not."""

from __future__ import annotations

import asyncio

import anyio
import anyio.lowlevel
import pytest

from runner.cancellation import in_own_task, time_limit
from runner.errors import TimeLimitExceeded, UncleanCancel, UsageError

BOTH = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@BOTH
def test_it_returns_the_value_and_raises_the_error_as_it_is(backend: str) -> None:
    async def value() -> int:
        await anyio.lowlevel.checkpoint()
        return 7

    async def error() -> int:
        await anyio.lowlevel.checkpoint()
        raise UsageError("no")

    async def main() -> None:
        assert await in_own_task(value) == 7
        with pytest.raises(UsageError, match="no"):
            await in_own_task(error)

    anyio.run(main, backend=backend)


@BOTH
def test_a_scope_of_the_caller_cancels_it_and_waits_for_its_end(backend: str) -> None:
    log: list[str] = []

    async def work() -> None:
        try:
            await anyio.sleep(30)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
                log.append("recorded")
            raise

    async def main() -> None:
        with anyio.move_on_after(0.01) as scope:
            await in_own_task(work)
        assert scope.cancelled_caught
        log.append("over")

    anyio.run(main, backend=backend)
    assert log == ["recorded", "over"]


def test_task_cancel_ends_no_shielded_part_however_often_it_is_sent() -> None:
    log: list[str] = []

    async def work() -> None:
        try:
            await anyio.sleep(30)
        finally:
            with anyio.CancelScope(shield=True):
                for number in range(5):
                    await anyio.sleep(0.01)
                    log.append(str(number))

    async def main() -> None:
        task = asyncio.ensure_future(in_own_task(work))
        for _ in range(4):
            await asyncio.sleep(0.012)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(main())
    assert log == ["0", "1", "2", "3", "4"]


@BOTH
def test_an_error_comes_before_the_cancellation_which_comes_next(backend: str) -> None:
    log: list[str] = []

    async def work() -> None:
        try:
            await anyio.sleep(30)
        finally:
            raise UncleanCancel("function f", 0.5)

    async def main() -> None:
        with anyio.move_on_after(0.01) as scope:
            try:
                await in_own_task(work)
            except UncleanCancel:
                log.append("unclean")
            await anyio.sleep(1)
            log.append("not reached")
        assert scope.cancelled_caught

    anyio.run(main, backend=backend)
    assert log == ["unclean"]


def test_an_error_in_place_of_task_cancel_leaves_the_task_cancelled() -> None:
    async def work() -> None:
        try:
            await anyio.sleep(30)
        finally:
            raise UncleanCancel("function f", 0.5)

    async def host() -> None:
        with pytest.raises(UncleanCancel):
            await in_own_task(work)
        await asyncio.sleep(1)

    async def main() -> None:
        task = asyncio.ensure_future(host())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


@BOTH
def test_work_within_its_limit_is_left_alone(backend: str) -> None:
    async def main() -> None:
        with time_limit("step a", 30):
            await anyio.lowlevel.checkpoint()
        with time_limit("step a", None):
            await anyio.lowlevel.checkpoint()

    anyio.run(main, backend=backend)


@BOTH
@pytest.mark.parametrize("spent", [0.0, 0.295, 5.0])
def test_work_beyond_its_limit_is_cancelled(backend: str, spent: float) -> None:
    async def main() -> float:
        started = anyio.current_time()
        with (
            pytest.raises(TimeLimitExceeded, match=r"step a stopped at its time limit of 0\.3 s"),
            time_limit("step a", 0.3, spent=spent),
        ):
            await anyio.sleep(30)
        return anyio.current_time() - started

    assert max(0, 0.3 - spent) <= anyio.run(main, backend=backend) < 2


@BOTH
def test_a_limit_outside_is_not_taken_for_its_own(backend: str) -> None:
    async def main() -> None:
        with (
            pytest.raises(TimeLimitExceeded, match="job j"),
            time_limit("job j", 0.01),
            time_limit("step a", 30),
        ):
            await anyio.sleep(30)

    anyio.run(main, backend=backend)


@BOTH
def test_giving_up_a_thread_at_the_limit_is_a_timeout(backend: str) -> None:
    async def deaf() -> None:
        try:
            await anyio.sleep(30)
        finally:
            raise UncleanCancel("function f", 0.5)

    async def main() -> None:
        with pytest.raises(TimeLimitExceeded) as told, time_limit("step a", 0.01):
            await deaf()
        assert isinstance(told.value.__cause__, UncleanCancel)
        with pytest.raises(UncleanCancel), time_limit("step a", 30):
            raise UncleanCancel("function f", 0.5)

    anyio.run(main, backend=backend)
