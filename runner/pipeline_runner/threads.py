"""Worker threads for the project's plain functions, bounded apart from those of the warehouse."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio

from runner.cancellation import run_in_thread
from runner.ports import StopFlag

T = TypeVar("T")


class LimitedThreads:
    """At most `threads` at once; a cancelled function gets `grace` seconds to look at its stop flag."""

    def __init__(self, *, threads: int, grace: float) -> None:
        self._limiter = anyio.CapacityLimiter(threads)
        self._grace = grace

    async def run(self, work: Callable[[], T], stop: StopFlag, subject: str) -> T:
        """Run `work` in a thread; see `runner.ports.FunctionThreads`."""

        def interrupt() -> None:
            stop.stopped = True

        return await run_in_thread(work, interrupt, limiter=self._limiter, subject=subject, grace=self._grace)
