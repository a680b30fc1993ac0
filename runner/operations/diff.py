"""Two runs side by side: what took longer, what read more, what is new and what is gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.analysis.history import rows_of
from runner.errors import UsageError
from runner.records import PipelineRun, RunRecord, Status, StepTiming
from runner.run_store import FileRunStore

DIFF_SCHEMA = "run-pipeline/diff.v1"
OPEN = (Status.RUNNING, Status.CRASHED, Status.SKIPPED)
"""What has these did not end by itself: how long it was is not how long it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A run, job or step in one of the runs. A job's rows are those that it wrote or, where it wrote none, read."""

    status: Status
    duration_ms: float
    rows: int
    queue_ms: float = 0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "status": self.status.value,
            "duration_ms": self.duration_ms,
            "rows": self.rows,
            "queue_ms": self.queue_ms,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A job (`step_id` "") or step in both runs; None where a run has it not, or never began it.

    `not_reached`: the run that has it not was cut short, or goes on: it may have come to it.
    """

    job_id: str
    step_id: str = ""
    before: Side | None
    after: Side | None
    not_reached: bool = False

    @property
    def delta_ms(self) -> float:
        """How much longer it took in the second run."""
        return (self.after.duration_ms if self.after else 0.0) - (
            self.before.duration_ms if self.before else 0.0
        )

    @property
    def ratio(self) -> float | None:
        """The change as a part of what it was: 0.5 is half as much again; None where there was nothing before, and for
        what did not end by itself.
        """
        if self.before is None or self.after is None or self.before.duration_ms <= 0:
            return None
        if self.before.status in OPEN or self.after.status in OPEN:
            return None
        return self.delta_ms / self.before.duration_ms

    @property
    def word(self) -> str:
        """`new`, `gone`, `not reached`, or "" for what both runs have."""
        if self.not_reached:
            return "not reached"
        return "new" if self.before is None else "gone" if self.after is None else ""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "job_id": self.job_id,
            "step_id": self.step_id,
            "change": self.word.replace(" ", "_") or "both",
            "before": self.before.to_dict() if self.before else None,
            "after": self.after.to_dict() if self.after else None,
            "delta_ms": self.delta_ms,
            "ratio": self.ratio,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two runs. `jobs` have their steps behind them; jobs, and the steps of each, by the size of their change."""

    before: PipelineRun
    after: PipelineRun
    jobs: tuple[tuple[Change, tuple[Change, ...]], ...]

    @property
    def run(self) -> Change:
        """The runs as wholes."""
        return Change(job_id="", before=_run_side(self.before), after=_run_side(self.after))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        parts = [part for job, steps in self.jobs for part in (job, *steps)]
        return {
            "schema": DIFF_SCHEMA,
            "before": self.before.to_dict(jobs=False),
            "after": self.after.to_dict(jobs=False),
            "delta_ms": self.run.delta_ms,
            "ratio": self.run.ratio,
            "parts": [part.to_dict() for part in parts],
        }


def pair(store: FileRunStore, before: str | None, after: str | None) -> tuple[PipelineRun, PipelineRun]:
    """Return the two runs that are meant by up to two references. With one, it is the last run of the same name that is
    compared with it; where that is itself, and without any (the last run), the success before it.

    Raises `RunNotFound`, `UsageError`, `DamagedRecord`.
    """
    first = store.load(store.resolve(before or "last"))
    second = store.load(store.resolve(after or first.pipeline_id))
    if after is None and first.pipeline_run_id == second.pipeline_run_id:
        first = store.load(_success_before(store, second))
    return first, second


def _success_before(store: FileRunStore, run: PipelineRun) -> str:
    """Return the id of the newest run of the same name before one that succeeded, and did all of its work."""
    for each in store.scan(name=run.pipeline_id, status=Status.SUCCESS):
        if each.pipeline_run_id < run.pipeline_run_id and each.is_whole:
            return each.pipeline_run_id
    raise UsageError(
        f"no run of {run.pipeline_id!r} has succeeded before {run.pipeline_run_id},"
        " with which it could be compared",
        hint="run-pipeline diff RUN RUN compares any two",
    )


def compare(before: PipelineRun, after: PipelineRun) -> Difference:
    """Set two runs beside each other, job by job and step by step."""
    one = {job.job_id: job for job in before.jobs}
    other = {job.job_id: job for job in after.jobs}
    jobs = [
        _job(job_id, (before, one.get(job_id)), (after, other.get(job_id)))
        for job_id in dict.fromkeys((*one, *other))
    ]
    told = [(job, steps) for job, steps in jobs if job.before is not None or job.after is not None]
    return Difference(
        before=before, after=after, jobs=tuple(sorted(told, key=lambda item: -abs(item[0].delta_ms)))
    )


_InRun = tuple[PipelineRun, RunRecord | None]
"""A run, and its record of a job, if it has one."""


def _job(job_id: str, before: _InRun, after: _InRun) -> tuple[Change, tuple[Change, ...]]:
    one, other = _steps(before[1]), _steps(after[1])
    steps = [
        _change(job_id, step_id, before, after, _step_side(one, step_id), _step_side(other, step_id))
        for step_id in dict.fromkeys((*one, *other))
    ]
    job = _change(job_id, "", before, after, _job_side(before[1]), _job_side(after[1]))
    return job, tuple(sorted(steps, key=lambda change: -abs(change.delta_ms)))


def _change(
    job_id: str, step_id: str, before: _InRun, after: _InRun, one: Side | None, other: Side | None
) -> Change:
    lacking = [side for side, found in ((before, one), (after, other)) if found is None]
    return Change(
        job_id=job_id, step_id=step_id, before=one, after=other, not_reached=any(map(_is_cut_short, lacking))
    )


def _is_cut_short(side: _InRun) -> bool:
    """Whether a run may only not have come to a job's steps, or to the job itself, which it names when it begins."""
    run, job = side
    return run.status is Status.RUNNING if job is None else job.status in OPEN


def _run_side(run: PipelineRun) -> Side:
    return Side(status=run.status, duration_ms=run.duration_ms, rows=run.rows_written or run.rows_read)


def _job_side(job: RunRecord | None) -> Side | None:
    """A job that was skipped took part, too; one that the run does not know did not."""
    if job is None:
        return None
    return Side(
        status=job.status,
        duration_ms=job.duration_ms,
        rows=job.rows_written or job.rows_read,
        queue_ms=job.queue_ms,
    )


def _steps(job: RunRecord | None) -> dict[str, StepTiming]:
    return {timing.step_id: timing for timing in job.step_timings} if job else {}


def _step_side(timings: Mapping[str, StepTiming], step_id: str) -> Side | None:
    timing = timings.get(step_id)
    if timing is None:
        return None
    return Side(status=timing.status, duration_ms=timing.duration_ms, rows=rows_of(timing))
