"""`run-pipeline init`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.operations.init import init_project

EXAMPLE = "run-pipeline init demo && cd demo && run-pipeline hello"


@click.command(name="init", cls=RunnerCommand, example=EXAMPLE)
@click.argument("name", type=click.Path(path_type=Path))
@click.pass_obj
def command(invocation: Invocation, name: Path) -> None:
    """Make a new project that runs.

    NAME is the folder to make; its last part names the project, and its Python package: demo_jobs for
    demo. Files that are already there are never overwritten.
    """
    made = init_project(name)
    if invocation.output != "table":
        result = {"project": str(made.folder), "package": made.package, "files": list(made.files)}
        invocation.console.json(result, indent=2 if invocation.output == "json" else None)
        return
    for file in made.files:
        invocation.console.data(str(name / file))
    invocation.console.flush()
    program = _from(name, invocation.program)
    invocation.console.say(f"made {name}; now: cd {shlex.quote(str(name))} && {program} hello")


def _from(folder: Path, program: str) -> str:
    """Return what to type for the program after `cd folder`: the path of a script changes with it."""
    if os.sep not in program or os.path.isabs(program):
        return program
    return os.path.abspath(program) if folder.is_absolute() else os.path.relpath(program, folder)
