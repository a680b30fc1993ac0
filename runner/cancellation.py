"""Blocking work in threads that really stops when it is cancelled.

A cancelled task does not stop a thread, and an interrupt sent before a query has started is lost (measured on
DuckDB and psycopg). So the wait for the thread is shielded, the interrupt is repeated until the thread has
ended, and only then does the cancellation go on.

What counts is whether an interrupt was sent. Until then the outcome of the work counts: its value or error is
handed over even if the cancellation came in the same moment, and the caller is cancelled at its next await.
Afterwards cancellation (or the time limit) wins, whatever the work still made of it: after a cancelled commit
the marker in the warehouse tells.

No task group is involved: no exception group can come of it, and a call costs little more than the bare hop.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import anyio
import anyio.to_thread

from runner.errors import TimeLimitExceeded, UncleanCancel
from runner.logs import get_logger

T = TypeVar("T")

INTERRUPT_EVERY = 0.02
"""Seconds between two interrupts, once the first have gone out after 1, 3, 7 and 15 ms: an interrupt may come
too early to be heard, and these are the times in which a database answers one.
"""
_FIRST_PAUSE = 0.001

_logger = get_logger("cancellation")


async def run_in_thread(
    work: Callable[[], T],
    interrupt: Callable[[], object],
    *,
    limiter: anyio.CapacityLimiter,
    subject: str,
    grace: float | None = None,
    time_limit: float | None = None,
) -> T:
    """Run blocking `work` in a worker thread and return its value, or raise its error.

    On cancellation, or `time_limit` seconds after a slot of `limiter` was got, `interrupt` is called again
    and again (on the event loop, so it must not block) until the thread ends. `grace`: seconds after which a
    thread that does not end is given up and its slot freed; None waits as long as it takes, which is right
    for databases: a commit must not be abandoned. Work that has not begun when it is cancelled never begins.

    Raises `TimeLimitExceeded` named after `subject`, and `UncleanCancel` when the thread was given up, also
    in place of the cancellation, which then reaches the caller at its next await.
    """
    call = _Call(work)
    try:
        limiter.acquire_on_behalf_of_nowait(call)
    except anyio.WouldBlock:
        await limiter.acquire_on_behalf_of(call)
    cancelled: BaseException | None = None
    try:
        try:
            await _ended_or_expired(call, time_limit)
        except anyio.get_cancelled_exc_class() as error:
            if not call.ended:
                await _stop(call, interrupt, subject, grace, error)
                raise
            cancelled = error
        if not call.ended and time_limit is not None:
            await _stop(call, interrupt, subject, grace)
            raise TimeLimitExceeded(subject, time_limit) from call.error
    finally:
        limiter.release_on_behalf_of(call)
    if cancelled is not None:
        _cancel_again(cancelled)
        del cancelled
    return call.result()


async def in_own_task(work: Callable[[], Awaitable[T]]) -> T:
    """Await `work()` in a task of its own, which only cancel scopes can reach.

    `Task.cancel()` of asyncio respects no shield: it would also end a task that is recording how it was ended, or
    leave a lock to nobody that a thread has just taken. Sent to the caller of this, it cancels the scope of `work`,
    and goes on when `work` has come to its end.

    What `work` raises is raised as it is, in no group, and in place of a cancellation, which then reaches the caller
    at its next await.
    """
    values: list[T] = []
    errors: list[Exception] = []

    async def run() -> None:
        try:
            values.append(await work())
        except Exception as error:  # noqa: BLE001 - raised below
            errors.append(error)

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
    except anyio.get_cancelled_exc_class() as cancelled:
        if not errors:
            raise
        _cancel_again(cancelled)
    if errors:
        raise errors.pop()
    return values.pop()


@contextmanager
def time_limit(subject: str, limit: float | None, *, spent: float = 0) -> Iterator[None]:
    """Bound what is awaited inside to `limit` seconds, of which `spent` are used up. None: unbounded.

    Raises `TimeLimitExceeded` named after `subject`, also when a thread had to be given up.
    """
    if limit is None:
        yield
        return
    with anyio.move_on_after(max(0.0, limit - spent)) as scope:
        try:
            yield
        except UncleanCancel as error:
            if scope.cancel_called:
                raise TimeLimitExceeded(subject, limit) from error
            raise
    if scope.cancelled_caught:
        raise TimeLimitExceeded(subject, limit)


class _Call(Generic[T]):
    """One piece of work, on its way through a worker thread."""

    __slots__ = ("_claim", "_value", "_work", "ended", "error")

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._claim = threading.Lock()
        self._value: list[T] = []
        self.error: BaseException | None = None
        self.ended = False

    def run(self) -> None:
        """Do the work, in the worker thread, unless it was withdrawn."""
        if not self._claim.acquire(blocking=False):
            return
        try:
            self._value.append(self._work())
        except BaseException as error:  # noqa: BLE001 - handed to the caller by result()
            self.error = error
        finally:
            self.ended = True

    def withdraw(self) -> bool:
        """Keep the work from beginning. False when it has begun."""
        return self._claim.acquire(blocking=False)

    def result(self) -> T:
        """Return the value or raise the error, once. No cycle of error and frames stays behind."""
        error, self.error = self.error, None
        if error is None:
            return self._value.pop()
        try:
            raise error
        finally:
            del error


async def _ended_or_expired(call: _Call[T], time_limit: float | None) -> None:
    """Run the call in a thread and wait for it, at most `time_limit` seconds; a cancelled wait leaves it
    running.

    The slot is already held, and must be until the thread has ended: anyio's own limiter would free it when
    the wait is cancelled. So the hop itself gets a limiter that never blocks.
    """
    unlimited = anyio.CapacityLimiter(1)
    if time_limit is None:
        await anyio.to_thread.run_sync(call.run, abandon_on_cancel=True, limiter=unlimited)
        return
    with anyio.move_on_after(time_limit):
        await anyio.to_thread.run_sync(call.run, abandon_on_cancel=True, limiter=unlimited)


async def _stop(
    call: _Call[T],
    interrupt: Callable[[], object],
    subject: str,
    grace: float | None,
    cancelled: BaseException | None = None,
) -> None:
    """Interrupt until the thread has ended; raise `UncleanCancel` when it has not after `grace` seconds."""
    if call.withdraw():
        return
    late: BaseException | None = None
    with anyio.CancelScope(shield=True):
        deadline = anyio.current_time() + (math.inf if grace is None else grace)
        pause = _FIRST_PAUSE
        while not call.ended and anyio.current_time() < deadline:
            try:
                interrupt()
            except Exception:
                if pause == _FIRST_PAUSE:
                    _logger.warning("interrupt of %s failed; it is repeated", subject, exc_info=True)
            try:
                await anyio.sleep(pause)
            except anyio.get_cancelled_exc_class() as error:
                late = error  # asyncio's Task.cancel() respects no shield
            pause = min(2 * pause, INTERRUPT_EVERY)
    if not call.ended:
        _cancel_again(late or cancelled)
        raise UncleanCancel(subject, grace or 0)
    if cancelled is None:
        _cancel_again(late)


def _cancel_again(cancelled: BaseException | None) -> None:
    """Let a cancellation that was caught here reach the caller at its next await.

    Scopes of anyio and trio deliver theirs again by themselves. `asyncio.Task.cancel()` delivers once;
    sending it again leaves the task's count of requests (`Task.cancelling`) as it was, by which timeouts know
    their own.
    """
    if cancelled is None or anyio.current_effective_deadline() == -math.inf:
        return
    import asyncio

    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
        task.cancel(*cancelled.args)
