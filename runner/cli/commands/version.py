"""`run-pipeline version`."""

from __future__ import annotations

from contextlib import suppress

import click

from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.version import __version__

COMPONENTS = ("duckdb", "pyarrow", "anyio", "pydantic")
"""What a report about a fault needs to name."""
CLIENTS = (
    "psycopg",
    "adbc-driver-postgresql",
    "google-cloud-bigquery",
    "google-cloud-bigquery-storage",
    "httpx2",
    "dlt",
)
"""What comes with extras: named where it is installed."""


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
    from importlib.metadata import PackageNotFoundError, version

    clients: dict[str, str] = {}
    for name in CLIENTS:
        with suppress(PackageNotFoundError):
            clients[name] = version(name)
    return {
        "run-pipeline": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in COMPONENTS},
        **clients,
        "platform": platform.platform(),
    }
