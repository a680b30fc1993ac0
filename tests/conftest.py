"""What every test shares: which tests run, an environment without surprises."""

from __future__ import annotations

import compileall
import inspect
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from tests.servers import required
from tests.servers.fixtures import (
    bigquery_project,
    bigquery_server,
    bigquery_servers,
    new_bigquery_project,
    new_postgres_database,
    postgres_database,
    postgres_server,
    postgres_servers,
    private_bigquery,
    private_postgres,
    proxy_to,
)

__all__ = [
    "bigquery_project",
    "bigquery_server",
    "bigquery_servers",
    "new_bigquery_project",
    "new_postgres_database",
    "postgres_database",
    "postgres_server",
    "postgres_servers",
    "private_bigquery",
    "private_postgres",
    "proxy_to",
]

ROOT = Path(__file__).parents[1]
ON_DEMAND = ("perf", "chaos")
"""Markers whose tests run only when the option of the same name is given."""

EXAMPLES, MANY_EXAMPLES = 50, 500
"""Of each law, as hypothesis makes them: by default, and with --thorough."""

BIGQUERY = "bigquery"
"""Its emulator takes 60 ms and more for a statement, so `bin/test` leaves its tests to CI, unless it is required."""

FAILED_CHECKS = "RUN_PIPELINE_FAILED_CHECKS"
"""Set by bin/test: the checks that failed before pytest was started."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --perf, --chaos, --thorough and --require."""
    group = parser.getgroup("run-pipeline")
    group.addoption("--perf", action="store_true", help="also run what measures time and memory")
    group.addoption("--chaos", action="store_true", help="also run kills, full disks and cut connections")
    group.addoption("--thorough", action="store_true", help="try ten times as many examples of each law")
    required.pytest_addoption(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Choose how many examples are tried; forget what the developer's shell says to the runner, and that a shell's
    background jobs ignore Ctrl-C.

    Bytecode of what is imported up to the end of the collection is kept, whatever the environment says: compiling
    takes seconds. Of what tests write it is not: a file may change twice in a second, which bytecode does not see.
    """
    sys.dont_write_bytecode = False
    if not hasattr(config, "workerinput"):
        for folder in ("runner", "jobs"):
            compileall.compile_dir(ROOT / folder, quiet=2)
    from hypothesis import settings

    settings.register_profile("run-pipeline", max_examples=EXAMPLES, deadline=None)
    settings.register_profile("thorough", max_examples=MANY_EXAMPLES, deadline=None)
    settings.load_profile("thorough" if config.getoption("thorough") else "run-pipeline")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in list(os.environ):
        foreign = name.startswith("RUN_PIPELINE_") and name != FAILED_CHECKS
        if (
            foreign
            or name.startswith("OTEL_")
            or name in {"STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "NO_COLOR", "FORCE_COLOR"}
        ):
            del os.environ[name]


def pytest_collection_finish() -> None:
    """From here on the environment decides again about bytecode."""
    sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what asks the emulator of BigQuery, by fixtures and ids; leave out what runs only on demand."""
    for item in items:
        names = (item.nodeid, *getattr(item, "fixturenames", ()))
        needs_nothing = (ROOT / "tests" / "unit") in item.path.parents
        if not needs_nothing and any(BIGQUERY in name.lower() for name in names):
            item.add_marker(BIGQUERY)
    left_out = {name for name in ON_DEMAND if not config.getoption(name)}
    kept = [item for item in items if not any(item.get_closest_marker(name) for name in left_out)]
    if len(kept) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
        items[:] = kept


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the checks that failed before, next to the summary where they are seen."""
    failed = os.environ.get(FAILED_CHECKS)
    if failed:
        terminalreporter.section("checks before pytest")
        terminalreporter.line(f"FAILED: {failed} (output above, before pytest started)", red=True)


@pytest.fixture(autouse=True)
def loop_is_never_blocked(request: pytest.FixtureRequest) -> Iterator[BlockBuster | None]:
    """Fail an async test in which the runner does file or socket I/O, or sleeps, on the event loop."""
    if not inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        yield None
        return
    with blockbuster_ctx("runner") as blockbuster:
        yield blockbuster
