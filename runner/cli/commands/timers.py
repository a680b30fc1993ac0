"""`run-pipeline timers`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.console import DIM, RED, Part, Styled
from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.cli.status import styled_status
from runner.cli.tables import table
from runner.cli.wording import duration, moment

if TYPE_CHECKING:
    from runner.operations.systemd.timers import TimerState

HEAD = ("timer", "when", "next", "last run", "status", "duration", "service")
EXAMPLE = """run-pipeline timers
run-pipeline timers --user -o json"""


@click.command(name="timers", cls=RunnerCommand, example=EXAMPLE)
@click.option("--user", "is_user", is_flag=True, help="Only those of your own service manager.")
@click.option("--dir", "folder", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
              help="Those of the units in this folder [default: systemd's and yours].")  # fmt: skip
@click.pass_obj
def command(invocation: Invocation, is_user: bool, folder: Path | None) -> None:
    """List the project's timers, with next and last runs.

    The timers that `run-pipeline systemd install` has written. The last run comes from the run store that the service
    writes to. Where systemd does not run, the next start is computed from the timer's calendar, and what became of
    the service is not known.
    """
    from runner.cli.commands.systemd import units_folder
    from runner.operations.systemd.installed import installed_timers
    from runner.operations.systemd.timers import timer_states

    console, settings = invocation.console, invocation.settings
    kinds = [is_user] if is_user or folder else [False, True]
    timers = [
        timer
        for kind in kinds
        for timer in installed_timers(folder or units_folder(kind), settings.project, is_user=kind)
    ]
    states = timer_states(timers, settings.state_dir)
    if invocation.output == "json":
        console.json([_data(state) for state in states])
    elif invocation.output == "jsonl":
        for state in states:
            console.json(_data(state), indent=None)
    elif states:
        for line in table(HEAD, [_row(state) for state in states], right=("duration",)):
            console.data(*line)
    else:
        console.say("no timers; run-pipeline systemd install makes one")
    for state in states:
        if state.hidden:
            console.say(f"warning: the runs of {state.timer.timer} cannot be seen: {state.hidden}")


def _row(state: TimerState) -> list[Part]:
    timer, run = state.timer, state.last
    return [
        timer.timer,
        "; ".join(timer.calendars),
        moment(state.next_at) if timer.is_enabled else Styled("not enabled", DIM),
        moment(run.started_at) if run else "-",
        styled_status(run.status) if run else "-",
        duration(run.duration_ms) if run else "-",
        Styled(state.result or "-", RED if state.result not in ("", "success") else DIM),
    ]


def _data(state: TimerState) -> dict[str, Any]:
    from runner.clock import format_utc

    timer = state.timer
    return {
        "timer": timer.timer,
        "service": timer.service,
        "name": timer.name,
        "manager": "user" if timer.is_user else "system",
        "on_calendar": list(timer.calendars),
        "is_enabled": timer.is_enabled,
        "next_at": format_utc(state.next_at) if state.next_at else None,
        "next_by": state.next_by,
        "started_at": format_utc(state.started_at) if state.started_at else None,
        "result": state.result or None,
        "last_run": state.last.to_dict(jobs=False) if state.last else None,
    }
