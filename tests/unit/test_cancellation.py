"""Threads that stop: against real threads and a real DuckDB, on asyncio and trio."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import duckdb
import pytest

from runner.cancellation import run_in_thread
from runner.errors import TimeLimitExceeded, UncleanCancel

BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])
ENDLESS = "select count(*) from range(1000000000) a, range(1000) b"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    yield connection
    connection.close()


class Deaf:
    """Work that hears no interrupt: it ends when told to. Once it has begun it cancels `scope`, if it has one."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.interrupts = 0
        self.scope: anyio.CancelScope | None = None

    def work(self) -> str:
        self.begun.set()
        if self.scope is not None:
            anyio.from_thread.run_sync(self.scope.cancel)
        assert self.may_end.wait(30)
        return "done"

    def interrupt(self) -> None:
        self.interrupts += 1


@pytest.fixture
def deaf() -> Iterator[Deaf]:
    deaf = Deaf()
    yield deaf
    deaf.may_end.set()


def run(backend: str, main: Callable[[], Awaitable[Any]]) -> Any:
    return anyio.run(main, backend=backend)


def block_until_ended(limiter: anyio.CapacityLimiter) -> None:
    """Block the event loop until the one thread that holds a slot has done its work.

    The loop cannot take notice of it before it runs again: this is what "in the same tick" means below.
    """
    (call,) = limiter.statistics().borrowers
    while not call.ended:  # type: ignore[attr-defined]
        time.sleep(0.0001)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until another thread or task has made something true."""
    with anyio.CancelScope(shield=True), anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - the other side is a thread
            await anyio.sleep(0.001)


# --- outcomes -------------------------------------------------------------------------------------


@BACKENDS
def test_returns_the_value_and_raises_the_error_of_the_work(backend: str) -> None:
    async def main() -> None:
        limiter = anyio.CapacityLimiter(1)
        assert await run_in_thread(lambda: 7, int, limiter=limiter, subject="query") == 7
        with pytest.raises(ZeroDivisionError):
            await run_in_thread(lambda: 1 // 0, int, limiter=limiter, subject="query", time_limit=5)
        assert limiter.borrowed_tokens == 0

    run(backend, main)


@BACKENDS
def test_an_error_keeps_nothing_alive(backend: str) -> None:
    class Rows:
        def broken(self) -> None:
            raise ValueError("bad")

    async def main() -> None:
        rows = Rows()
        reference = weakref.ref(rows)
        try:
            await run_in_thread(rows.broken, int, limiter=anyio.CapacityLimiter(1), subject="query")
        except ValueError:
            del rows
        # One more call, so that neither the pool nor its thread holds on to the last one.
        await run_in_thread(int, int, limiter=anyio.CapacityLimiter(1), subject="query")
        assert reference() is None

    gc.disable()
    try:
        run(backend, main)
    finally:
        gc.enable()


@BACKENDS
def test_no_more_threads_than_slots(backend: str) -> None:
    running: list[int] = []
    highest: list[int] = []

    def work() -> None:
        running.append(1)
        highest.append(len(running))
        time.sleep(0.001)
        running.pop()

    async def main() -> None:
        limiter = anyio.CapacityLimiter(2)

        async def one() -> None:
            await run_in_thread(work, int, limiter=limiter, subject="query")

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(one)

    run(backend, main)
    assert max(highest) == 2
    assert len(highest) == 20


# --- cancellation ---------------------------------------------------------------------------------


@BACKENDS
@pytest.mark.parametrize("count", [40, pytest.param(300, marks=pytest.mark.chaos)])
def test_cancelling_a_query_at_any_moment_ends_it(
    backend: str, count: int, connection: duckdb.DuckDBPyConnection
) -> None:
    moments = random.Random(count)
    durations = []
    inside: list[int] = []

    async def main() -> None:
        limiter = anyio.CapacityLimiter(4)
        cursor = connection.cursor()

        def query() -> None:
            inside.append(1)
            try:
                cursor.execute(ENDLESS).fetchall()
            finally:
                inside.pop()

        for _ in range(count):
            after = moments.random() * 0.03
            with anyio.move_on_after(after) as scope:
                started = time.perf_counter()
                await run_in_thread(query, cursor.interrupt, limiter=limiter, subject="query")
            durations.append(time.perf_counter() - started - after)
            assert scope.cancelled_caught
            assert inside == []
            assert limiter.borrowed_tokens == 0
        assert cursor.execute("select 42").fetchone() == (42,)

    run(backend, main)
    assert max(durations) < 1


@BACKENDS
def test_work_that_has_not_begun_never_begins(backend: str, deaf: Deaf) -> None:
    begun: list[int] = []

    async def main() -> None:
        limiter = anyio.CapacityLimiter(1)

        async def hold() -> None:
            await run_in_thread(deaf.work, deaf.interrupt, limiter=limiter, subject="query")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await until(deaf.begun.is_set)
            with anyio.move_on_after(0.01) as waiting:
                await run_in_thread(lambda: begun.append(1), int, limiter=limiter, subject="query")
            assert waiting.cancelled_caught
            with anyio.CancelScope() as before:
                before.cancel()
                await run_in_thread(
                    lambda: begun.append(1), int, limiter=anyio.CapacityLimiter(1), subject="query"
                )
            assert before.cancelled_caught
            assert not deaf.may_end.is_set()
            deaf.may_end.set()
        assert limiter.borrowed_tokens == 0

    run(backend, main)
    assert begun == []


@BACKENDS
def test_the_slot_is_held_until_the_thread_has_ended(backend: str, deaf: Deaf) -> None:
    async def main() -> None:
        limiter = anyio.CapacityLimiter(1)
        scope = anyio.CancelScope()

        async def cancelled() -> None:
            with scope:
                await run_in_thread(deaf.work, deaf.interrupt, limiter=limiter, subject="query")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancelled)
            await until(deaf.begun.is_set)
            scope.cancel()
            await until(lambda: deaf.interrupts > 3)
            assert limiter.borrowed_tokens == 1
            deaf.may_end.set()
        assert scope.cancelled_caught
        assert limiter.borrowed_tokens == 0

    run(backend, main)


@BACKENDS
def test_a_value_of_the_same_tick_is_not_lost(backend: str, deaf: Deaf) -> None:
    async def main() -> None:
        limiter = anyio.CapacityLimiter(1)
        values = []
        scope = anyio.CancelScope()

        async def cancelled() -> None:
            with scope:
                values.append(
                    await run_in_thread(deaf.work, deaf.interrupt, limiter=limiter, subject="query")
                )
                await anyio.lowlevel.checkpoint()
                values.append("not cancelled")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancelled)
            await until(deaf.begun.is_set)
            deaf.may_end.set()
            block_until_ended(limiter)
            scope.cancel()
        assert values == ["done"]
        assert scope.cancelled_caught
        assert deaf.interrupts == 0

    run(backend, main)


@BACKENDS
def test_only_the_scope_that_was_cancelled_catches_it(
    backend: str, connection: duckdb.DuckDBPyConnection
) -> None:
    async def main() -> None:
        cursor = connection.cursor()

        async def query() -> None:
            await run_in_thread(
                lambda: cursor.execute(ENDLESS).fetchall(),
                cursor.interrupt,
                limiter=anyio.CapacityLimiter(1),
                subject="query",
                time_limit=30,
            )

        with anyio.CancelScope() as outer:
            with anyio.move_on_after(0.01) as middle, anyio.CancelScope() as inner:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(query)
            assert middle.cancelled_caught
            assert not inner.cancelled_caught
            await anyio.lowlevel.checkpoint()
        assert not outer.cancelled_caught

    run(backend, main)


# --- threads that do not end ----------------------------------------------------------------------


@BACKENDS
def test_a_deaf_thread_is_given_up_and_the_cancellation_goes_on(backend: str, deaf: Deaf) -> None:
    async def main() -> None:
        limiter = anyio.CapacityLimiter(1)
        with anyio.CancelScope() as scope:
            deaf.scope = scope
            with pytest.raises(UncleanCancel, match=r"transform was still running 0.05 s after") as caught:
                await run_in_thread(
                    deaf.work, deaf.interrupt, limiter=limiter, subject="transform", grace=0.05
                )
            assert type(caught.value) is UncleanCancel
            await anyio.lowlevel.checkpoint()
            pytest.fail("the cancellation was lost")
        assert scope.cancelled_caught
        assert deaf.interrupts > 2
        assert limiter.borrowed_tokens == 0

    run(backend, main)


@BACKENDS
def test_giving_up_wins_over_the_cancellation_of_a_task_group(backend: str, deaf: Deaf) -> None:
    """The host of an embedded runner must see it: the error comes out of the cancelled scope."""

    async def main() -> None:
        with anyio.CancelScope() as deaf.scope:
            await run_in_thread(
                deaf.work,
                deaf.interrupt,
                limiter=anyio.CapacityLimiter(1),
                subject="transform",
                grace=0.02,
            )

    with pytest.raises(UncleanCancel):
        run(backend, main)


@BACKENDS
def test_a_failing_interrupt_is_said_and_repeated(
    backend: str, deaf: Deaf, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupt() -> None:
        deaf.interrupts += 1
        if deaf.interrupts == 4:
            deaf.may_end.set()
        raise OSError("no connection to cancel with")

    async def main() -> None:
        with anyio.CancelScope() as deaf.scope:
            await run_in_thread(deaf.work, interrupt, limiter=anyio.CapacityLimiter(1), subject="query")
        assert deaf.scope.cancelled_caught

    with caplog.at_level(logging.WARNING, "runner"):
        run(backend, main)
    assert deaf.interrupts >= 4
    (record,) = caplog.records
    assert "interrupt of query failed" in record.getMessage()


# --- time limits ----------------------------------------------------------------------------------


@BACKENDS
def test_a_time_limit_ends_the_query_and_names_it(
    backend: str, connection: duckdb.DuckDBPyConnection
) -> None:
    async def main() -> None:
        cursor = connection.cursor()
        started = time.perf_counter()
        with pytest.raises(TimeLimitExceeded, match=r"query stopped at its time limit of 0.1 s") as caught:
            await run_in_thread(
                lambda: cursor.execute(ENDLESS).fetchall(),
                cursor.interrupt,
                limiter=anyio.CapacityLimiter(1),
                subject="query",
                time_limit=0.1,
            )
        assert 0.1 <= time.perf_counter() - started < 0.6
        assert isinstance(caught.value.__cause__, duckdb.InterruptException)
        assert cursor.execute("select 42").fetchone() == (42,)

    run(backend, main)


@BACKENDS
def test_waiting_for_a_slot_does_not_count(backend: str, deaf: Deaf) -> None:
    async def main() -> None:
        limiter = anyio.CapacityLimiter(1)
        values = []

        async def limited() -> None:
            values.append(
                await run_in_thread(lambda: 7, int, limiter=limiter, subject="query", time_limit=0.02)
            )

        async with anyio.create_task_group() as tasks:
            limiter.acquire_on_behalf_of_nowait("another")
            tasks.start_soon(limited)
            await anyio.sleep(0.05)
            limiter.release_on_behalf_of("another")
        assert values == [7]

    run(backend, main)


@BACKENDS
def test_a_deaf_thread_past_its_time_limit_is_given_up(backend: str, deaf: Deaf) -> None:
    async def main() -> None:
        with pytest.raises(UncleanCancel):
            await run_in_thread(
                deaf.work,
                deaf.interrupt,
                limiter=anyio.CapacityLimiter(1),
                subject="transform",
                grace=0.02,
                time_limit=0.02,
            )

    run(backend, main)


@BACKENDS
def test_cancelled_while_stopping_at_the_time_limit(backend: str, deaf: Deaf) -> None:
    async def main() -> None:
        scope = anyio.CancelScope()

        async def limited() -> None:
            with scope:
                with pytest.raises(TimeLimitExceeded):
                    await run_in_thread(
                        deaf.work,
                        deaf.interrupt,
                        limiter=anyio.CapacityLimiter(1),
                        subject="query",
                        time_limit=0.01,
                    )
                await anyio.lowlevel.checkpoint()
                pytest.fail("the cancellation was lost")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(limited)
            await until(lambda: deaf.interrupts > 0)
            scope.cancel()
            await anyio.sleep(0.01)
            deaf.may_end.set()
        assert scope.cancelled_caught

    run(backend, main)


@BACKENDS
def test_limit_and_cancellation_at_once(backend: str, connection: duckdb.DuckDBPyConnection) -> None:
    async def main() -> None:
        cursor = connection.cursor()
        for _ in range(10):
            exceeded = False
            with anyio.move_on_after(0.01) as scope:
                try:
                    await run_in_thread(
                        lambda: cursor.execute(ENDLESS).fetchall(),
                        cursor.interrupt,
                        limiter=anyio.CapacityLimiter(1),
                        subject="query",
                        time_limit=0.01,
                    )
                except TimeLimitExceeded:
                    exceeded = True
                await anyio.lowlevel.checkpoint()
            assert scope.cancelled_caught
            assert exceeded or scope.cancel_called
            assert cursor.execute("select 42").fetchone() == (42,)

    run(backend, main)


# --- asyncio's own cancellation -------------------------------------------------------------------


def test_task_cancel_stops_the_query(connection: duckdb.DuckDBPyConnection) -> None:
    async def main() -> None:
        cursor = connection.cursor()
        limiter = anyio.CapacityLimiter(1)
        task = asyncio.ensure_future(
            run_in_thread(
                lambda: cursor.execute(ENDLESS).fetchall(), cursor.interrupt, limiter=limiter, subject="query"
            )
        )
        await until(lambda: limiter.borrowed_tokens == 1)
        await anyio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cursor.execute("select 42").fetchone() == (42,)

    asyncio.run(main())


def test_asyncio_timeout_knows_its_own_cancellation(connection: duckdb.DuckDBPyConnection) -> None:
    async def main() -> None:
        cursor = connection.cursor()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await run_in_thread(
                    lambda: cursor.execute(ENDLESS).fetchall(),
                    cursor.interrupt,
                    limiter=anyio.CapacityLimiter(1),
                    subject="query",
                    time_limit=10,
                )

    asyncio.run(main())


def test_task_cancel_pierces_no_shield(deaf: Deaf) -> None:
    """Cancelled again and again while it stops: it still waits for the thread."""

    async def main() -> None:
        task = asyncio.ensure_future(
            run_in_thread(
                deaf.work, deaf.interrupt, limiter=anyio.CapacityLimiter(1), subject="query", time_limit=20
            )
        )
        await until(deaf.begun.is_set)
        for seen in range(3):
            task.cancel()
            await until(lambda seen=seen: deaf.interrupts > 2 * seen)  # type: ignore[misc]
            assert not task.done()
        deaf.may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


@pytest.mark.parametrize("how", ["task.cancel", "asyncio.timeout"])
def test_a_value_of_the_same_tick_survives_task_cancel(how: str, deaf: Deaf) -> None:
    async def main() -> None:
        limiter = anyio.CapacityLimiter(1)
        values: list[object] = []
        timeouts: list[asyncio.Timeout] = []

        async def cancelled() -> None:
            async with asyncio.timeout(None) as timeout:
                timeouts.append(timeout)
                values.append(
                    await run_in_thread(deaf.work, deaf.interrupt, limiter=limiter, subject="query")
                )
                await asyncio.sleep(0)
                values.append("not cancelled")

        task = asyncio.ensure_future(cancelled())
        await until(deaf.begun.is_set)
        deaf.may_end.set()
        block_until_ended(limiter)
        if how == "task.cancel":
            task.cancel()
        else:
            timeouts[0].reschedule(asyncio.get_running_loop().time() - 1)
        with pytest.raises(asyncio.CancelledError if how == "task.cancel" else TimeoutError):
            await task
        assert values == ["done"]
        assert deaf.interrupts == 0

    asyncio.run(main())


def test_giving_up_leaves_task_cancel_pending(deaf: Deaf) -> None:
    async def main() -> None:
        async def cancelled() -> None:
            with pytest.raises(UncleanCancel):
                await run_in_thread(
                    deaf.work,
                    deaf.interrupt,
                    limiter=anyio.CapacityLimiter(1),
                    subject="transform",
                    grace=0.02,
                )
            await asyncio.sleep(0)
            pytest.fail("the cancellation was lost")

        task = asyncio.ensure_future(cancelled())
        await until(deaf.begun.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
