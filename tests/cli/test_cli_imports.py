"""What a start costs: the modules that are loaded, as DESIGN says for help, list and a run on DuckDB."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.demo_project import DemoProject, environment

REPORT = """
import sys
from runner.cli import main
code = main(sys.argv[1:])
print("modules:", *sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""


def modules_of(project: DemoProject, *args: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-P", "-c", REPORT, *args],
        cwd=project.folder,
        env=environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stderr.splitlines() if line.startswith("modules:"))
    return set(line.split()[1:])


def named(modules: set[str], *packages: str) -> set[str]:
    return {name for name in packages if name in modules}


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["run", "--help"], ["init", "fresh"]])
def test_help_loads_click_and_little_else(words: list[str], project: DemoProject) -> None:
    modules = modules_of(project, *words)

    heavy = (
        "pydantic",
        "anyio",
        "asyncio",
        "yaml",
        "structlog",
        "duckdb",
        "pyarrow",
        "sqlglot",
        "rich",
        "ulid",
    )
    assert named(modules, *heavy) == set()


def test_help_loads_no_command(project: DemoProject) -> None:
    modules = modules_of(project, "--help")

    assert {name for name in modules if name.startswith("runner.cli.commands")} == set()


@pytest.mark.parametrize("words", [["list"], ["validate"], ["config"]])
def test_what_reads_yaml_loads_no_engine(words: list[str], project: DemoProject) -> None:
    modules = modules_of(project, *words)

    # asyncio is here, because pydantic-settings imports it.
    heavy = ("anyio", "duckdb", "pyarrow", "structlog", "sqlglot", "rich")
    assert named(modules, *heavy) == set()


@pytest.mark.parametrize(
    "words",
    [
        ["runs"], ["show"], ["show", "--gantt"], ["logs"], ["stats", "hello"], ["diff", "last", "last"],
        ["timers"], ["report"],
    ],
)  # fmt: skip
def test_what_looks_at_runs_never_touches_the_warehouse(words: list[str], loaded: DemoProject) -> None:
    modules = modules_of(loaded, *words)

    assert named(modules, "anyio", "duckdb", "pyarrow", "structlog", "yaml", "runner.loader") == set()


@pytest.mark.parametrize(
    "words",
    [["prune", "--keep", "1d"], ["logs", "-f"], ["stats", "hello", "--what-if", "max_workers=2"]],
)
def test_what_needs_more_for_it_needs_no_driver(words: list[str], loaded: DemoProject) -> None:
    assert named(modules_of(loaded, *words), "duckdb", "structlog", "google.cloud", "psycopg") == set()


def test_a_run_on_duckdb_loads_no_renderer_and_no_other_warehouse(loaded: DemoProject) -> None:
    modules = modules_of(loaded, "hello")

    needless = (
        "faulthandler",
        "runner.cli.sd_notify",
        "structlog",
        "rich",
        "sqlglot",
        "pandas",
        "numpy",
        "google.cloud",
        "psycopg",
        "httpx2",
        "dlt",
        "requests",
        "trio",
        "opentelemetry",
        "runner.telemetry",
    )
    assert named(modules, "duckdb", "pyarrow", "anyio") == {"duckdb", "pyarrow", "anyio"}
    assert named(modules, *needless) == set()
