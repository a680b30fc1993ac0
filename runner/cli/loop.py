"""Asynchronous work of commands that do not run jobs: a signal cancels it and ends the command."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import anyio

from runner.cli.interruption import Interruption
from runner.cli.signals import Interrupted, signals

if TYPE_CHECKING:
    from runner.cli.invocation import Invocation
    from runner.pipeline_runner import PipelineRunner

T = TypeVar("T")


def with_runner(invocation: Invocation, work: Callable[[PipelineRunner], Awaitable[T]]) -> T:
    """Open the project, do `work` with it, and return its result.

    Raises `Interrupted` when a signal cancelled it.
    """
    settings = invocation.settings

    async def opened() -> T:
        from runner.pipeline_runner import PipelineRunner

        async with PipelineRunner.open(settings) as pipelines:
            return await work(pipelines)

    return on_loop(invocation, opened)


def on_loop(invocation: Invocation, work: Callable[[], Awaitable[T]]) -> T:
    """Do `work` and return its result. Raises `Interrupted` when a signal cancelled it."""
    results: list[T] = []

    async def scoped(interruption: Interruption) -> None:
        with anyio.CancelScope() as scope:
            interruption.bind(scope.cancel)
            results.append(await work())

    with Interruption(grace=invocation.settings.timeouts.grace) as interruption:
        anyio.run(scoped, interruption, backend="asyncio")
    if not results:
        raise Interrupted(signals.received or 0)
    return results[0]
