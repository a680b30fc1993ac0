"""Tells the figures of each job after its end, and of each stage after its last job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from runner.analysis.performance import job_performance, stage_performance
from runner.clock import monotonic_ns
from runner.events import Event, JobFinished, JobStarted
from runner.records import RunRecord, Status
from runner.specs import PlannedStage, RunPlan


@dataclass(slots=True)
class _Open:
    """A stage some of whose jobs have not ended."""

    stage: PlannedStage
    left: set[str]
    began_ns: int | None = None
    records: list[RunRecord] = field(default_factory=list)


class Figures:
    """Passes the events of a run on to `emit`, and after those that end something the figures of it."""

    def __init__(self, plan: RunPlan, run_id: str, emit: Callable[[Event], None]) -> None:
        self._run_id = run_id
        self._emit = emit
        self._kinds = {job.job_id: job.spec.event for job in plan.jobs}
        self._stage_of: dict[str, _Open] = {}
        for stage in plan.stages:
            self._stage_of |= dict.fromkeys(stage.jobs, _Open(stage, set(stage.jobs)))

    def emit(self, event: Event) -> None:
        """Pass one event on."""
        self._emit(event)
        if isinstance(event, JobStarted):
            self._started(event.job_id)
        elif isinstance(event, JobFinished):
            self._finished(event.record)

    def _started(self, job_id: str) -> None:
        found = self._stage_of.get(job_id)
        if found is not None and found.began_ns is None:
            found.began_ns = monotonic_ns()

    def _finished(self, record: RunRecord) -> None:
        if record.status is not Status.SKIPPED:
            self._emit(job_performance(record, self._kinds[record.job_id]))
        found = self._stage_of.get(record.job_id)
        if found is None:
            return
        found.left.discard(record.job_id)
        found.records.append(record)
        if not found.left:
            self._tell(found)

    def _tell(self, ended: _Open) -> None:
        stage, began_ns = ended.stage, ended.began_ns
        duration_ms = 0.0 if began_ns is None else round((monotonic_ns() - began_ns) / 1e6, 3)
        self._emit(
            stage_performance(
                run_id=self._run_id,
                kind=stage.event,
                stage=stage.name,
                group=stage.group,
                jobs=ended.records,
                max_workers=stage.max_workers,
                duration_ms=duration_ms,
            )
        )
