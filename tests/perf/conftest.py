"""What the performance suite shares: runs that wait in the background, and the table of figures at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.perf.commands import Together, command, run
from tests.perf.figures import Figure, print_figures
from tests.perf.waiting import WORKERS, Ingest, waiting_project


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    """`figure("4 jobs of 30 s, 4 workers", "30.1 s")` adds a line to the figures below the tests."""

    def add(what: str, value: str) -> None:
        record_property("figure", (what, value))

    return add


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures, also of tests that passed."""
    print_figures(terminalreporter)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the project of waiting jobs."""
    return waiting_project(tmp_path_factory.mktemp("waiting")).root


@pytest.fixture(scope="session")
def slow_runs(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Together]:
    """Jobs of 30 s, one after the other and at once. The runs sleep beside each other: 120 s in all."""
    runs = Together(tmp_path_factory.mktemp("slow"))
    runs.start("four in turn", project, "four")
    runs.start("four at once", project, "four", "--max-workers", "4")
    runs.start("two in turn", project, "two")
    runs.start("two at once", project, "two", "--max-workers", "2")
    yield runs
    runs.close()


@pytest.fixture(scope="session")
def ingest(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Ingest:
    """The 19 jobs: three runs in turn, what is predicted from them, then the runs with 1, 2, 4 and 8 workers.

    One run at a time: 19 landings in a few seconds are work, which others would have to wait for. All have the same
    state, whose tables the first run makes.
    """
    state = tmp_path_factory.mktemp("ingest")
    for _ in range(3):
        run(project, state, "ingest")
    changes = [word for workers in WORKERS for word in ("--what-if", f"max_workers={workers}")]
    said = json.loads(command(project, state, "stats", "ingest", *changes, "-o", "json"))
    return Ingest(
        state=state,
        predicted_ms={each["max_workers"]: each["duration_ms"] for each in said["predictions"]},
        runs={workers: run(project, state, "ingest", "--max-workers", str(workers)) for workers in WORKERS},
    )
