"""Options that every command knows: before the command's name or after it, the later one wins."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from runner.cli.invocation import Invocation


def global_options() -> list[click.Option]:
    """Return the global options, new ones for each command."""
    return [
        _option(
            ["--project"],
            metavar="DIR",
            help="Project folder (else RUN_PIPELINE_PROJECT, else searched upwards).",
        ),
        _option(["-v", "--verbose"], count=True, help="Say more: steps; twice: debug messages."),
        _option(["-q", "--quiet"], count=True, help="Say less: only warnings, failures and the result."),
        _option(
            ["-o", "--output"],
            type=click.Choice(["table", "json", "jsonl"]),
            help="Form of the data on stdout.",
        ),
        _option(
            ["--color"], type=click.Choice(["auto", "always", "never"]), help="Color (NO_COLOR is respected)."
        ),
        _option(["--log-format"], type=click.Choice(["console", "json"]), help="Form of the talk on stderr."),
    ]


class RunnerCommand(click.Command):
    """A command that also takes the global options, and whose help ends with an example."""

    def __init__(self, *args: Any, example: str, **kwargs: Any) -> None:
        kwargs.setdefault(
            "epilog", "\b\nExamples:\n" + "\n".join(f"  {line}" for line in example.splitlines())
        )
        super().__init__(*args, **kwargs)
        # An option of the command's own wins over a global one of the same name: `report -o FILE`.
        own = {name for param in self.params for name in param.opts}
        self.params.extend(option for option in global_options() if not own & {*option.opts})

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the command's own options first, then the global ones."""
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            # Arguments stand in the line of usage, and what they are in the text below it.
            if record is not None and isinstance(param, click.Option):
                (shared if param.callback is _store else own).append(record)
        for title, records in (("Options", own), ("Global options", shared)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def _option(names: list[str], **attributes: Any) -> click.Option:
    return click.Option(names, expose_value=False, callback=_store, **attributes)


def _store(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keep a global option in the invocation; -v and -q add up wherever they stand."""
    if ctx.get_parameter_source(str(param.name)) is not ParameterSource.COMMANDLINE:
        return
    invocation = ctx.ensure_object(Invocation)
    if param.name in ("verbose", "quiet"):
        invocation.verbosity += value if param.name == "verbose" else -value
    else:
        setattr(invocation, str(param.name), value)
    if param.name == "color":
        invocation.console.use_color(value)
