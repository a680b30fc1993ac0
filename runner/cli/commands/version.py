"""`run-pipeline version`."""

from __future__ import annotations

import click

from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.version import __version__

COMPONENTS = ("duckdb", "pyarrow", "anyio", "pydantic")
"""What a report about a fault needs to name."""


@click.command(name="version", cls=RunnerCommand, example="run-pipeline version -o json")
@click.pass_obj
def command(invocation: Invocation) -> None:
    """Show the versions of the engine and of what it stands on."""
    versions = component_versions()
    if invocation.output != "table":
        invocation.console.json(versions, indent=2 if invocation.output == "json" else None)
        return
    for name, version in versions.items():
        invocation.console.data(f"{name} {version}")


def component_versions() -> dict[str, str]:
    """Return versions by name, the engine first. Nothing is imported for it but the packages' metadata."""
    import platform
    from importlib.metadata import version

    return {
        "run-pipeline": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in COMPONENTS},
        "platform": platform.platform(),
    }
