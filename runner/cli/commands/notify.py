"""`run-pipeline notify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner.cli.exit_codes import ExitCode
from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.cli.tables import table

if TYPE_CHECKING:
    from runner.notifications import Delivery, Notifier

EXAMPLE = """run-pipeline notify check
run-pipeline notify test chat"""


@click.command(name="notify", cls=RunnerCommand, example=EXAMPLE)
@click.argument("action", type=click.Choice(["check", "send", "test"]))
@click.argument("receiver", required=False)
@click.pass_obj
def command(invocation: Invocation, action: str, receiver: str | None) -> int:
    """Tell people what they are owed, or try a receiver.

    check looks at the runs (also for those that crashed, and for pipelines that are late) and sends what is owed;
    for a timer. send only sends what waits and is due. test sends one message to a RECEIVER of [notify.RECEIVER].
    Exit code 1 if a receiver could not be told.
    """
    from runner.cli.project_files import run_names

    notifier = _notifier(invocation)
    if action == "test":
        done = [_test(invocation, notifier, receiver)]
    elif receiver is not None:
        raise click.UsageError(f"{action} takes no receiver")
    else:
        if action == "check":
            _say_unknown(invocation)
            notifier.observe(run_names(invocation.settings.runs_dir))
        done = notifier.deliver(now_or_never=action == "check")
    _print(invocation, done, "no message is due" if action == "send" else "nobody is owed a message")
    return ExitCode.FAILED if any(each.problem for each in done) else ExitCode.OK


def _notifier(invocation: Invocation) -> Notifier:
    from runner.errors import UsageError
    from runner.pipeline_runner.notifying import build_notifier

    if not invocation.settings.notify:
        raise UsageError("nobody is to be told", hint="configs/runner.toml needs a section [notify.NAME]")
    return build_notifier(invocation.settings, invocation.store, invocation.program)


def _test(invocation: Invocation, notifier: Notifier, receiver: str | None) -> Delivery:
    from runner.errors import UsageError, did_you_mean

    known = list(invocation.settings.notify)
    if receiver not in known:
        named = f"there is no receiver {receiver!r}" if receiver else "test needs a receiver"
        hint = did_you_mean(receiver or "", known) or f"there are: {', '.join(known)}"
        raise UsageError(named, hint=hint)
    return notifier.test(receiver)


def _say_unknown(invocation: Invocation) -> None:
    """A misspelt name in the settings would be a silence that nobody notices."""
    from runner.cli.completion import names_of
    from runner.errors import did_you_mean

    known = names_of(str(invocation.settings.project))
    for receiver, each in invocation.settings.notify.items():
        for name in {*each.names, *each.late_after} - {*known}:
            hint = did_you_mean(name, known)
            invocation.console.say(
                f"[notify.{receiver}]: there is no pipeline or job {name!r}" + (f" ({hint})" if hint else "")
            )


def _print(invocation: Invocation, done: list[Delivery], nothing: str) -> None:
    console = invocation.console
    if invocation.output != "table":
        rows = [
            {"receiver": each.receiver, "id": each.message_id, "problem": each.problem or None}
            for each in done
        ]
        for row in [rows] if invocation.output == "json" else rows:
            console.json(row, indent=2 if invocation.output == "json" else None)
    elif done:
        rows_shown = [[each.receiver, each.message_id, each.problem or "told"] for each in done]
        for line in table(("receiver", "message", "result"), rows_shown):
            console.data(*line)
    elif invocation.verbosity >= 0:
        console.say(nothing)
