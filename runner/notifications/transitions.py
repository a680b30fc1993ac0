"""Which messages a sequence of runs owes. Pure: no clock, no files.

A failure is told once, when a name goes from well to failed; then nothing while it stays failed; then one recovery.
Cancelled runs say nothing either way, nor do runs that were asked not to notify, nor those that are under way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from runner.records import PipelineRun, Status

FAILED = frozenset({Status.FAILURE, Status.PARTIAL, Status.CRASHED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a receiver knows of one name: the newest run that was looked at, whether the name counts as failed or
    late, and since when it is known (UTC; a name that never succeeded is late from there).
    """

    run_id: str = ""
    failed: bool = False
    late: bool = False
    since: str = ""
    success: str = ""


@dataclass(frozen=True, slots=True)
class Owed:
    """A message to be sent: its event (failure, recovery, late), and the run that it is about, if there is one."""

    event: str
    name: str
    run: PipelineRun | None
    id: str


def counts(run: PipelineRun) -> bool:
    """Tell whether a run says anything about how its name does."""
    return run.notify and run.status in (Status.SUCCESS, *FAILED)


def after_runs(told: Told, name: str, runs: Sequence[PipelineRun]) -> tuple[Told, list[Owed]]:
    """Return what is known and owed after `runs` of one name, oldest first, all newer than `told.run_id`."""
    owed: list[Owed] = []
    for run in runs:
        if run.status is Status.RUNNING:
            break  # it is looked at again when it is over, and so is what came after it
        told = replace(told, run_id=run.pipeline_run_id)
        if not counts(run):
            continue
        if run.status in FAILED:
            if not told.failed:
                owed.append(_owed("failure", name, run))
            told = replace(told, failed=True)
        else:
            if told.failed or told.late:
                owed.append(_owed("recovery", name, run))
            told = replace(told, failed=False, late=False, success=run.started_at.isoformat())
    return told, owed


def after_time(told: Told, name: str, now: datetime, limit_s: float) -> tuple[Told, list[Owed]]:
    """Return what is known and owed when a name should succeed every `limit_s` seconds, and it is `now` (UTC)."""
    last = datetime.fromisoformat(told.success or told.since)
    if told.late or now - last <= timedelta(seconds=limit_s):
        return told, []
    stamp = last.strftime("%Y%m%dT%H%M%S")
    return replace(told, late=True), [Owed("late", name, None, f"{name}.late.{stamp}")]


def _owed(event: str, name: str, run: PipelineRun) -> Owed:
    return Owed(event, name, run, f"{run.pipeline_run_id}.{event}")


def new_runs(runs: Iterator[PipelineRun], told: Told) -> list[PipelineRun]:
    """Return those of `runs` (newest first) that were not looked at yet, oldest first.

    Of a name that was never looked at, only the newest that counts: nobody is told of what was long ago.
    """
    found: list[PipelineRun] = []
    for run in runs:
        if told.run_id and run.pipeline_run_id <= told.run_id:
            break
        found.append(run)
        if not told.run_id and counts(run):
            break
    return found[::-1]
