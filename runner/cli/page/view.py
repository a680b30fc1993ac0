"""What a page tells of a run, worked out once by `runner.analysis`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from runner.analysis.critical_path import CriticalPath, critical_path
from runner.analysis.history import History, SeriesKey, bottleneck_of, histories, shares_of, usual_length
from runner.analysis.quantiles import median
from runner.analysis.timeline import Timeline, timeline
from runner.records import PipelineRun


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run, and the runs of the same name up to it.

    `runs` are oldest first, with their jobs, and end with `run`. `series` are of all of them, `shares` of `run` alone:
    the parts of it that jobs and steps took on the critical path. `usual` are the median milliseconds of each job's and
    step's successes in the runs before it, `usual_run_ms` those of the runs. `whole_ms` is the time that its picture
    shows: the run, and as far as the usual length of a bar reaches beyond it.
    """

    run: PipelineRun
    runs: tuple[PipelineRun, ...]
    bars: Timeline
    path: CriticalPath
    series: Mapping[SeriesKey, History]
    shares: Mapping[SeriesKey, float]
    usual: Mapping[SeriesKey, float]
    usual_run_ms: float | None
    whole_ms: float

    def usual_ms(self, job_id: str, step_id: str = "") -> float | None:
        """Return the median duration of a job's or step's successes in the runs before this one, if there are any."""
        return self.usual.get((job_id, step_id))

    def share(self, job_id: str, step_id: str = "") -> float:
        """Return the part (0 to 1) of this run that a job or step took on the critical path."""
        return self.shares.get((job_id, step_id), 0.0)

    @property
    def bottleneck(self) -> SeriesKey | None:
        """The step that took the greatest part of the run on the critical path; None where no step did."""
        return bottleneck_of(self.shares)


def view_of(run: PipelineRun, before: Sequence[PipelineRun], *, now: datetime) -> RunView:
    """Return what is to be told of `run` beside the runs `before` it (oldest first, with their jobs).

    `now` (aware UTC) is how far a run that goes on reaches. Retries and rescores before it did only a part of the work:
    their times are not compared.
    """
    bars = timeline(run, now=now)
    path = critical_path(run, bars)
    comparable = [each for each in before if each.is_whole]
    earlier, own = histories(comparable), histories([run])
    usual = {key: median(each) for key, history in earlier.items() if (each := history.durations)}
    reach = [bar.start_ms + usual.get((bar.job_id, ""), 0.0) for bar in bars.bars]
    return RunView(
        run=run,
        runs=(*before, run),
        bars=bars,
        path=path,
        series=_joined(earlier, own),
        shares=shares_of(run, path),
        usual=usual,
        usual_run_ms=usual_length(comparable),
        whole_ms=max(bars.duration_ms, *reach, 0.0),
    )


def _joined(
    earlier: Mapping[SeriesKey, History], own: Mapping[SeriesKey, History]
) -> Mapping[SeriesKey, History]:
    """The histories of all runs out of those of the runs before and of the last one."""
    runs = sum(next((history.runs for history in part.values()), 0) for part in (earlier, own))
    joined = {}
    for key in {**earlier, **own}:
        parts = [part[key] for part in (earlier, own) if key in part]
        points = [point for part in parts for point in part.points]
        joined[key] = History(*key, parts[-1].op, points, runs)
    return joined
