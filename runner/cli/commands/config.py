"""`run-pipeline config`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from runner.cli.console import BOLD, Part, Styled
from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand

EXAMPLE = """run-pipeline config
RUN_PIPELINE_MAX_WORKERS=4 run-pipeline config -o json"""


@click.command(name="config", cls=RunnerCommand, example=EXAMPLE)
@click.pass_obj
def command(invocation: Invocation) -> None:
    """Show the settings in effect, secrets masked.

    They come from the defaults, then configs/runner.toml, files of the secrets folders, and the environment
    (RUN_PIPELINE_WAREHOUSE__PATH); the later wins. Durations are in seconds.
    """
    values = invocation.settings.model_dump(mode="json")
    if invocation.output != "table":
        invocation.console.json(values, indent=2 if invocation.output == "json" else None)
        return
    for line in toml_lines(values):
        invocation.console.data(*line)


def toml_lines(values: Mapping[str, Any], section: str = "") -> Iterator[list[Part]]:
    """Yield settings in the form of runner.toml; what is not set (null has no spelling there) as a
    comment.
    """
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    for name, value in values.items():
        if name not in tables:
            yield [f"# {name} is not set"] if value is None else [f"{name} = {_toml(value)}"]
    for name, table in tables.items():
        path = f"{section}.{name}" if section else name
        if table:
            yield [""]
            yield [Styled(f"[{path}]", BOLD)]
            yield from toml_lines(table, path)


def _toml(value: Any) -> str:
    import json

    return json.dumps(
        value, ensure_ascii=False, default=str
    )  # text, numbers, booleans, lists: the same in both
