"""Blocking work in threads that really stops when it is cancelled.

A cancelled task does not stop a thread, and an interrupt sent before a query has started is lost (measured on
DuckDB and psycopg). So the wait is shielded, the interrupt is repeated until the thread has ended, and only then
cancellation goes on; neither an exception group nor the interrupt's own error leaves this module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import anyio
import anyio.to_thread

from runner.errors import TimeLimitExceeded, UncleanCancel

T = TypeVar("T")

INTERRUPT_EVERY = 0.02
"""Seconds between two interrupts: the first may come too early to be heard."""


async def run_in_thread(
    work: Callable[[], T],
    interrupt: Callable[[], object],
    *,
    limiter: anyio.CapacityLimiter,
    subject: str,
    grace: float | None = None,
    time_limit: float | None = None,
) -> T:
    """Run blocking `work` in a worker thread and return its result, or raise its exception.

    On cancellation, or after `time_limit` seconds, `interrupt` is called again and again (on the event loop, so it
    must not block) until the thread ends. `grace`: seconds after which a thread that does not end is given up;
    None waits as long as it takes, which is right for databases: a commit must not be abandoned.

    Raises `TimeLimitExceeded` named after `subject`, and `UncleanCancel` when the thread was given up.
    """
    thread = _Thread(work, interrupt, limiter)
    ended = True
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(thread.run)
        try:
            with anyio.move_on_after(time_limit):
                await thread.done.wait()
            expired = not thread.done.is_set()
            if expired:
                ended = await thread.stop(grace)
        except anyio.get_cancelled_exc_class():
            ended = await thread.stop(grace)
            if ended:
                raise
    if not ended:
        raise UncleanCancel(subject, grace or 0)
    if expired and time_limit is not None:
        raise TimeLimitExceeded(subject, time_limit) from thread.error
    return thread.result()


class _Thread(Generic[T]):
    """One call in a worker thread, its end and its outcome."""

    def __init__(self, work: Callable[[], T], interrupt: Callable[[], object], limiter: anyio.CapacityLimiter):
        self.work = work
        self.interrupt = interrupt
        self.limiter = limiter
        self.done = anyio.Event()
        self.values: list[T] = []
        self.error: BaseException | None = None
        self.scope = anyio.CancelScope(shield=True)

    async def run(self) -> None:
        """Fill in the outcome. Cancelled only by `stop`, and then only to abandon the thread."""
        with self.scope:
            try:
                self.values.append(
                    await anyio.to_thread.run_sync(self.work, abandon_on_cancel=True, limiter=self.limiter)
                )
            except Exception as error:  # noqa: BLE001 - handed to the caller by result()
                self.error = error
            finally:
                self.done.set()

    async def stop(self, grace: float | None) -> bool:
        """Interrupt until the thread has ended (True) or the grace period is over (False: abandoned)."""
        with anyio.CancelScope(shield=True):
            deadline = anyio.current_time() + (float("inf") if grace is None else grace)
            while not self.done.is_set() and anyio.current_time() < deadline:
                self.interrupt()
                with anyio.move_on_after(INTERRUPT_EVERY):
                    await self.done.wait()
            if not self.done.is_set():
                self.scope.cancel()
                return False
        return True

    def result(self) -> T:
        """Return the value or raise the error of the call."""
        if self.error is not None:
            raise self.error
        return self.values[0]
