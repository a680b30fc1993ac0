"""One batch at a time through a job's steps.

A job's steps form a forest: each step that brings rows in is a root, the steps that take its rows are its
children. A batch goes all the way down before the next is pulled, so memory stays at a batch, order stays as it
was, and each step's own time can be told exactly.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import cast

import anyio

from runner.errors import TimeLimitExceeded, UncleanCancel
from runner.executor.meter import Meter
from runner.ports import Batch, Step
from runner.specs import CONSUMING_OPS, StepSpec


@dataclass(slots=True, eq=False)
class Node:
    """A step in its place: what it takes, who takes what it gives, and whether it was ever asked."""

    spec: StepSpec
    op: str
    step: Step
    children: list[Node] = field(default_factory=list)
    started: bool = False

    @property
    def step_id(self) -> str:
        """The step's id."""
        return self.spec.step_id


def parents(steps: Sequence[StepSpec]) -> dict[str, str | None]:
    """Return for each step id the step whose rows it takes: `input`, else the one before; None for a root."""
    found: dict[str, str | None] = {}
    before: str | None = None
    for spec in steps:
        consumes = getattr(spec, "op", "") in CONSUMING_OPS
        found[spec.step_id] = (spec.input or before) if consumes else None
        before = spec.step_id
    return found


class Chain:
    """Drives the batches. `failed` is the step that raised, once something has."""

    def __init__(
        self,
        meter: Meter,
        *,
        default_limit: float | None,
        after_batch: Callable[[int], Awaitable[None]],
        progress: Callable[[Node], None],
    ) -> None:
        self._meter = meter
        self._default_limit = default_limit
        self._after_batch = after_batch
        self._progress = progress
        self.failed: Node | None = None

    async def run(self, root: Node) -> None:
        """Pull everything that `root` gives through its consumers."""
        await self._drive(root, None)

    async def _drive(self, node: Node, batch: Batch | None) -> None:
        node.started = True
        batches = 0
        # A step's flow is an async generator: closing it is what ends a read in the database.
        flow = cast("AsyncGenerator[Batch, None]", node.step.flow(batch))
        async with aclosing(flow):
            while (given := await self._timed_next(node, flow)) is not None:
                if given.length:
                    await self._hand_over(node, given)
                if batch is None:
                    batches += 1
                    await self._after_batch(batches)

    async def _hand_over(self, node: Node, batch: Batch) -> None:
        self._progress(node)
        last = len(node.children) - 1
        for index, child in enumerate(node.children):
            await self._drive(child, batch if index == last else _copy(batch))

    async def _timed_next(self, node: Node, flow: AsyncGenerator[Batch, None]) -> Batch | None:
        previous = self._meter.enter(node.step_id)
        try:
            return await self._next(node, flow)
        except BaseException:
            self.failed = self.failed or node
            raise
        finally:
            self._meter.enter(previous)

    async def _next(self, node: Node, flow: AsyncGenerator[Batch, None]) -> Batch | None:
        limit = node.spec.timeout or self._default_limit
        if limit is None:
            return await anext(flow, None)
        remaining = max(0.0, limit - self._meter.spent_ns(node.step_id) / 1e9)
        with anyio.move_on_after(remaining) as scope:
            try:
                return await anext(flow, None)
            except UncleanCancel as error:
                if scope.cancel_called:
                    raise TimeLimitExceeded(f"step {node.step_id}", limit) from error
                raise
        raise TimeLimitExceeded(f"step {node.step_id}", limit)


def _copy(batch: Batch) -> Batch:
    """Give a second consumer rows of its own: a row function may change the ones it gets."""
    if batch.rows is None:
        return batch
    return Batch(batch.length, rows=[dict(row) for row in batch.rows])
