"""`run-pipeline events`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from runner.cli.completion import EventType, RunnableName, RunReference
from runner.cli.console import BOLD, DIM, RED, Part, Styled
from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.cli.period import beginning, period_options
from runner.cli.tables import table
from runner.cli.wording import count, moment, short_id

if TYPE_CHECKING:
    from runner.operations.events import EventRow, WantedEvents
    from runner.pipeline_runner import PipelineRunner

HEAD = ("time", "run", "component", "type", "status", "error")
DAYS = 7
ELSEWHERE = "--from files reads the run store"
EXAMPLE = """run-pipeline events --type incremental.ineffective --last 30d
run-pipeline events --run last-failed
run-pipeline events --type pipeline.finished --limit 10 -o json"""


@click.command(name="events", cls=RunnerCommand, example=EXAMPLE)
@click.option(
    "--type", "types", type=EventType(), metavar="TYPE", multiple=True, help="Only of this type; repeatable."
)
@click.option("--run", type=RunReference(), help="Only of this run.")
@click.option("--job", type=RunnableName(only_jobs=True), help="Only of this job.")
@period_options
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many, the newest."
)
@click.option("--from", "source", type=click.Choice(["auto", "warehouse", "files"]), default="auto",
              show_default=True, help="Where to look.")  # fmt: skip
@click.pass_obj
def command(
    invocation: Invocation,
    types: tuple[str, ...],
    run: str | None,
    job: str | None,
    since: datetime | None,
    last: float | None,
    limit: int,
    source: str,
) -> None:
    """Search the events of runs in the warehouse, or in the files.

    The newest, oldest first; of the last 7 days, unless --last, --since or --run say otherwise. They come from
    ops.event_log; from the files of the run store where the warehouse is held by a run, cannot be reached, or has none
    yet. What was taken is said.
    """
    from runner.operations.events import WantedEvents

    if since is None and last is None and run is None:
        last = DAYS * 86_400.0
    wanted = WantedEvents(
        types=types,
        run_id=invocation.store.resolve(run) if run else None,
        job=job,
        since=beginning(since, last),
        limit=limit,
    )
    rows = None if source == "files" else _asked(invocation, wanted, needed=source == "warehouse")
    if rows is None:
        rows = _read(invocation, wanted)
    _print(invocation, rows)


def _asked(invocation: Invocation, wanted: WantedEvents, *, needed: bool) -> list[EventRow] | None:
    """What the warehouse has; None where it cannot be asked, or has no events. Raises for both if it is `needed`."""
    from runner.errors import RunPipelineError, UsageError
    from runner.event_log import pending_runs
    from runner.operations.events import from_warehouse
    from runner.pipeline_runner.places import outbox_dir

    settings = invocation.settings
    if settings.warehouse.kind == "duckdb" and not settings.warehouse_path.exists():
        if needed:
            raise UsageError(f"there is no {settings.warehouse_path}", hint=ELSEWHERE)
        return None  # to open it would make it

    async def ask(pipelines: PipelineRunner) -> list[EventRow] | None:
        return await from_warehouse(await pipelines.open_warehouse(), wanted)

    from runner.cli.loop import with_runner

    try:
        rows = with_runner(invocation, ask)
    except RunPipelineError as error:
        if needed:
            raise
        invocation.console.say(f"the warehouse cannot be asked: {error}")
        return None
    if rows is None and needed:
        raise UsageError("the warehouse has no ops.event_log yet", hint=ELSEWHERE)
    if rows is not None:
        waiting = len(pending_runs(outbox_dir(settings)))
        late = f"; those of {count(waiting, 'run')} are not there yet" if waiting else ""
        invocation.console.say(f"from ops.event_log of the warehouse{late}")
    return rows


def _read(invocation: Invocation, wanted: WantedEvents) -> list[EventRow]:
    from runner.operations.events import from_files

    rows = from_files(invocation.store, wanted)
    invocation.console.say("from the files of the run store")
    return rows


def _print(invocation: Invocation, rows: list[EventRow]) -> None:
    console = invocation.console
    if invocation.output == "json":
        console.json([_data(row) for row in rows])
    elif invocation.output == "jsonl":
        for row in rows:
            console.json(_data(row), indent=None)
    elif rows:
        for line in table(HEAD, [_row(row) for row in rows]):
            console.data(*line)
    else:
        console.say("no such events")


def _data(row: EventRow) -> dict[str, Any]:
    from runner.clock import format_utc

    return {**row, "timestamp": format_utc(row["timestamp"])}


def _row(row: EventRow) -> list[Part]:
    return [
        Styled(moment(row["timestamp"]), DIM),
        short_id(row["correlation_id"] or ""),
        row["producer_component"],
        Styled(row["event_type"], BOLD),
        row["status"] or "-",
        Styled((row["error_message"] or "").partition("\n")[0], RED),
    ]
