"""What every test shares: which tests run, what must be there, an environment without surprises."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

ON_DEMAND = ("perf", "chaos")
"""Markers whose tests run only when the option of the same name is given."""

SERVERS = ("duckdb", "postgres", "bigquery")
"""What `--require` may name."""

FAILED_CHECKS = "RUN_PIPELINE_FAILED_CHECKS"
"""Set by bin/test: the checks that failed before pytest was started."""

Unavailable = Callable[[str, str], NoReturn]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --perf, --chaos and --require."""
    group = parser.getgroup("run-pipeline")
    group.addoption("--perf", action="store_true", help="also run what measures time and memory")
    group.addoption("--chaos", action="store_true", help="also run kills, full disks and cut connections")
    group.addoption(
        "--require",
        default="",
        metavar="NAME,...",
        help=f"a server that is missing is a failure, not a skip; of {', '.join(SERVERS)}",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Check --require, and forget what the developer's shell says to the runner."""
    unknown = _required(config) - set(SERVERS)
    if unknown:
        raise pytest.UsageError(f"--require: {', '.join(sorted(unknown))} is none of {', '.join(SERVERS)}")
    for name in list(os.environ):
        foreign = name.startswith("RUN_PIPELINE_") and name != FAILED_CHECKS
        if foreign or name in {"STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "NO_COLOR", "FORCE_COLOR"}:
            del os.environ[name]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what runs only on demand."""
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


@pytest.fixture(scope="session")
def unavailable(pytestconfig: pytest.Config) -> Unavailable:
    """`unavailable("postgres", "why")` skips the test, or fails it when --require names the server."""

    def stop(name: str, reason: str) -> NoReturn:
        if name in _required(pytestconfig):
            pytest.fail(f"--require={name}: {reason}", pytrace=False)
        pytest.skip(f"{name}: {reason}")

    return stop


@pytest.fixture(autouse=True)
def loop_is_never_blocked(request: pytest.FixtureRequest) -> Iterator[BlockBuster | None]:
    """Fail an async test in which the runner does file or socket I/O, or sleeps, on the event loop."""
    if not inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        yield None
        return
    with blockbuster_ctx("runner") as blockbuster:
        yield blockbuster


def _required(config: pytest.Config) -> set[str]:
    return set(filter(None, str(config.getoption("--require")).split(",")))
