"""Runs a pipeline for the command line: progress, signals, the result, the exit code.

Shared by run and rescore.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import anyio

from runner.cli.exit_codes import ExitCode
from runner.cli.interruption import Interruption
from runner.cli.log_output import captured_output
from runner.cli.notifying import after_run
from runner.cli.outcome import exit_code_of_run
from runner.cli.progress.lines import LineProgress
from runner.cli.sentences import result_line
from runner.cli.signals import exit_code_of, signals
from runner.cli.wording import short_id
from runner.errors import HeldByAnother, RunNotFound, UncleanCancel
from runner.events import Event, RunStarted
from runner.pipeline_runner import PipelineRunner
from runner.records import PipelineRun

if TYPE_CHECKING:
    from runner.cli.invocation import Invocation
    from runner.cli.sd_notify import ServiceManager

OnEvent = Callable[[Event], None]
Work = Callable[[PipelineRunner, OnEvent], Awaitable[PipelineRun]]
"""What is to be done with the open runner; it passes the observer on to `PipelineRunner.run`."""


class Progress(Protocol):
    """A way to watch a run."""

    def on_event(self, event: Event) -> None:
        """Take one event, on the event loop."""

    def tick(self) -> None:
        """Draw what moves."""

    def finish(self, run: PipelineRun | None) -> None:
        """End the watching; `run` is the record, if there is one."""


@dataclass
class _Watched:
    """One run under way: its id once it has one, and its record once it is over."""

    progress: Progress
    manager: ServiceManager | None = None
    run_id: str = ""
    run: PipelineRun | None = None
    error: Exception | None = None

    def on_event(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.run_id = event.run_id
        self.progress.on_event(event)
        if self.manager is not None:
            self.manager.on_event(event)


def execute(invocation: Invocation, work: Work, *, fail_on_regression: bool = False) -> ExitCode:
    """Do `work`, show it, print its result, and return the exit code. Raises what ended it before it ran."""
    raise_open_files_limit()
    collect_garbage_from_here()
    settings = invocation.settings  # before anything else: it may be wrong, and it knows the secrets
    watched = _Watched(_progress(invocation), _service_manager())
    announce = partial(_announce, invocation, watched)
    with (
        captured_output(invocation),
        Interruption(grace=settings.timeouts.grace, announce=announce) as interruption,
    ):
        anyio.run(_watch, invocation, work, watched, interruption, backend="asyncio")
    _tell_the_end(invocation, watched)
    code = None if signals.received is None else exit_code_of(signals.received)
    if watched.error is not None:
        watched.progress.finish(None)
        raise watched.error
    watched.progress.finish(watched.run)
    if watched.run is None:  # a signal came before the run began
        return code or ExitCode.FAILED
    _print_result(invocation, watched.run)
    after_run(invocation, watched.run)
    return exit_code_of_run(watched.run, signal_code=code, fail_on_regression=fail_on_regression)


def _announce(invocation: Invocation, watched: _Watched, name: str) -> None:
    if watched.manager is not None:
        watched.manager.stopping(f"cancelled by {name}")
    if invocation.log_format != "json":
        invocation.console.say(f"{name}: cancelling the run; once more to end at once")


async def _watch(invocation: Invocation, work: Work, watched: _Watched, interruption: Interruption) -> None:
    """Run `work` in a scope that a signal cancels, with a clock for what moves on the screen."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_tick, watched.progress)
        if watched.manager is not None:
            tasks.start_soon(watched.manager.beat)
        with anyio.CancelScope() as scope:
            interruption.bind(scope.cancel)
            try:
                await _work(invocation, work, watched)
            except Exception as error:  # noqa: BLE001 - handed on by `execute`, without the task group's wrapping
                watched.error = error
        tasks.cancel_scope.cancel()


async def _work(invocation: Invocation, work: Work, watched: _Watched) -> None:
    async with PipelineRunner.open(invocation.settings) as pipelines:
        try:
            watched.run = await work(pipelines, watched.on_event)
        except UncleanCancel:  # the run's record says so; the deaf thread ends with the process
            watched.run = _stored(pipelines, watched.run_id)
        except anyio.get_cancelled_exc_class():
            watched.run = _stored(pipelines, watched.run_id)
            raise


def _stored(pipelines: PipelineRunner, run_id: str) -> PipelineRun | None:
    """Return the record of a run that was cancelled: its return value went with the cancellation."""
    try:
        return pipelines.store.load(run_id) if run_id else None
    except RunNotFound:
        return None


async def _tick(progress: Progress) -> None:
    from runner.cli.progress.live import REDRAW_S

    if type(progress) is LineProgress:
        return
    while True:
        progress.tick()
        await anyio.sleep(REDRAW_S)


def _progress(invocation: Invocation) -> Progress:
    if invocation.log_format == "json":
        from runner.cli.progress.json_lines import JsonProgress

        return JsonProgress(invocation.console.say_json, invocation.verbosity)
    if invocation.console.is_live and invocation.verbosity >= 0:
        from runner.cli.progress.live import LiveProgress

        return LiveProgress(invocation.console, invocation.verbosity)
    return LineProgress(invocation.console, invocation.verbosity)


def _service_manager() -> ServiceManager | None:
    """Return the service manager that wants to know how the run goes: systemd, for a service of `Type=notify`."""
    if not os.environ.get("NOTIFY_SOCKET"):
        return None
    from runner.cli.sd_notify import ServiceManager

    return ServiceManager.from_environment(os.environ)


def _tell_the_end(invocation: Invocation, watched: _Watched) -> None:
    if watched.manager is not None:
        status = invocation.console.redact(str(watched.error or "ended"))
        watched.manager.ended(status, is_fine=isinstance(watched.error, HeldByAnother))


def _print_result(invocation: Invocation, run: PipelineRun) -> None:
    """Print the run as data, and its last line: where data is a table, the line is the data."""
    console = invocation.console
    last = result_line(run, invocation.command("show", short_id(run.pipeline_run_id)))
    if invocation.output != "table":
        console.json(run.to_dict(), indent=2 if invocation.output == "json" else None)
    if invocation.log_format == "json":
        return  # its last line was the end of the run
    if invocation.output == "table":
        console.flush()
        console.data(last)
    else:
        console.flush()
        console.say(last)


def collect_garbage_from_here() -> None:
    """Let the collector work during the run, and leave alone what was loaded for it: that stays to the end."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def raise_open_files_limit() -> None:
    """Allow this process as many open files as the system lets it: a run holds a lock for each of its
    jobs.
    """
    try:
        import resource
    except ImportError:  # not on every platform; then there is no such limit either
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
