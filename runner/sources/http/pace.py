"""Work on the event loop in slices."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from anyio.lowlevel import checkpoint

from runner.clock import monotonic_ns

SLICE_NS = 5_000_000
"""Nanoseconds of work after which others get their turn."""

LOOK_EVERY = 16
"""Elements between two looks at the clock."""


class Pace:
    """Gives the event loop its turn after each slice of work; also the place where a cancellation arrives."""

    def __init__(self) -> None:
        self._until = monotonic_ns() + SLICE_NS
        self._left = LOOK_EVERY

    async def step(self) -> None:
        """Count one small piece of work."""
        self._left -= 1
        if self._left:
            return
        self._left = LOOK_EVERY
        if monotonic_ns() >= self._until:
            await checkpoint()
            self._until = monotonic_ns() + SLICE_NS

    async def through(self, work: Generator[None, None, Any]) -> Any:
        """Run a generator to its end and return its value; each `yield` is one small piece of work."""
        while True:
            try:
                next(work)
            except StopIteration as end:
                return end.value
            await self.step()
