"""`run-pipeline systemd`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.completion import RunnableName
from runner.cli.console import DIM, Styled
from runner.cli.exit_codes import ExitCode
from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand

if TYPE_CHECKING:
    from runner.operations.systemd.units import Schedule, Unit

EXAMPLE = """run-pipeline systemd print daily --on-calendar '*:0/15'
run-pipeline systemd install daily --on-calendar 'Mon..Fri 06:00' --now
run-pipeline systemd install daily --on-calendar hourly --user
run-pipeline systemd install daily --on-calendar hourly --credential \\
    connections__clinic_mail__password:/etc/run-pipeline/clinic_mail.password
run-pipeline systemd print --on-calendar hourly"""


class Duration(click.ParamType[float]):
    """A duration as settings have it: `30s`, `5m`, or seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        from runner.clock import parse_duration

        try:
            return parse_duration(float(value) if str(value).replace(".", "", 1).isdecimal() else value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Size(click.ParamType[str]):
    """A size of memory as systemd has it: `800M`, `2G`, `40%`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text itself."""
        if not re.fullmatch(r"[1-9]\d*[KMGT%]?", str(value)):
            self.fail(f"{value!r} is not a size; expected for example 800M, 2G, 40%", param, ctx)
        return str(value)


@click.command(name="systemd", cls=RunnerCommand, example=EXAMPLE)
@click.argument("action", type=click.Choice(["print", "install"]))
@click.argument("name", type=RunnableName(), required=False, default="")
@click.option("--on-calendar", "calendars", metavar="TIME", multiple=True, required=True,
              help="When to start, as systemd.time(7) has it; repeatable.")  # fmt: skip
@click.option("--random-delay", type=Duration(), metavar="DURATION", default=None,
              help="Start up to so much later, at random.")  # fmt: skip
@click.option("--user", "is_user", is_flag=True, help="For your own service manager instead of the system's.")
@click.option("--run-as", metavar="USER", default="", help="As a user that exists; else systemd makes one.")
@click.option("--credential", "credentials", metavar="NAME[:PATH]", multiple=True,
              help="A secret setting and the file that holds it; repeatable.")  # fmt: skip
@click.option("--on-failure", metavar="COMMAND", default="",
              help="Start this when a run has failed; it gets the unit's name.")  # fmt: skip
@click.option("--run-limit", type=Duration(), metavar="DURATION", default=None,
              help="End a run after this and a minute [default: setting timeouts.run].")  # fmt: skip
@click.option("--memory-max", type=Size(), metavar="SIZE", help="At most so much memory.")
@click.option(
    "--tasks-max", type=click.IntRange(min=1), metavar="N", help="At most so many threads and processes."
)
@click.option("--no-network", is_flag=True, help="Cut the run off from the network.")
@click.option("--prefix", default="run-pipeline", show_default=True,
              help="What the names of the units, the user and the state folder begin with.")  # fmt: skip
@click.option("--program", metavar="PATH", default="", help="The command of the service [default: this one].")
@click.option("--dir", "folder", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
              help="The folder of the units [default: systemd's].")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace units that are not of this project, too.")
@click.option("--now", is_flag=True, help="Also start the timer, now and with the machine.")
@click.pass_obj
def command(
    invocation: Invocation,
    /,
    action: str,
    name: str,
    folder: Path | None,
    force: bool,
    now: bool,
    **options: Any,
) -> int:
    """Print or install units that run a pipeline or job by a timer.

    A service, its timer, and with --on-failure one that tells of failures. The service runs in a sandbox as a user of
    its own and keeps its state below /var/lib; with --user it runs as you, with the project's own state. Without NAME
    the units are templates for everything in the project: run-pipeline@NAME.timer. Units that were not written for
    this project are never overwritten.
    """
    from runner.operations.systemd.units import render

    if now and (action == "print" or not name):
        raise click.UsageError("--now starts the timer of an installed NAME")
    schedule = _schedule(invocation, name, **options)
    units = render(schedule)
    _warn(invocation, schedule)
    if folder is None:
        folder = units_folder(schedule.is_user)
    if action == "print":
        _print(invocation, units, folder)
        return ExitCode.OK
    return _install(invocation, units, schedule, folder, force=force, now=now)


def units_folder(is_user: bool) -> Path:
    """Return where units are installed: the system's folder, or that of the user who calls."""
    import os

    from runner.operations.systemd.installed import SYSTEM_FOLDER

    if not is_user:
        return SYSTEM_FOLDER
    configuration = os.environ.get("XDG_CONFIG_HOME")
    return (Path(configuration) if configuration else Path.home() / ".config") / "systemd" / "user"


def _schedule(
    invocation: Invocation,
    name: str,
    *,
    calendars: tuple[str, ...],
    random_delay: float | None,
    is_user: bool,
    run_as: str,
    credentials: tuple[str, ...],
    on_failure: str,
    run_limit: float | None,
    no_network: bool,
    program: str,
    **limits: Any,
) -> Schedule:
    from runner.operations.systemd.calendars import check_calendar
    from runner.operations.systemd.checks import check_credential, check_name, declared_state_dir
    from runner.operations.systemd.units import Schedule

    settings = invocation.settings
    if is_user and run_as:
        raise click.UsageError("--user runs as you; --run-as is for the system's service manager")
    if name:
        check_name(settings, name)
    for credential in credentials:
        check_credential(credential)
    if not all(check_calendar(calendar) for calendar in calendars):
        invocation.console.say("no systemd-analyze here: --on-calendar was not checked")
    return Schedule(
        project=settings.project,
        program=_program(program),
        calendars=calendars,
        name=name,
        is_user=is_user,
        run_as=run_as,
        state_dir=None if is_user else declared_state_dir(settings.project),
        credentials=credentials,
        on_failure=_absolute("--on-failure", on_failure),
        random_delay_s=random_delay or 0,
        run_limit_s=run_limit or settings.timeouts.run,
        has_network=not no_network,
        **limits,
    )


def _program(given: str) -> list[str]:
    from runner.cli.invocation import program_words

    return _absolute("--program", given) or program_words()


def _absolute(option: str, command_line: str) -> list[str]:
    """Split a command line as a shell would. systemd starts only what is named by its whole path."""
    try:
        words = shlex.split(command_line)
    except ValueError as error:
        raise click.BadParameter(f"{command_line!r}: {error}", param_hint=option) from None
    if words and not Path(words[0]).is_absolute():
        raise click.BadParameter(f"{words[0]!r} is not a whole path", param_hint=option)
    return words


def _warn(invocation: Invocation, schedule: Schedule) -> None:
    """Say what a service of the system would not find, though it is there for who calls."""
    from runner.operations.systemd.checks import hidden_paths

    for path, why in hidden_paths(schedule):
        invocation.console.say(f"warning: {path} {why}")


def _print(invocation: Invocation, units: tuple[Unit, ...], folder: Path) -> None:
    console = invocation.console
    entries = [{"path": str(folder / unit.file), "text": unit.text} for unit in units]
    if invocation.output == "json":
        console.json(entries)
    elif invocation.output == "jsonl":
        for entry in entries:
            console.json(entry, indent=None)
    else:
        for number, entry in enumerate(entries):
            if number:
                console.data()
            console.data(Styled(f"# {entry['path']}", DIM))
            for line in entry["text"].splitlines():
                console.data(line)


def _install(
    invocation: Invocation,
    units: tuple[Unit, ...],
    schedule: Schedule,
    folder: Path,
    *,
    force: bool,
    now: bool,
) -> int:
    from runner.operations.systemd.installing import install

    written = install(units, schedule, folder, force=force)
    if invocation.output != "table":
        result = [{"path": str(each.path), "is_new": each.is_new} for each in written]
        invocation.console.json(result, indent=2 if invocation.output == "json" else None)
    else:
        for each in written:
            invocation.console.data(str(each.path), "" if each.is_new else Styled("  (as it was)", DIM))
    invocation.console.flush()
    manager = ["systemctl", *(["--user"] if schedule.is_user else [])]
    timer = f"{schedule.unit}{'' if schedule.name else 'NAME'}.timer"
    steps = [[*manager, "daemon-reload"], [*manager, "enable", "--now", timer]]
    if not now:
        home = units_folder(schedule.is_user)
        first = "" if folder.absolute() == home else f"copy them to {home}, then "
        invocation.console.say(f"now: {first}{' && '.join(map(shlex.join, steps))}")
        return ExitCode.OK
    return _start(invocation, steps)


def _start(invocation: Invocation, steps: list[list[str]]) -> int:
    from runner.operations.systemd.programs import ask

    for step in steps:
        answer = ask(*step)
        if answer is None or answer.code:
            reason = f": {answer.err}" if answer else " cannot be started here"
            invocation.console.say(f"error: {shlex.join(step)}{reason}")
            return ExitCode.FAILED
    invocation.console.say(f"started {steps[-1][-1]}")
    return ExitCode.OK
