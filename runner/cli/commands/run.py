"""`run-pipeline run NAME`, and `run-pipeline NAME`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING

import click

from runner.cli.completion import RunnableName, Setting
from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand

if TYPE_CHECKING:
    from runner.cli.execution import OnEvent
    from runner.pipeline_runner import PipelineRunner
    from runner.records import PipelineRun

EXAMPLE = """run-pipeline daily
run-pipeline daily --max-workers 4 -o json
run-pipeline form_obs_intake_01 --set binding=intake_01 --as-of 2026-02-12T06:00:00Z"""


class AsOf(click.ParamType[datetime]):
    """A time: ISO 8601 with an offset, or a date, which means its first moment in UTC."""

    name = "time"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return an aware UTC time."""
        if isinstance(value, datetime):
            return value
        from runner.clock import parse_utc

        try:
            if len(value) == len("2026-02-12"):
                return datetime.combine(date.fromisoformat(value), time(), UTC)
            return parse_utc(value)
        except (ValueError, OverflowError) as error:
            self.fail(f"{error}; expected for example 2026-02-12 or 2026-02-12T06:00:00Z", param, ctx)


class RunCommand(RunnerCommand):
    """A mistyped command is taken for a name to run. What stands behind it then tells of it, before anything else."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words. Raises `UsageError` where they do not fit and the first is near to a command."""
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError:
            if words:
                check_name(ctx.ensure_object(Invocation), words[0])
            raise


@click.command(name="run", cls=RunCommand, example=EXAMPLE)
@click.argument("name", type=RunnableName())
@click.option("--max-workers", type=click.IntRange(1, 1000), help="Run at most so many jobs at once.")
@click.option(
    "--set",
    "settings",
    type=Setting(),
    metavar="NAME=VALUE",
    multiple=True,
    help="Give a parameter a value; repeatable.",
)
@click.option(
    "--as-of", type=AsOf(), metavar="TIME", help="The run's logical time, for functions that ask for it."
)
@click.option("--fail-fast", is_flag=True, help="Cancel what runs as soon as a job has failed.")
@click.option("--no-notify", is_flag=True, help="Tell nobody of this run, however it ends.")
@click.option(
    "--fail-on-regression",
    is_flag=True,
    help="End with 4 if all went well but a step got slower than it was in the runs before.",
)
@click.pass_obj
def command(
    invocation: Invocation,
    name: str,
    max_workers: int | None,
    settings: tuple[str, ...],
    as_of: datetime | None,
    fail_fast: bool,
    no_notify: bool,
    fail_on_regression: bool,
) -> int:
    """Run a pipeline or a job; the word `run` may be left out.

    --max-workers wins over RUN_PIPELINE_MAX_WORKERS, which wins over what the pipeline says; without any
    of them jobs run one after the other. The last line names the run, its result and the command that
    shows more; with -o json stdout is the record of the run.
    """
    params = parameters(settings)
    check_name(invocation, name)
    from runner.cli.execution import execute

    async def work(pipelines: PipelineRunner, on_event: OnEvent) -> PipelineRun:
        return await pipelines.run(
            name,
            max_workers=max_workers,
            params=params,
            as_of=as_of,
            fail_fast=fail_fast,
            on_event=on_event,
            notify=not no_notify,
            traceparent=invocation.traceparent,
        )

    return execute(invocation, work, fail_on_regression=fail_on_regression)


def parameters(settings: Iterable[str]) -> dict[str, str]:
    """Return NAME=VALUE options as a mapping.

    Raises `click.BadParameter` for other forms and repeated names.
    """
    given: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{setting!r} is not NAME=VALUE", param_hint="--set")
        if name in given:
            raise click.BadParameter(f"{name!r} is given twice", param_hint="--set")
        given[name] = value
    return given


def check_name(invocation: Invocation, name: str) -> None:
    """Find a mistyped command before the project is looked at. Names of the project are the loader's to
    check.

    Raises `UsageError` when there is no such file and the word is near to a command.
    """
    from runner.cli.app import COMMANDS
    from runner.cli.completion import names_of
    from runner.errors import UsageError, did_you_mean

    names = names_of(invocation.project)
    where = "run-pipeline --help, or run-pipeline COMMAND --help" if name == "help" else ""
    if name not in names and (hint := where or did_you_mean(name, [*COMMANDS, *names])):
        raise UsageError(f"{name!r} is neither a command nor a pipeline or job", hint=hint)
