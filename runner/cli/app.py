"""The command group: names and summaries of all commands, and their modules, imported only when one is
used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import click

from runner.cli.options import RunnerCommand, global_options
from runner.version import __version__

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class CommandInfo(NamedTuple):
    """Where a command lives and the first line of its help."""

    module: str
    summary: str


def _command(name: str, summary: str) -> CommandInfo:
    return CommandInfo(f"runner.cli.commands.{name}", summary)


COMMANDS = {
    "run": _command("run", "Run a pipeline or a job; the word `run` may be left out."),
    "list": _command("list", "List the pipelines and jobs of the project."),
    "validate": _command("validate", "Find everything that is wrong in the configuration."),
    "plan": _command("plan", "Show what a run would read and write, and its SQL."),
    "retry": _command("retry", "Run again the jobs of a run that did not succeed."),
    "runs": _command("runs", "List the runs that have been, newest first."),
    "show": _command("show", "Show one run: its jobs, steps, times and errors."),
    "logs": _command("logs", "Print the events of a run, also as they happen."),
    "stats": _command("stats", "Say which steps take how long, and since when."),
    "diff": _command("diff", "Set two runs side by side, the greatest change first."),
    "report": _command("report", "Write one HTML file that tells of a run and those before it."),
    "ui": _command("ui", "Show runs in the browser, live."),
    "events": _command("events", "Search the events of runs in the warehouse, or in the files."),
    "prune": _command("prune", "Remove the records of old runs."),
    "rescore": _command("rescore", "Run a job again for rows that it has already written."),
    "doctor": _command("doctor", "Explain a job's incremental reads and name what would mend them."),
    "optimize": _command("optimize", "Bring tables to their declared order, partitions and indexes."),
    "systemd": _command("systemd", "Print or install units that run a pipeline or job by a timer."),
    "timers": _command("timers", "List the project's timers, with next and last runs."),
    "notify": _command("notify", "Tell people what they are owed, or try a receiver."),
    "init": _command("init", "Make a new project that runs."),
    "schema": _command("schema", "Print or install JSON Schema for the files of a project."),
    "completion": _command("completion", "Print the script that makes a shell complete names and options."),
    "config": _command("config", "Show the settings in effect, secrets masked."),
    "version": _command("version", "Show the versions of the engine and of what it stands on."),
}

EPILOG = """\b
Exit codes:
    0  done, also when there was nothing to do
    1  something failed
    2  usage or configuration: nothing ran
    3  could not tell: every failure was an unavailable warehouse, authentication or a quota
    4  all went well, but a step got slower; only with --fail-on-regression
   70  a bug in run-pipeline
   75  another runner holds a lock
  124  the run's time limit
  130  ended by Ctrl-C, after clean-up
  143  ended by SIGTERM, after clean-up

\b
Names complete in the shell after
  eval "$(run-pipeline completion bash)"    (or zsh; fish: run-pipeline completion fish | source)

Example: run-pipeline daily --max-workers 4
"""


class RunnerGroup(click.Group):
    """The top of the command line.

    A first word that is no command is the name of a pipeline or job to run.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of their use."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        del ctx
        import importlib

        info = COMMANDS.get(cmd_name)
        if info is None:
            return None
        command = importlib.import_module(info.module).command
        assert isinstance(command, RunnerCommand)  # noqa: S101 - tells the type checker what the table says
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or take the words as those of `run`."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            return super().resolve_command(ctx, ["run", *args])
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table: help imports none of them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, info.summary) for name, info in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete commands, and what can be run without naming a command."""
        from click.shell_completion import CompletionItem

        from runner.cli.completion import runnable_names

        items = [
            CompletionItem(name, help=info.summary)
            for name, info in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        items += [CompletionItem(name) for name in runnable_names(ctx) if name.startswith(incomplete)]
        if incomplete.startswith("-"):
            items += click.Command.shell_complete(self, ctx, incomplete)
        return items


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.obj.console.data(f"run-pipeline {__version__}")
        ctx.exit()


def build_app() -> RunnerGroup:
    """Return the command line."""
    return RunnerGroup(
        name="run-pipeline",
        help=(
            "Run small, frequent, incremental loads into a warehouse.\n\n"
            "`run-pipeline NAME` runs a pipeline or a job. The options below may also stand after a command."
        ),
        epilog=EPILOG,
        no_args_is_help=True,
        context_settings=CONTEXT_SETTINGS,
        params=[*global_options(), _version_option()],
    )


CONTEXT_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _version_option() -> click.Option:
    return click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_version,
        help="Show the version.",
    )
