"""What the recorded runs of one pipeline or job tell together: times, trends, shares, failures, rates, costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any

from runner.analysis.history import History, failure_causes, histories
from runner.analysis.quantiles import median, p95
from runner.analysis.trend import Trend, trend
from runner.clock import format_utc
from runner.records import PipelineRun, Status
from runner.run_store import FileRunStore
from runner.usage import AMOUNTS, Usage, summed

STATS_SCHEMA = "run-pipeline/stats.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Durations in milliseconds of what succeeded: how many, typical, and long; None where there is none.

    `since` is the run with which the trend's second level begins.
    """

    count: int
    p50_ms: float | None
    p95_ms: float | None
    trend: Trend
    since: datetime | None

    @classmethod
    def of(cls, durations: Sequence[float], times: Sequence[datetime]) -> Times:
        """Sum up durations, oldest first, and the times of their runs."""
        found = trend(durations)
        return cls(
            count=len(durations),
            p50_ms=median(durations) if durations else None,
            p95_ms=p95(durations) if durations else None,
            trend=found,
            since=None if found.since is None else times[found.since],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "count": self.count,
            "p50_ms": self.p50_ms,
            "p95_ms": self.p95_ms,
            "trend": {**self.trend.to_dict(), "since": format_utc(self.since) if self.since else None},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A job (`step_id` "") or a step.

    `share` is its mean part (0 to 1) of the runs' critical paths, `failures` counts runs in which it failed, `queue_ms`
    is the median wait for a slot. `usage`: the median of each amount that its queries used, where the warehouse tells.
    """

    job_id: str
    step_id: str
    op: str
    times: Times
    share: float
    failures: int
    queue_ms: float
    rows_per_second: float | None
    usage: Usage | None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "job_id": self.job_id,
            "step_id": self.step_id,
            "op": self.op,
            **self.times.to_dict(),
            "share": self.share,
            "failures": self.failures,
            "queue_p50_ms": self.queue_ms,
            "rows_per_second": self.rows_per_second,
            "usage": dict(self.usage) if self.usage else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """All of it. `parts` has each job before its steps, jobs with the greatest share first. `is_cut`: there are more
    runs, older ones, in the time that was asked for.
    """

    name: str
    first: datetime | None
    last: datetime | None
    statuses: Mapping[str, int]
    partial_work: int
    times: Times
    rows_per_second: float | None
    causes: Mapping[str, int]
    usage: Usage | None
    parts: tuple[Part, ...]
    is_cut: bool = False

    @property
    def runs(self) -> int:
        """How many runs it is about."""
        return sum(self.statuses.values())

    @property
    def bottleneck(self) -> Part | None:
        """The step with the greatest share of the critical paths."""
        steps = [part for part in self.parts if part.step_id and part.share > 0]
        return max(steps, key=lambda part: part.share, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        bottleneck = self.bottleneck
        return {
            "schema": STATS_SCHEMA,
            "name": self.name,
            "runs": self.runs,
            "is_cut": self.is_cut,
            "first": format_utc(self.first) if self.first else None,
            "last": format_utc(self.last) if self.last else None,
            "statuses": dict(self.statuses),
            "partial_work": self.partial_work,
            **self.times.to_dict(),
            "rows_per_second": self.rows_per_second,
            "bottleneck": [bottleneck.job_id, bottleneck.step_id] if bottleneck else None,
            "failure_causes": dict(self.causes),
            "usage": dict(self.usage) if self.usage else None,
            "parts": [part.to_dict() for part in self.parts],
        }


def measure(
    store: FileRunStore, name: str, *, since: datetime | None = None, runs: int | None = None
) -> Statistics:
    """Sum up the runs of `name` that have ended: those since a time (UTC), at most the newest `runs`."""
    ended = (run for run in store.scan(name=name, since=since, jobs=True) if run.status is not Status.RUNNING)
    found = sum_up(name, islice(ended, runs))
    return replace(found, is_cut=runs is not None and next(ended, None) is not None)


def sum_up(name: str, newest_first: Iterable[PipelineRun]) -> Statistics:
    """Sum up ended runs. The times of retries and rescores are left out: they did only a part.

    Of each run only figures are kept: the records of ten thousand runs of twenty jobs would take half a gigabyte.
    """
    runs: list[PipelineRun] = []
    causes: Counter[str] = Counter()

    def whole_runs() -> Iterator[PipelineRun]:
        for run in newest_first:
            runs.append(run.without_jobs())
            causes.update(failure_causes([run]))
            if run.is_whole:
                yield run

    series = histories(whole_runs(), newest_first=True)
    runs.reverse()
    whole = [run for run in runs if run.is_whole]
    succeeded = [run for run in whole if run.status is Status.SUCCESS]
    rates = [
        run.rows_written * 1000 / run.duration_ms for run in succeeded if run.rows_written and run.duration_ms
    ]
    return Statistics(
        name=name,
        first=runs[0].started_at if runs else None,
        last=runs[-1].started_at if runs else None,
        statuses=Counter(run.status.value for run in runs),
        partial_work=len(runs) - len(whole),
        times=Times.of([run.duration_ms for run in succeeded], [run.started_at for run in succeeded]),
        rows_per_second=median(rates) if rates else None,
        causes=dict(causes.most_common()),
        usage=summed(run.warehouse for run in runs),
        parts=tuple(_parts(series.values())),
    )


def _parts(found: Iterable[History]) -> Iterable[Part]:
    jobs: dict[str, list[Part]] = {}
    for history in found:
        jobs.setdefault(history.job_id, []).append(_part(history))
    for parts in sorted(jobs.values(), key=lambda parts: -parts[0].share):
        yield from parts


def _part(history: History) -> Part:
    good = history.successes
    waits = [point.queue_ms for point in history.points]
    return Part(
        job_id=history.job_id,
        step_id=history.step_id,
        op=history.op,
        times=Times.of([point.duration_ms for point in good], [point.at for point in good]),
        share=history.share,
        failures=sum(point.status in (Status.FAILURE, Status.CRASHED) for point in history.points),
        queue_ms=median(waits) if waits else 0.0,
        rows_per_second=history.rows_per_second,
        usage=_typical([point.usage for point in good if point.usage]),
    )


def _typical(usages: Sequence[Usage]) -> Usage | None:
    """The median of each amount that is told at all."""
    typical = {}
    for name in ("queries", *AMOUNTS):
        amounts = [usage[name] for usage in usages if usage.get(name) is not None]
        if amounts:
            typical[name] = median(amounts)
    return typical or None
