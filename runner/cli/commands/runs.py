"""`run-pipeline runs`."""

from __future__ import annotations

from datetime import datetime
from itertools import islice

import click

from runner.cli.completion import RunnableName
from runner.cli.console import Part
from runner.cli.invocation import Invocation
from runner.cli.no_runs import names_in
from runner.cli.options import RunnerCommand
from runner.cli.period import Duration, beginning, period_options
from runner.cli.status import styled_status
from runner.cli.tables import table
from runner.cli.wording import count, duration, moment
from runner.errors import did_you_mean
from runner.records import PipelineRun, Status

HEAD = ("run", "name", "status", "started", "duration", "read", "written")
EXAMPLE = """run-pipeline runs --limit 5
run-pipeline runs --name daily --status failure --status partial --last 30d -o json
run-pipeline runs --since 2026-02-01 --min-duration 5m"""


@click.command(name="runs", cls=RunnerCommand, example=EXAMPLE)
@click.option("--name", type=RunnableName(), help="Only runs of this pipeline or job.")
@click.option("--status", "statuses", multiple=True,
              type=click.Choice([str(status) for status in Status if status != Status.SKIPPED]),
              help="Only runs that ended like this; repeatable.")  # fmt: skip
@period_options
@click.option(
    "--min-duration", type=Duration(), metavar="DURATION", help="Only runs that took at least so long."
)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@click.pass_obj
def command(
    invocation: Invocation,
    name: str | None,
    statuses: tuple[str, ...],
    since: datetime | None,
    last: float | None,
    min_duration: float | None,
    limit: int,
) -> None:
    """List the runs that have been, newest first.

    `failure` is a run in which nothing succeeded, `partial` one in which something failed and something succeeded.
    Reads the run store only: it works while a run holds the warehouse.
    """
    wanted = {Status(status) for status in statuses}
    only = next(iter(wanted)) if len(wanted) == 1 else None
    least_ms = (min_duration or 0) * 1000
    runs = (
        run
        for run in invocation.store.scan(name=name, since=beginning(since, last), status=only)
        if run.duration_ms >= least_ms and (not wanted or run.status in wanted)
    )
    found = list(islice(runs, limit))
    if invocation.output == "json":
        invocation.console.json([run.to_dict(jobs=False) for run in found])
    elif invocation.output == "jsonl":
        for run in found:
            invocation.console.json(run.to_dict(jobs=False), indent=None)
    elif found:
        for line in table(HEAD, [_row(run) for run in found], right=("duration", "read", "written")):
            invocation.console.data(*line)
    else:
        asked = name or statuses or since or last or min_duration
        invocation.console.say("no such runs" if asked else "no runs", _meant(invocation, name))


def _meant(invocation: Invocation, name: str | None) -> str:
    """Name what is near to a name of which there is no run at all."""
    names = names_in(invocation.store)
    found = did_you_mean(name, names) if name and name not in names else ""
    return f" ({found})" if found else ""


def _row(run: PipelineRun) -> list[Part]:
    return [
        run.pipeline_run_id,
        run.pipeline_id,
        styled_status(run.status),
        moment(run.started_at),
        duration(run.duration_ms),
        count(run.rows_read),
        count(run.rows_written),
    ]
