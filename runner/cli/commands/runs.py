"""`run-pipeline runs`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import click

from runner.cli.completion import RunnableName
from runner.cli.console import Part
from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.cli.status import styled_status
from runner.cli.tables import table
from runner.cli.wording import count, duration, moment
from runner.records import PipelineRun, Status

HEAD = ("run", "name", "status", "started", "duration", "read", "written")
EXAMPLE = """run-pipeline runs --limit 5
run-pipeline runs --name daily --status failure -o json"""


@click.command(name="runs", cls=RunnerCommand, example=EXAMPLE)
@click.option("--name", type=RunnableName(), help="Only runs of this pipeline or job.")
@click.option("--status", type=click.Choice([str(status) for status in Status if status != Status.SKIPPED]),
              help="Only runs that ended like this.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@click.pass_obj
def command(invocation: Invocation, name: str | None, status: str | None, limit: int) -> None:
    """List the runs that have been, newest first.

    Reads the run store only: it works while a run holds the warehouse.
    """
    found = list(islice(_matching(invocation, name, status, limit), limit))
    if invocation.output == "json":
        invocation.console.json([run.to_dict(jobs=False) for run in found])
    elif invocation.output == "jsonl":
        for run in found:
            invocation.console.json(run.to_dict(jobs=False), indent=None)
    elif found:
        for line in table(HEAD, [_row(run) for run in found], right=("duration", "read", "written")):
            invocation.console.data(*line)
    else:
        invocation.console.say("no runs" if not (name or status) else "no such runs")


def _matching(
    invocation: Invocation, name: str | None, status: str | None, limit: int
) -> Iterator[PipelineRun]:
    runs: Iterable[PipelineRun] = invocation.store.latest(limit=None if status else limit, name=name)
    return (run for run in runs if status is None or run.status == status)


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
