"""Series for each job and step out of many runs, and what they tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from runner.analysis.critical_path import CriticalPath, critical_path
from runner.analysis.quantiles import median
from runner.analysis.trend import Trend, trend
from runner.records import PipelineRun, RunRecord, Status, StepTiming
from runner.usage import Usage

_OPEN = (Status.RUNNING, Status.CRASHED)

SeriesKey = tuple[str, str]
"""(job id, step id); the step id is "" for the job as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One job or step in one run. `rows`: what it read or wrote, else what went through it.

    `whole`: it succeeded, and so did its job: steps work in turn, and one may have been stopped early by the failure of
    another. `share`: the part (0 to 1) of the run that it took on the critical path; 0 for what is not on it.
    """

    run_id: str
    at: datetime
    status: Status
    whole: bool
    duration_ms: float
    rows: int
    queue_ms: float = 0
    share: float = 0
    usage: Usage | None = None


@dataclass(slots=True)
class History:
    """All that is known of one job or step, oldest first. `runs`: how many runs have a known critical path, with or
    without it.
    """

    job_id: str
    step_id: str = ""
    op: str = ""
    points: list[Point] = field(default_factory=list)
    runs: int = 0

    @property
    def successes(self) -> list[Point]:
        """The points whose time can be compared: those of what was done, as a whole."""
        return [point for point in self.points if point.whole]

    @property
    def durations(self) -> list[float]:
        """Milliseconds of each success."""
        return [point.duration_ms for point in self.successes]

    @property
    def trend(self) -> Trend:
        """How the durations of the successes changed; `Trend.since` is a place in `successes`."""
        return trend(self.durations)

    @property
    def rows_per_second(self) -> float | None:
        """The median rate of the successes that had rows; None where none had."""
        rates = [
            point.rows * 1000 / point.duration_ms
            for point in self.successes
            if point.rows and point.duration_ms > 0
        ]
        return median(rates) if rates else None

    @property
    def share(self) -> float:
        """The mean part (0 to 1) of the runs' time that it took on their critical paths; runs without it count, too:
        what has another name by now holds up no run. Runs that did not end do not.
        """
        return sum(point.share for point in self.points) / self.runs if self.runs else 0.0


def histories(runs: Iterable[PipelineRun], *, newest_first: bool = False) -> dict[SeriesKey, History]:
    """Return the history of each job and of each of its steps. `runs` with their jobs, oldest first unless it is said;
    each is let go of before the next is asked for.

    Jobs stand in the order in which they first occur, each before its steps. Jobs that were skipped left nothing.
    """
    found: dict[SeriesKey, History] = {}
    number = 0
    for run in runs:
        begun = [job for job in run.jobs if job.started_at is not None]
        # Where the time of a run went that did not end, or began nothing, is not known.
        parts = shares_of(run, critical_path(run)) if begun and run.status not in _OPEN else {}
        number += bool(parts)
        for job in begun:
            _add(found, run, job, parts, newest_first=newest_first)
    for history in found.values():
        history.runs = number
        if newest_first:
            history.points.reverse()
    return _jobs_first(found)


def shares_of(run: PipelineRun, path: CriticalPath) -> dict[SeriesKey, float]:
    """Return the part (0 to 1) of a run that each job and step took on its critical path, of those that took any. Steps
    share the part of their job by their times.
    """
    jobs = {job.job_id: job for job in run.jobs}
    found: dict[SeriesKey, float] = {}
    for job_id, share in path.shares().items():
        found[job_id, ""] = share
        timings = jobs[job_id].step_timings
        total = sum(timing.duration_ms for timing in timings)
        found |= {(job_id, each.step_id): share * each.duration_ms / total for each in timings if total > 0}
    return found


def bottleneck_of(shares: Mapping[SeriesKey, float]) -> SeriesKey | None:
    """Return the step that took the greatest part of a run on its critical path; None where no step did."""
    steps = [key for key, share in shares.items() if key[1] and share > 0]
    return max(steps, key=shares.__getitem__, default=None)


def _add(
    found: dict[SeriesKey, History],
    run: PipelineRun,
    job: RunRecord,
    parts: Mapping[SeriesKey, float],
    *,
    newest_first: bool,
) -> None:
    history = found.setdefault((job.job_id, ""), History(job.job_id))
    history.points.append(
        Point(
            run_id=run.pipeline_run_id,
            at=run.started_at,
            # With errors, a part of its commits failed: it did not do all of its work.
            status=Status.FAILURE if job.status is Status.PARTIAL and job.errors else job.status,
            whole=job.has_landed,
            duration_ms=job.duration_ms,
            rows=job.rows_written or job.rows_read,
            queue_ms=job.queue_ms,
            share=parts.get((job.job_id, ""), 0.0),
            usage=job.warehouse,
        )
    )
    for timing in job.step_timings:
        key = (job.job_id, timing.step_id)
        history = found.setdefault(key, History(*key, timing.op))
        if not newest_first:
            history.op = timing.op  # as it is now, should it have been another
        history.points.append(_step_point(run, job, timing, parts.get(key, 0.0)))


def _step_point(run: PipelineRun, job: RunRecord, timing: StepTiming, share: float) -> Point:
    return Point(
        run_id=run.pipeline_run_id,
        at=run.started_at,
        status=timing.status,
        whole=job.has_landed and timing.status in (Status.SUCCESS, Status.PARTIAL),
        duration_ms=timing.duration_ms,
        rows=rows_of(timing),
        share=share,
        usage=timing.warehouse,
    )


def rows_of(timing: StepTiming) -> int:
    """Return how many rows a step handled: what it read or wrote, else the greater of what came in and went out."""
    for rows in (timing.rows_read, timing.rows_written):
        if rows is not None:
            return rows
    return max(timing.rows_in, timing.rows_out)


def _jobs_first(found: Mapping[SeriesKey, History]) -> dict[SeriesKey, History]:
    order = {job_id: number for number, (job_id, step_id) in enumerate(found) if not step_id}
    return dict(sorted(found.items(), key=lambda item: (order[item[0][0]], bool(item[0][1]))))


def usual_length(runs: Iterable[PipelineRun]) -> float | None:
    """Return the median milliseconds of the runs that succeeded and did all of their work; None where none did."""
    lengths = [run.duration_ms for run in runs if run.status is Status.SUCCESS and run.is_whole]
    return median(lengths) if lengths else None


def failure_causes(runs: Sequence[PipelineRun]) -> Counter[str]:
    """Count errors of jobs by category, and those of runs that none of their jobs has, too: a run that was killed and
    the job that it was in tell of one crash. `skipped` is no cause, but what another one had for a result.
    """
    causes: Counter[str] = Counter()
    for run in runs:
        of_jobs = Counter(error.category for job in run.jobs for error in job.errors)
        causes += of_jobs
        causes.update(error.category for error in run.errors if error.category not in of_jobs)
    del causes["skipped"]
    return causes
