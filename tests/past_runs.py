"""Gives a project a past: runs that never were, in its run store, made after one that was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from ulid import ULID

from runner.ids import ulid_ms
from runner.records import PipelineRun, StepTiming
from runner.run_store import FileRunStore


def give_past(
    store: FileRunStore, run: PipelineRun, changes: Sequence[Callable[[StepTiming], StepTiming]]
) -> None:
    """Write a run like `run` for each of `changes`, a minute apart and the last a minute before it; every step is as
    its change makes it.
    """
    for number, change in enumerate(changes):
        ago = timedelta(minutes=len(changes) - number)
        run_id = str(ULID.from_timestamp(ulid_ms(run.pipeline_run_id) / 1000 - ago.total_seconds()))
        jobs = tuple(
            replace(job, pipeline_run_id=run_id, step_timings=tuple(map(change, job.step_timings)))
            for job in run.jobs
        )
        past = replace(
            run, pipeline_run_id=run_id, started_at=run.started_at - ago, jobs=jobs, regressions=(),
        )  # fmt: skip
        writer = store.create(run_id, run.pipeline_id, past.started_at)
        writer.write_run(past)
        writer.close()


def timed(step_id: str, duration_ms: float) -> Callable[[StepTiming], StepTiming]:
    """Return a change: this step took so long, the others as they did."""
    return lambda timing: replace(timing, duration_ms=duration_ms) if timing.step_id == step_id else timing
