"""One batch at a time through a job's steps.

A job's steps form a forest: each step that brings rows in is a root, the steps that take its rows are its
children. A batch goes all the way down before the next is pulled, so memory stays at a batch, order stays as it
was, and each step's own time can be told exactly. A step may hold rows back (`HoldingStep`), as one that works on
several batches at once does: it is flushed when its root has no more, and before each landing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from runner.cancellation import time_limit
from runner.executor.meter import Meter
from runner.ports import Batch, HoldingStep, Step
from runner.specs import StepSpec
from runner.statement_log import sent_for_step


@dataclass(slots=True, eq=False)
class Node:
    """A step in its place: what it takes, who takes what it gives, whether it was ever asked, and whether it does
    its work (or the last of it) in the landing.
    """

    spec: StepSpec
    op: str
    step: Step
    lands: bool = False
    children: list[Node] = field(default_factory=list)
    started: bool = False
    holding: HoldingStep | None = field(init=False)
    """The step, if it is one that may hold rows back."""

    def __post_init__(self) -> None:
        # Not isinstance: with a protocol that costs more than all the rest of making a node.
        self.holding = cast("HoldingStep", self.step) if hasattr(self.step, "flush") else None

    @property
    def step_id(self) -> str:
        """The step's id."""
        return self.spec.step_id


def parents(steps: Sequence[StepSpec]) -> dict[str, str | None]:
    """Return for each step id the step whose rows it takes: `input`, else the one before; None for a root."""
    found: dict[str, str | None] = {}
    before: str | None = None
    for spec in steps:
        found[spec.step_id] = (spec.input or before) if spec.consumes else None
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
        self._root: Node | None = None
        self.failed: Node | None = None

    async def run(self, root: Node) -> None:
        """Pull everything that `root` gives through its consumers."""
        batches = 0
        self._root = root
        async with aclosing(self._pulled(root, root.step.flow(Batch(0)))) as outputs:
            async for batch in outputs:
                await self._hand_over(root, batch)
                batches += 1
                await self._after_batch(batches)
        await self.flush()

    async def flush(self) -> None:
        """Take what steps hold back of the root's rows all the way down, so that it can land."""
        if self._root is not None:
            await self._flush(self._root)

    async def _flush(self, node: Node) -> None:
        """Flush a step before its consumers: they get what it held."""
        if node.holding is not None and node.holding.holds:
            async with aclosing(self._pulled(node, node.holding.flush())) as outputs:
                async for output in outputs:
                    await self._hand_over(node, output)
        for child in node.children:
            await self._flush(child)

    async def _hand_over(self, node: Node, batch: Batch) -> None:
        """Take a batch that `node` gave all the way down."""
        self._progress(node)
        last = len(node.children) - 1
        for index, child in enumerate(node.children):
            given = batch if index == last else _copy(batch)
            async with aclosing(self._pulled(child, child.step.flow(given))) as outputs:
                async for output in outputs:
                    await self._hand_over(child, output)

    async def _pulled(self, node: Node, given: AsyncGenerator[Batch, None]) -> AsyncGenerator[Batch, None]:
        """Yield what a step gives, its clock running only while it is asked."""
        node.started = True
        # Closing the flow is what ends a read in the database.
        async with aclosing(given) as flow:
            while (output := await self._next(node, flow)) is not None:
                if output.length:
                    yield output

    async def _next(self, node: Node, flow: AsyncGenerator[Batch, None]) -> Batch | None:
        with self.charged_to(node):
            return await anext(flow, None)

    @contextmanager
    def charged_to(self, node: Node) -> Iterator[None]:
        """Charge the time inside to a step, within what is left of its limit; what is raised is its failure.

        What is done with the batch it gave, until another step is charged, counts to it as well. Raises
        `TimeLimitExceeded`.
        """
        self._meter.enter(node.step_id)
        limit = node.spec.timeout or self._default_limit
        spent = self._meter.spent_ns(node.step_id) / 1e9
        try:
            with sent_for_step(node.step_id), time_limit(f"step {node.step_id}", limit, spent=spent):
                yield
        except BaseException:
            self.failed = self.failed or node
            raise


def _copy(batch: Batch) -> Batch:
    """Give a second consumer rows of its own: a row function may change the ones it gets, at any depth."""
    if batch.rows is None:
        return batch
    return Batch(batch.length, rows=_copied(batch.rows))


def _copied(value: Any) -> Any:
    if type(value) is dict:
        return {name: _copied(item) for name, item in value.items()}
    if type(value) is list:
        return [_copied(item) for item in value]
    return value
