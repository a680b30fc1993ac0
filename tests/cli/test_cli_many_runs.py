"""Questions to a store of many runs read only what they need, and are quick."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from runner.clock import utc_now
from runner.run_store import FileRunStore
from tests.cli.demo_project import DemoProject, command_line, environment

seed = importlib.import_module("benchmarks.seed_runs").seed
"""Benchmarks are scripts: to the type checker this file is `seed_runs`, and cannot be another module, too."""

REPORT = """
import sys
opened, listed = [], []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
sys.addaudithook(lambda event, args: listed.append(args[0]) if event == "os.listdir" else None)
from runner.cli import main
code = main(sys.argv[1:])
print("opened:", sum(name == "run.json" for name in opened), sum(name == "events.jsonl" for name in opened),
      sum("runs" in str(name) for name in listed), file=sys.stderr)
sys.exit(code)
"""


def opened(project: DemoProject, *words: str) -> tuple[int, int]:
    """How many summaries and event files a command opens."""
    summaries, events, _ = looked_at(project, *words)
    return summaries, events


def looked_at(project: DemoProject, *words: str) -> tuple[int, int, int]:
    """The same, and how often it lists a folder of runs."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", REPORT, *words],
        cwd=project.folder, env=environment({}), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stderr.splitlines() if line.startswith("opened:"))
    summaries, events, listings = map(int, line.split()[1:])
    return summaries, events, listings


def test_what_is_asked_for_is_read_and_nothing_else(project: DemoProject) -> None:
    """Of 75 runs in three days: 36 of shop, 18 each of mail and orders, 3 of nightly."""
    seed(project.folder / "var" / "runs", 75, now=utc_now())

    assert opened(project, "runs", "--limit", "7") == (7, 0)
    assert opened(project, "runs", "--name", "nightly") == (3, 0)
    assert opened(project, "runs", "--last", "20h", "--limit", "50") == (21, 0)
    assert opened(project, "stats", "nightly") == (3, 0)
    assert opened(project, "stats", "shop", "--runs", "5") == (6, 0)  # one more tells whether these are all
    assert opened(project, "show", "last", "--gantt") == (2, 0)
    assert opened(project, "prune", "--keep", "1d", "--keep-runs", "2", "--dry-run")[0] < 20


def test_events_of_the_last_days_are_looked_for_in_files_written_since(project: DemoProject) -> None:
    runs = project.folder / "var" / "runs"
    seed(runs, 75, now=utc_now())
    for run in FileRunStore(runs).latest():
        written = (run.completed_at or run.started_at).timestamp()
        os.utime(FileRunStore(runs).path(run.pipeline_run_id) / "events.jsonl", (written, written))

    assert opened(project, "events", "--from", "files", "--last", "20h", "--type", "none.such") == (21, 21)
    assert opened(project, "events", "--from", "files", "--limit", "5")[1] <= 2

    for path in runs.glob("*/*/events.jsonl"):
        path.touch()
    assert opened(project, "events", "--from", "files", "--last", "20h", "--type", "none.such")[1] == 21


def test_folders_are_listed_once_not_for_each_run(project: DemoProject) -> None:
    """A day may have ten thousand runs: to list it again for each of them takes a minute."""
    seed(project.folder / "var" / "runs", 75, now=utc_now())

    assert looked_at(project, "prune", "--keep", "1d", "--dry-run")[2] < 12
    assert looked_at(project, "prune", "--keep", "1d", "--keep-runs", "0", "--yes")[2] < 30
    assert looked_at(project, "report", "shop", "-o", "shop.html")[2] < 16


@pytest.mark.perf
@pytest.mark.timeout(300)
def test_ten_thousand_runs(project: DemoProject, tmp_path: Path) -> None:
    """As whole processes, files in the cache of the system: `runs` under 0.4 s, `stats` under 1 s."""
    seed(tmp_path / "runs", 10_000, now=utc_now() - timedelta(minutes=1))

    def seconds(*words: str) -> float:
        best = float("inf")
        for _ in range(5):
            begin = time.perf_counter()
            subprocess.run(
                command_line(*words), cwd=project.folder, capture_output=True, check=True,
                env=environment({"RUN_PIPELINE_STATE_DIR": str(tmp_path), "PYTHONWARNINGS": "default"}),
            )  # fmt: skip
            best = min(best, time.perf_counter() - begin)
        return best

    assert seconds("runs") < 0.4
    assert seconds("runs", "--status", "partial") < 0.4
    assert seconds("stats", "shop") < 1.0
    assert seconds("stats", "nightly") < 1.0
