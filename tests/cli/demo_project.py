"""A small project on disk, and the command line as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

JOB = """\
job_id: {name}
steps:
  - {{step_id: read_people, op: read, dataset: hello, table: people}}
  - {{step_id: apply, op: call, function: "demo_jobs.{name}:apply"{options}}}
  - {{step_id: write_greetings, op: write, dataset: hello, table: greetings, mode: upsert}}
"""


@dataclass
class DemoProject:
    """The project of `run-pipeline init demo`, and ways to run commands in it."""

    folder: Path
    python: str = sys.executable
    """What `run` starts: this Python, or one that has imported everything already (tests/warm_processes.py)."""
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def run(self, *args: str, stdin: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, without a terminal."""
        return subprocess.run(
            [self.python, *command_line(*args)[1:]],
            cwd=self.folder,
            env=environment(env),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        """Start a command with this Python; it is killed at the end of the test at the latest."""
        process = subprocess.Popen(
            command_line(*args),
            cwd=self.folder,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """Kill what still runs."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def write(self, file: str, text: str) -> None:
        """Write a file of the project."""
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def add_job(self, name: str, code: str, options: str = "") -> None:
        """Add a job that reads hello.people, calls the function `apply` of `code`, and writes greetings."""
        self.write(f"configs/jobs/{name}.yaml", JOB.format(name=name, options=options))
        self.write(f"demo_jobs/{name}.py", code)


def command_line(*args: str) -> list[str]:
    """Return the words that start the command line with the Python of the tests."""
    return [sys.executable, "-P", "-m", "runner", *args]


def environment(extra: dict[str, str]) -> dict[str, str]:
    """Return the environment of the tests, in which this repository's engine is the one that is imported."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "error", **extra}
