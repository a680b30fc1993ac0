"""The command line as whole processes; those that only wait run beside each other."""

from __future__ import annotations

import json
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cli.demo_project import command_line, environment

LIMIT_S = 300
"""A command that takes longer is killed: REQUIREMENTS allow no more for any of them."""


@dataclass(frozen=True, slots=True)
class Done:
    """A finished command: its wall time as a user waits, and the PipelineRun that it printed."""

    wall_s: float
    run: dict[str, Any]

    @property
    def run_s(self) -> float:
        """Seconds of the run as its record has them: without the start and the end of the process."""
        return float(self.run["duration_ms"]) / 1000

    @property
    def peak_mib(self) -> float:
        """Most memory that the process held."""
        return float(self.run["peak_memory_bytes"]) / 2**20


def run(project: Path, state: Path, *arguments: str) -> Done:
    """Run a pipeline or job of a project with a state of its own; fails with its stderr when it fails."""
    began = time.perf_counter()
    printed = command(project, state, *arguments, "-q", "-o", "json")
    wall = time.perf_counter() - began
    return Done(wall, json.loads(printed))


def command(project: Path, state: Path, *arguments: str) -> str:
    """Return what any command prints."""
    done = subprocess.run(
        command_line("--project", str(project), *arguments),
        cwd=project,
        env=environment({"RUN_PIPELINE_STATE_DIR": str(state)}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Together:
    """Runs that are on their way at the same time, each with a state (and so a DuckDB file) of its own."""

    def __init__(self, states: Path) -> None:
        self._states = states
        self._threads = ThreadPoolExecutor(max_workers=16)
        self._runs: dict[str, Future[Done]] = {}

    def start(self, label: str, project: Path, *arguments: str) -> None:
        """Start a run under a name."""
        self._runs[label] = self._threads.submit(run, project, self.state(label), *arguments)

    def state(self, label: str) -> Path:
        """Where the run has its state."""
        return self._states / label

    def __getitem__(self, label: str) -> Done:
        """Wait for a run and return it."""
        return self._runs[label].result()

    def close(self) -> None:
        """Wait for all of them."""
        self._threads.shutdown()
