"""How long runs would take with another number of workers: recorded times, put through the real scheduler.

Each job is taken to last as long as the median of its recorded successes, however many run beside it. Where jobs hold
each other up (one database, one core, one target table), more workers bring less than is said here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.analysis.critical_path import CriticalPath, critical_path
from runner.analysis.history import histories
from runner.analysis.quantiles import median
from runner.analysis.timeline import Bar, timeline
from runner.errors import UsageError
from runner.operations.what_if.simulated import simulate
from runner.records import PipelineRun, Status
from runner.specs.plan import RunPlan

WHAT_IF_SCHEMA = "run-pipeline/what-if.v1"
MAX_WORKERS = 1000
"""As many as anybody can ask for."""

PlanWith = Callable[[int | None], RunPlan]
"""Makes the plan of a run with so many workers; None: as the settings and the pipeline have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A run with `max_workers` (None: as it is declared). `stages_ms`: by group of jobs, from ready to ended."""

    max_workers: int | None
    duration_ms: float
    stages_ms: Mapping[str, float]
    path: CriticalPath

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "max_workers": self.max_workers,
            "duration_ms": self.duration_ms,
            "stages_ms": dict(self.stages_ms),
            "critical_path": self.path.to_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """What was recorded (medians of `runs` successful runs; whole runs and stages of those with the workers that are
    declared, if there are any), and what is predicted.

    `unlimited` has no bound on workers (queues still have theirs). `unknown` are jobs without a recorded success: they
    are taken to last no time. `engine_ms` is what the runs took beside their jobs; it is part of every prediction.
    """

    name: str
    runs: int
    recorded_ms: float
    recorded_stages_ms: Mapping[str, float]
    engine_ms: float
    unknown: tuple[str, ...]
    declared: Prediction
    unlimited: Prediction
    asked: tuple[Prediction, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "schema": WHAT_IF_SCHEMA,
            "name": self.name,
            "runs": self.runs,
            "recorded": {"duration_ms": self.recorded_ms, "stages_ms": dict(self.recorded_stages_ms)},
            "engine_ms": self.engine_ms,
            "unknown": list(self.unknown),
            "declared": self.declared.to_dict(),
            "unlimited": self.unlimited.to_dict(),
            "predictions": [prediction.to_dict() for prediction in self.asked],
        }


@dataclass(frozen=True, slots=True)
class _Past:
    """What a run that succeeded as a whole tells of runs."""

    max_workers: int | None
    duration_ms: float
    engine_ms: float
    stages_ms: Mapping[str, float]


def what_if(
    name: str,
    newest_first: Iterable[PipelineRun],
    plan_with: PlanWith,
    queues: Mapping[str, int],
    workers: Sequence[int],
) -> WhatIf:
    """Predict runs of `name` with each number of `workers` from recorded runs.

    Retries, rescores and runs that did not succeed as a whole tell of jobs, not of runs. Raises `UsageError` where no
    run succeeded.
    """
    past: list[_Past] = []
    series = histories(_told(newest_first, past), newest_first=True)
    if not past:
        raise UsageError(f"no run of {name!r} has succeeded in that time: there is nothing to predict from")
    lasting = {
        job_id: median(history.durations)
        for (job_id, step_id), history in series.items()
        if not step_id and history.durations
    }
    engine_ms = median([each.engine_ms for each in past])

    def predicted(max_workers: int | None) -> Prediction:
        return predict(plan_with(max_workers), queues, lasting, engine_ms, max_workers)

    declared = plan_with(None)
    # Runs with another --max-workers tell how long jobs last, but not how long such runs do.
    alike = [each for each in past if each.max_workers == declared.max_workers] or past
    return WhatIf(
        name=name,
        runs=len(past),
        recorded_ms=median([each.duration_ms for each in alike]),
        recorded_stages_ms=_medians([each.stages_ms for each in alike]),
        engine_ms=engine_ms,
        unknown=tuple(job.job_id for job in declared.jobs if job.job_id not in lasting),
        declared=predict(declared, queues, lasting, engine_ms, None),
        unlimited=predicted(MAX_WORKERS),
        asked=tuple(predicted(number) for number in workers),
    )


def _told(runs: Iterable[PipelineRun], past: list[_Past]) -> Iterator[PipelineRun]:
    """Yield the runs that tell of jobs, and note of those that tell of runs, too, what they do."""
    for run in runs:
        if not run.is_whole:
            continue
        if run.status is Status.SUCCESS:
            engine_ms = critical_path(run).time_of("engine")
            past.append(_Past(run.max_workers, run.duration_ms, engine_ms, stages_of(run)))
        yield run


def predict(
    plan: RunPlan,
    queues: Mapping[str, int],
    milliseconds: Mapping[str, float],
    engine_ms: float,
    max_workers: int | None,
) -> Prediction:
    """Predict one run of a plan whose jobs last so long."""
    run = simulate(plan, queues, milliseconds)
    return Prediction(
        max_workers=max_workers,
        duration_ms=run.duration_ms + engine_ms,
        stages_ms=stages_of(run),
        path=critical_path(run),
    )


def stages_of(run: PipelineRun) -> dict[str, float]:
    """Return how long each group of jobs took, from when its first was ready to the end of its last."""
    groups: dict[str, list[Bar]] = {}
    for bar in timeline(run, steps=False).bars:
        groups.setdefault(bar.group, []).append(bar)
    return {
        group: max(bar.end_ms for bar in bars) - min(bar.ready_ms for bar in bars)
        for group, bars in groups.items()
    }


def _medians(stages: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for each in stages for name in each)
    return {name: median([each[name] for each in stages if name in each]) for name in names}
