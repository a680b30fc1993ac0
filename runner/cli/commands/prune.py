"""`run-pipeline prune`."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.cli.period import Duration
from runner.cli.wording import count, moment, size
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.operations.prune import Choice

EXAMPLE = """run-pipeline prune --keep 90d --dry-run
run-pipeline prune --keep 90d --yes
run-pipeline prune --keep 30d --keep-runs 100"""
WORDS = {
    "newer": "newer",
    "latest": "the newest of their name",
    "compared": "successes that new runs are compared with",
    "unsent": "not in ops.event_log yet",
    "alive": "not over",
}


@click.command(name="prune", cls=RunnerCommand, example=EXAMPLE)
@click.option(
    "--keep", type=Duration(), metavar="DURATION", required=True, help="Keep runs of this time, such as 90d."
)
@click.option("--keep-runs", type=click.IntRange(min=0), default=20, show_default=True, metavar="N",
              help="Keep the newest N successful runs of each name, however old.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def command(invocation: Invocation, keep: float, keep_runs: int, dry_run: bool, yes: bool) -> None:
    """Remove the records of old runs.

    Whole runs go, from the run store alone: what is in ops.event_log stays there. A run stays while it is alive, while
    its events are not in ops.event_log, if it is the newest of its name that has begun, and if it is among the
    successes that new runs are compared with. Asks, unless --yes.
    """
    from runner.clock import utc_now
    from runner.event_log import pending_runs
    from runner.operations.prune import choose, remove
    from runner.pipeline_runner.places import outbox_dir

    store = invocation.store
    unsent = frozenset(pending_runs(outbox_dir(invocation.settings)))
    choice = choose(store, before=utc_now() - timedelta(seconds=keep), keep_runs=keep_runs, unsent=unsent)
    removed: list[str] = []
    freed = 0
    if choice.going and not dry_run:
        _confirm(invocation, choice, yes=yes)
        removed, freed = remove(store, choice)
    if invocation.output != "table":
        data = choice.to_dict(removed, freed)
        invocation.console.json(data, indent=2 if invocation.output == "json" else None)
        return
    _print(invocation, choice, dry_run=dry_run, removed=len(removed), freed=freed)


def _confirm(invocation: Invocation, choice: Choice, *, yes: bool) -> None:
    """Ask on a terminal. Raises `UsageError` where nobody can be asked, `click.Abort` for a no."""
    if yes:
        return
    what = _what(choice)
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(f"this would remove {what}, and there is no terminal to ask on", hint="add --yes")
    invocation.console.say(f"This removes {what}.")
    click.confirm("Go on?", abort=True, err=True)


def _what(choice: Choice) -> str:
    """`9,100 runs, from 2025-10-25 04:11:14Z to 2026-08-31 19:10:20Z`."""
    from runner.run_store.layout import time_of

    first, last = moment(time_of(choice.going[-1])), moment(time_of(choice.going[0]))
    return f"{count(len(choice.going), 'run')}, from {first} to {last}"


def _print(invocation: Invocation, choice: Choice, *, dry_run: bool, removed: int, freed: int) -> None:
    console = invocation.console
    if not choice.going:
        console.data("no run is to go")
    elif dry_run:
        console.data(f"would remove {_what(choice)}")
    else:
        console.data(f"removed {count(removed, 'run')}, {size(freed)}")
    staying = ", ".join(f"{number:,} {WORDS[reason]}" for reason, number in choice.staying.items())
    console.data(f"staying: {staying or 'none'}")
