"""`run-pipeline rescore JOB`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from runner.cli.commands.run import parameters
from runner.cli.completion import RunnableName, Setting
from runner.cli.exit_codes import ExitCode
from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.cli.wording import count
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.cli.execution import OnEvent
    from runner.operations.rescore import RescoreScope
    from runner.pipeline_runner import PipelineRunner
    from runner.records import PipelineRun

EXAMPLE = """run-pipeline rescore form_obs_intake_01 --where binding_id=intake_01
run-pipeline rescore form_obs_intake_01 --where 'processed_at<2026-02-01T00:00:00Z' --yes
run-pipeline rescore canonize_mail --quarantined --yes"""

WHERE_HELP = "Rows of the target, by a declared column; also != < > <= >=. Repeatable: all must hold."


@click.command(name="rescore", cls=RunnerCommand, example=EXAMPLE)
@click.argument("job", type=RunnableName(only_jobs=True))
@click.option("--where", "conditions", metavar="COLUMN=VALUE", multiple=True, help=WHERE_HELP)
@click.option("--all", "everything", is_flag=True, help="All rows of the target.")
@click.option("--quarantined", is_flag=True, help="Rows that were quarantined.")
@click.option(
    "--set", "settings", type=Setting("job"), metavar="NAME=VALUE", multiple=True, help="As for run."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def command(
    invocation: Invocation,
    job: str,
    conditions: tuple[str, ...],
    everything: bool,
    quarantined: bool,
    settings: tuple[str, ...],
    yes: bool,
) -> int:
    """Run a job again for rows that it has already written.

    The job's incremental read takes the named rows of the target as absent. Deleting them and writing
    what is computed anew is one transaction; other rows are left untouched. Says how many rows it is
    about, and asks.
    """
    if not (conditions or everything or quarantined) or (conditions and everything):
        raise click.UsageError("say which rows: --where COLUMN=VALUE, --quarantined, or --all")
    given = parameters(settings)
    from runner.cli.execution import execute
    from runner.cli.loop import with_runner
    from runner.operations.rescore import measure, parse_condition
    from runner.ports import Release

    filters = tuple(parse_condition(text) for text in conditions)
    # All rows and all that is remembered include the quarantined keys.
    release = Release(filters=filters, quarantined=quarantined and not everything)

    async def counting(pipelines: PipelineRunner) -> RescoreScope:
        return await measure(pipelines, pipelines.plan(job, params=given), release)

    scope = with_runner(invocation, counting)
    if not scope.total and not everything:
        invocation.console.say(f"nothing to do: {scope_text(scope)}")
        return ExitCode.OK
    confirm(invocation, scope_text(scope), yes=yes)

    async def work(pipelines: PipelineRunner, on_event: OnEvent) -> PipelineRun:
        return await pipelines.run(
            job,
            params=given,
            on_event=on_event,
            releases={job: release},
            traceparent=invocation.traceparent,
        )

    return execute(invocation, work)


def scope_text(scope: RescoreScope) -> str:
    """Return `420 rows of derived.observations, 3 quarantined keys`."""
    parts = [f"{count(rows, 'row')} of {table}" for table, rows in scope.rows.items()]
    if scope.release.quarantined:
        parts.append(count(scope.quarantined, "quarantined key"))
    elif not scope.release.filters:
        parts.append("all remembered keys")
    return ", ".join(parts)


def confirm(invocation: Invocation, what: str, *, yes: bool) -> None:
    """Ask on a terminal. Raises `UsageError` where nobody can be asked, `click.Abort` for a no."""
    if yes:
        invocation.console.say(f"rescoring {what}")
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(f"this would recompute {what}, and there is no terminal to ask on", hint="add --yes")
    invocation.console.say(f"This deletes and recomputes {what}.")
    click.confirm("Go on?", abort=True, err=True)
