"""What the account of a run costs: with all of it, and with a recorder that forgets everything.

    .venv/bin/python benchmarks/observing.py [PAIRS]

All of it: events, records on disk, performance events, the comparison with the runs before, an observer, and the events
in `ops.event_log`. Beside it the same runs by the same runner, whose recorder drops what it is given, makes no folder,
and has nothing to send. In one process and in turn, with the warehouse open and both warm. Required: under 3 % of a job
that works for 1 s, under 0.3 ms a step. Processor time is that of this process with all its threads; on a machine that
also does other things it is the figure to trust.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch

import anyio
from harness import machine, project, verdict

from runner.clock import utc_now
from runner.events import Event
from runner.pipeline_runner import PipelineRunner, execution
from runner.records import PipelineRun, Status
from runner.settings import Settings

PAIRS = 15
ROWS, BATCH_ROWS = 200, 10
JOBS, STEPS = 20, 10
_TABLES = """
dataset: out
tables:
  - table: numbers
    columns: [{name: "n", type: int64, required: true}]
    key: ["n"]
"""
_WORK = f"""
job_id: work
steps:
  - {{step_id: numbers, op: extract, function: "bench_jobs.steps:numbers", with: {{count: {ROWS}}}}}
  - {{step_id: work, op: call, function: "bench_jobs.steps:work", with: {{rounds: ROUNDS}}}}
  - {{step_id: write, op: write, dataset: out, table: numbers, mode: replace}}
"""
_IDLE = """
job_id: {name}
steps:
  - {{step_id: numbers, op: extract, function: "bench_jobs.steps:numbers", with: {{count: 1}}}}
"""
_PASS_ON = '  - {{step_id: step_{number}, op: call, function: "bench_jobs.steps:pass_on"}}\n'
_CODE = '''
"""Rows, and work on them that takes as long as it takes, whoever else wants the processor."""


def numbers(count):
    """Bring rows."""
    for n in range(count):
        yield {"n": n}


def work(row, rounds):
    """Count for a while."""
    sum(number * number for number in range(rounds))
    return row


async def pass_on(row):
    """Do nothing."""
    return row
'''


class Forgetful:
    """Stands in the place of `runner.recorder.Recorder`: takes everything, keeps nothing."""

    def __init__(self, writer: None, *, run_id: str, **_: Any) -> None:
        self._run_id = run_id

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is open."""

    def emit(self, event: Event) -> None:
        """Forget it."""

    async def finish(self, *, duration_ms: float, **_: Any) -> PipelineRun:
        """Return as little as can be."""
        return PipelineRun(
            pipeline_run_id=self._run_id,
            pipeline_id="",
            status=Status.SUCCESS,
            started_at=utc_now(),
            duration_ms=duration_ms,
        )


@contextmanager
def forgetting() -> Iterator[None]:
    """Let runs leave nothing behind."""

    async def send_nothing(_: PipelineRunner) -> None:
        """There is nothing to send."""

    with (
        patch.object(execution, "Recorder", Forgetful),
        patch.object(execution.Execution, "_create", lambda *_: None),
        patch.object(PipelineRunner, "flush_events", send_nothing),
    ):
        yield


@dataclass
class Pairs:
    """Seconds of wall and processor time of both sides, pair by pair."""

    ours: list[tuple[float, float]] = field(default_factory=list)
    bare: list[tuple[float, float]] = field(default_factory=list)

    def ratio(self, which: int) -> float:
        """Median of the ratios; `which`: 0 wall, 1 processor."""
        return median(ours[which] / bare[which] for ours, bare in zip(self.ours, self.bare, strict=True))

    def difference(self, which: int) -> float:
        """Median of the differences, in seconds."""
        return median(ours[which] - bare[which] for ours, bare in zip(self.ours, self.bare, strict=True))

    def bare_median(self, which: int) -> float:
        """Median seconds of the bare side."""
        return median(bare[which] for bare in self.bare)


async def _timed(run: Callable[[], Awaitable[PipelineRun]]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    done = await run()
    took = time.perf_counter() - wall, time.process_time() - cpu
    if done.status is not Status.SUCCESS:
        sys.exit(f"{done.pipeline_id}: {done.status} {done.errors} {[job.errors for job in done.jobs]}")
    return took


async def measure(pipelines: PipelineRunner, name: str, pairs: int) -> Pairs:
    """Run both sides in turn. The first pair, and enough runs to compare with, are not counted."""
    found = Pairs()

    async def run() -> PipelineRun:
        return await pipelines.run(name, on_event=lambda event: None)

    for number in range(pairs + 1):
        ours = await _timed(run)
        with forgetting():
            bare = await _timed(run)
        if number:
            found.ours.append(ours)
            found.bare.append(bare)
    return found


def configs(rounds: int) -> dict[str, str]:
    """The files of the project: a job that works, and many of many steps that do nothing."""
    idle = [f"idle_{number:02}" for number in range(JOBS)]
    steps = "".join(_PASS_ON.format(number=number) for number in range(STEPS - 1))
    files = {f"configs/jobs/{name}.yaml": _IDLE.format(name=name) + steps for name in idle}
    files["configs/pipelines/idle.yaml"] = (
        f"pipeline_id: idle\nstages:\n  - name: all\n    jobs: [{', '.join(idle)}]\n"
    )
    files["configs/runner.toml"] = f'package = "bench_jobs"\nbatch_rows = {BATCH_ROWS}\n'
    files["configs/jobs/work.yaml"] = _WORK.replace("ROUNDS", str(rounds))
    files["configs/tables/out.yaml"] = _TABLES
    return files


def rounds_of_a_second() -> int:
    """How much `work` has to count a row, so that all rows take about a second here."""
    rounds = 100_000
    began = time.process_time()
    sum(number * number for number in range(rounds))
    return int(rounds / ((time.process_time() - began) * ROWS))


async def both(folder: Path, pairs: int) -> tuple[Pairs, Pairs]:
    """Measure the job that works and those that do nothing, with one runner."""
    async with PipelineRunner.open(Settings.load(folder)) as pipelines:
        return await measure(pipelines, "work", pairs), await measure(pipelines, "idle", pairs)


def main(arguments: Sequence[str]) -> None:
    """Measure, print figures and verdicts."""
    pairs = int(arguments[0]) if arguments else PAIRS
    code = {"bench_jobs/__init__.py": "", "bench_jobs/steps.py": _CODE}
    with project(configs(rounds_of_a_second()), code) as folder:
        working, idle = anyio.run(both, folder, pairs)
    print(f"## Observing; {machine()}\n")
    for which, clock in enumerate(("wall", "processor")):
        print(f"{clock}: a job of {working.bare_median(which):.2f} s, {JOBS} jobs of {STEPS} steps"
              f" {1000 * idle.bare_median(which):.0f} ms without an account")  # fmt: skip
        print(verdict(f"{clock}, a job of 1 s", 100 * (working.ratio(which) - 1), 3, 3, "%"))
        per_step = 1000 * idle.difference(which) / (JOBS * STEPS)
        print(verdict(f"{clock}, a step", per_step, 0.3, 0.3, "ms"))


if __name__ == "__main__":
    main(sys.argv[1:])
