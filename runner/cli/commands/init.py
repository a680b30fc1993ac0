"""`run-pipeline init`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.operations.init import TEMPLATES, init_project

EXAMPLE = "run-pipeline init demo && cd demo && run-pipeline hello"


@click.command(name="init", cls=RunnerCommand, example=EXAMPLE)
@click.argument("name", type=click.Path(path_type=Path))
@click.option(
    "--template", type=click.Choice(sorted(TEMPLATES)), default="hello", show_default=True,
    help="What the project begins with: hello, a small pipeline over a CSV file; ingest_imap, a mail account.",
)  # fmt: skip
@click.pass_obj
def command(invocation: Invocation, name: Path, template: str) -> None:
    """Make a new project that runs.

    NAME is the folder to make; its last part names the project, and its Python package: demo_jobs for
    demo. Files that are already there are never overwritten.
    """
    made = init_project(name, template)
    if invocation.output != "table":
        result = {"project": str(made.folder), "package": made.package, "files": list(made.files)}
        invocation.console.json(result, indent=2 if invocation.output == "json" else None)
        return
    for file in made.files:
        invocation.console.data(str(name / file))
    invocation.console.flush()
    program = _from(name, invocation.program)
    invocation.console.say(f"made {name}; now: cd {shlex.quote(str(name))} && {program} {made.command}")


def _from(folder: Path, program: str) -> str:
    """Return what to type for the program after `cd folder`: the path of a script changes with it."""
    if os.sep not in program or os.path.isabs(program):
        return program
    return os.path.abspath(program) if folder.is_absolute() else os.path.relpath(program, folder)
