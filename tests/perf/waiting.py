"""Pipelines whose jobs wait, as for a server that is far away, and write what they got to DuckDB."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.perf.commands import Done
from tests.projects import ThrowAwayProject, extract, write

ROWS = 10
"""Of each job."""

SLOW_S = 30.0

_chance = random.Random(19)
SOURCES = {f"ingest_{number:02}": round(_chance.uniform(0.2, 1.0), 3) for number in range(19)}
"""The 19 jobs of the ingest pipeline and how long each waits, in seconds."""

WORKERS = (1, 2, 4, 8)

FUNCTIONS = """
    import time

    def fetch(source, seconds, rows):
        time.sleep(seconds)
        for number in range(rows):
            yield {"message_id": f"{source}:{number}", "source": source, "text": "…" * 40}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingest:
    """The 19 jobs by number of workers: what was predicted from runs with one worker, and what runs then took."""

    state: Path
    predicted_ms: dict[int, float]
    runs: dict[int, Done]


def waiting_project(folder: Path) -> ThrowAwayProject:
    """Make the project: `four` and `two` with jobs of 30 s, `ingest` with 19 shorter ones.

    None says how many workers it wants, so that it is one unless the command line asks for more.
    """
    project = ThrowAwayProject(folder, "waiting_jobs")
    project.functions(FUNCTIONS)
    slow = {f"slow_{number}": SLOW_S for number in range(4)}
    for name, seconds in (slow | SOURCES).items():
        project.table(f"raw.{name}", "message_id string!, source string, text string", key=["message_id"])
        arguments = {"source": name, "seconds": seconds, "rows": ROWS}
        project.job(name, extract("fetch", arguments=arguments), write(f"raw.{name}"))
    project.pipeline("four", stages=[{"name": "slow", "jobs": list(slow)}])
    project.pipeline("two", stages=[{"name": "slow", "jobs": list(slow)[:2]}])
    project.pipeline(
        "ingest", stages=[{"name": "ingest", "jobs": list(SOURCES), "event": "ingest.parallel_performance"}]
    )
    return project


def ideal_s(waits: Iterable[float], workers: int) -> float:
    """Seconds of a stage whose jobs start in their order, each on the first free worker, and cost nothing but waits."""
    free = [0.0] * workers
    for wait in waits:
        heapq.heappush(free, heapq.heappop(free) + wait)
    return max(free)
