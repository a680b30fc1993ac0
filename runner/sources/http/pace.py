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

    async def look(self) -> None:
        """Look at the clock; called after each `LOOK_EVERY` small pieces of work."""
        if monotonic_ns() >= self._until:
            await checkpoint()
            self._until = monotonic_ns() + SLICE_NS

    async def through(self, work: Generator[None, None, Any]) -> Any:
        """Run a generator to its end and return its value; each `yield` is one small piece of work."""
        left = LOOK_EVERY
        while True:
            try:
                next(work)
            except StopIteration as end:
                return end.value
            left -= 1
            if not left:
                left = LOOK_EVERY
                await self.look()
