"""`run-pipeline schema`."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.cli.tables import table

EXAMPLE = """run-pipeline schema
run-pipeline schema job
run-pipeline schema --dir schemas
run-pipeline schema --install"""
WORDS = ("job", "pipeline", "tables", "settings")


@click.command(name="schema", cls=RunnerCommand, example=EXAMPLE)
@click.argument("kind", type=click.Choice(WORDS), required=False)
@click.option(
    "--dir", "folder", metavar="DIR", type=click.Path(path_type=Path), help="Write all schemas into a folder."
)
@click.option("--install", is_flag=True, help="Write them into the project, and tell VS Code about them.")
@click.pass_obj
def command(invocation: Invocation, kind: str | None, folder: Path | None, install: bool) -> None:
    """Print or install JSON Schema for the files of a project.

    With them, an editor completes keys, explains them, and underlines what does not fit. Without KIND, lists
    the kinds of files. Everything is checked again, and more, by validate and before each run.
    """
    if sum((kind is not None, folder is not None, install)) > 1:
        raise click.UsageError("KIND, --dir and --install exclude each other")
    if folder is not None:
        _write(invocation, folder)
    elif install:
        _install(invocation)
    elif kind is not None:
        from runner.operations.schema import schema_of

        invocation.console.json(schema_of(kind), indent=None if invocation.output == "jsonl" else 2)
    else:
        _list(invocation)


def _list(invocation: Invocation) -> None:
    from runner.operations.schema import KINDS

    kinds = list(KINDS.values())
    if invocation.output != "table":
        rows = [{"kind": kind.name, "files": list(kind.files), "description": kind.text} for kind in kinds]
        if invocation.output == "json":
            invocation.console.json(rows)
            return
        for row in rows:
            invocation.console.json(row, indent=None)
        return
    for line in table(
        ("kind", "files", "description"), [[kind.name, ", ".join(kind.files), kind.text] for kind in kinds]
    ):
        invocation.console.data(*line)


def _write(invocation: Invocation, folder: Path) -> None:
    from runner.operations.schema import write_schemas

    _print_files(invocation, [str(file) for file in write_schemas(folder)])


def _install(invocation: Invocation) -> None:
    from runner.operations.schema import install_schemas
    from runner.settings import SETTINGS_FILE, find_project

    installed = install_schemas(find_project(invocation.project))
    _print_files(invocation, list(installed.files))
    invocation.console.flush()
    line = installed.toml_line
    invocation.console.say(f"for {SETTINGS_FILE.as_posix()}, put this line at its top: {line}")


def _print_files(invocation: Invocation, files: list[str]) -> None:
    if invocation.output != "table":
        invocation.console.json({"files": files}, indent=2 if invocation.output == "json" else None)
        return
    for file in files:
        invocation.console.data(file)
