"""`run-pipeline config`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from runner.cli.console import BOLD, Part, Styled
from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.cli.tables import table

EXAMPLE = """run-pipeline config
run-pipeline config show --origin
RUN_PIPELINE_MAX_WORKERS=4 run-pipeline config -o json"""

Row = tuple[tuple[str, ...], Any, str, int]
"""A setting: keys, value (secrets masked), where it was set (a file, a variable, `default`), and the line there."""


@click.command(name="config", cls=RunnerCommand, example=EXAMPLE)
@click.argument("action", type=click.Choice(["show"]), default="show")
@click.option("--origin", is_flag=True, help="Say where each setting was set.")
@click.pass_obj
def command(invocation: Invocation, action: str, origin: bool) -> None:
    """Show the settings in effect, secrets masked.

    They come from the defaults, then configs/runner.toml, files of the secrets folders, and the environment
    (RUN_PIPELINE_WAREHOUSE__PATH); the later wins. Durations are in seconds. The word `show` may be left out.
    """
    del action  # there is one
    values = invocation.settings.model_dump(mode="json")
    if origin:
        _print_origins(invocation, list(_rows(invocation, values)))
    elif invocation.output != "table":
        invocation.console.json(values, indent=2 if invocation.output == "json" else None)
    else:
        for line in toml_lines(values):
            invocation.console.data(*line)


def _rows(invocation: Invocation, values: Mapping[str, Any]) -> Iterator[Row]:
    from runner.settings import Settings
    from runner.settings.origins import Origins

    origins = Origins(Settings, invocation.settings.project, {})
    for keys, value in _leaves(values):
        if keys == ("project",):
            yield keys, value, _origin_of_the_project(invocation), 0
            continue
        place = origins.exactly(keys)
        yield (keys, value, place.file, place.line) if place else (keys, value, "default", 0)


def _origin_of_the_project(invocation: Invocation) -> str:
    import os

    if invocation.project:
        return "option --project"
    return "environment variable RUN_PIPELINE_PROJECT" if os.environ.get("RUN_PIPELINE_PROJECT") else "found"


def _leaves(values: Mapping[str, Any], keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*keys, name))
        else:
            yield (*keys, name), value


def _print_origins(invocation: Invocation, rows: list[Row]) -> None:
    console = invocation.console
    if invocation.output == "table":
        shown = [
            [".".join(keys), "" if value is None else _toml(value), f"{file}:{line}" if line else file]
            for keys, value, file, line in rows
        ]
        for parts in table(("setting", "value", "origin"), shown):
            console.data(*parts)
        return
    entries = [
        {"setting": ".".join(keys), "value": value, "origin": file, "line": line or None}
        for keys, value, file, line in rows
    ]
    for entry in [entries] if invocation.output == "json" else entries:
        console.json(entry, indent=2 if invocation.output == "json" else None)


def toml_lines(values: Mapping[str, Any], section: str = "") -> Iterator[list[Part]]:
    """Yield settings in the form of runner.toml; what is not set (null has no spelling there) as a
    comment.
    """
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    for name, value in values.items():
        if name not in tables:
            yield [f"# {name} is not set"] if value is None else [f"{name} = {_toml(value)}"]
    for name, inner in tables.items():
        path = f"{section}.{name}" if section else name
        if inner:
            yield [""]
            yield [Styled(f"[{path}]", BOLD)]
            yield from toml_lines(inner, path)


def _toml(value: Any) -> str:
    import json

    return json.dumps(
        value, ensure_ascii=False, default=str
    )  # text, numbers, booleans, lists: the same in both
