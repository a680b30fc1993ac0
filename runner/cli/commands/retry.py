"""`run-pipeline retry [RUN]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner.cli.commands.run import parameters
from runner.cli.completion import RunReference
from runner.cli.exit_codes import ExitCode
from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.cli.wording import count, short_id

if TYPE_CHECKING:
    from runner.cli.execution import OnEvent
    from runner.pipeline_runner import PipelineRunner
    from runner.records import PipelineRun

EXAMPLE = """run-pipeline retry
run-pipeline retry last-failed --max-workers 4
run-pipeline retry 01KH4SATJ0 --fail-fast -o json"""

SET_HELP = "Give a parameter another value than the run had; repeatable."


@click.command(name="retry", cls=RunnerCommand, example=EXAMPLE)
@click.argument("run", type=RunReference(), default="last")
@click.option("--max-workers", type=click.IntRange(1, 1000), help="As for run.")
@click.option("--set", "settings", metavar="NAME=VALUE", multiple=True, help=SET_HELP)
@click.option("--fail-fast", is_flag=True, help="As for run.")
@click.pass_obj
def command(
    invocation: Invocation, run: str, max_workers: int | None, settings: tuple[str, ...], fail_fast: bool
) -> int:
    """Run again the jobs of a run that did not succeed.

    RUN is an id, the beginning of one, `last` (the default), `last-failed`, or the name of a pipeline or job, whose
    last run is meant. Jobs that failed, crashed, were cancelled or skipped are run, and nothing else: what succeeded
    counts as done. Parameters and logical time are those of the run; order and steps are those that the project has
    now. It is a run of its own, whose record names the one that it retries.
    """
    given = parameters(settings)
    store = invocation.store
    found = store.load(store.resolve(run))
    from runner.cli.execution import execute
    from runner.pipeline_runner.retrying import owed_jobs

    owed = owed_jobs(found)
    what = f"run {short_id(found.pipeline_run_id)} of {found.pipeline_id}"
    if not owed:
        invocation.console.say(f"nothing to do: {what} owes nothing")
        return ExitCode.OK
    invocation.console.say(
        f"{what} owes {count(len(owed))} of {count(len(found.jobs), 'job')}: {_some(owed)}"
    )

    async def work(pipelines: PipelineRunner, on_event: OnEvent) -> PipelineRun:
        retried = await pipelines.retry(
            found.pipeline_run_id,
            max_workers=max_workers,
            params=given,
            fail_fast=fail_fast,
            on_event=on_event,
            traceparent=invocation.traceparent,
        )
        if retried is None:
            raise AssertionError(f"{what} has ended, and owed something a moment ago")
        return retried

    return execute(invocation, work)


def _some(jobs: tuple[str, ...]) -> str:
    shown = ", ".join(jobs[:10])
    return f"{shown} and {count(len(jobs) - 10)} more" if len(jobs) > 10 else shown
