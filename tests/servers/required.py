"""`--require=NAMES`: servers without which a run of the tests fails, where it would skip what needs them."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest

from tests.servers.debian_packages import NotToBeHadError

SERVERS = ("bigquery", "chromium", "dovecot", "duckdb", "postgres")
"""What can be required. DuckDB is a library that is always installed: to name it changes nothing."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option to pytest's (tests/conftest.py has this function too)."""
    parser.getgroup("run-pipeline").addoption(
        "--require", action="append", type=_names, metavar="SERVER,...", default=[],
        help=f"fail, not skip, where one of these cannot be had: {', '.join(SERVERS)}",
    )  # fmt: skip


def unavailable(config: pytest.Config, server: str, reason: Exception) -> NoReturn:
    """Skip the test that needs a server, with the reason; fail it if the server is required, or there but broken."""
    if not isinstance(reason, NotToBeHadError):
        pytest.fail(f"{server}: {reason}", pytrace=False)
    required = {name for names in config.getoption("require") for name in names.split(",")}
    if server in required:
        pytest.fail(f"--require={server}: {reason}", pytrace=False)
    pytest.skip(f"{server}: {reason}")


def run_of(config: pytest.Config) -> str:
    """Return the name of the test run, the same in all processes of pytest-xdist."""
    given: dict[str, str] = getattr(config, "workerinput", {})
    return given.get("testrunuid", f"alone-{os.getpid()}")


@contextmanager
def without_time_limit() -> Iterator[None]:
    """Stop the clock of pytest-timeout: what is fetched once may take longer than a test. It has limits of its own."""
    left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)


def _names(value: str) -> str:
    """Check the names, and return them as they came: pytest-xdist hands options to its processes."""
    unknown = sorted(set(value.split(",")) - set(SERVERS))
    if unknown:
        names = ", ".join(SERVERS)
        raise argparse.ArgumentTypeError(
            f"no server is called {', '.join(map(repr, unknown))}; there are {names}"
        )
    return value
