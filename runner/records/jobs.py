"""One job of one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from runner.clock import format_utc, parse_utc
from runner.records.notes import ErrorInfo, WarningInfo
from runner.records.reading import Status, known_fields, status_of
from runner.records.timings import PerformanceIndicators, StepTiming


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One job of one run. Times are aware UTC; durations are monotonic milliseconds.

    `queue_ms` is how long the job was ready but waited for a slot of its `queue`, its stages and the run. `waits_for`
    are ids of the jobs and barriers that it came after, `needs` those of them that had to land for it to run.
    `trace_id` is that of its run ("" in records of old versions). `rows_read` is what its `read` and
    `extract` steps and queries brought in (T7), `rows_written` what its writes and statements landed. `warehouse`: what
    the queries of its steps used, added up.
    """

    run_id: str
    job_id: str
    pipeline_run_id: str = ""
    group: str = ""
    queue: str = ""
    waits_for: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    trace_id: str = ""
    status: Status
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration_ms: float = 0
    queue_ms: float = 0
    rows_read: int = 0
    rows_written: int = 0
    rows_quarantined: int = 0
    errors: tuple[ErrorInfo, ...] = ()
    warnings: tuple[WarningInfo, ...] = ()
    step_timings: tuple[StepTiming, ...] = ()
    performance_indicators: PerformanceIndicators | None = None
    warehouse: Mapping[str, Any] | None = None

    @property
    def has_landed(self) -> bool:
        """Whether all that the job had to do is done."""
        return self.status is Status.SUCCESS or (self.status is Status.PARTIAL and not self.errors)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data, without `waits_for`, `needs`, `warnings`, `step_timings`, `performance_indicators`,
        `warehouse` if there are none.
        """
        data: dict[str, Any] = {
            "run_id": self.run_id,
            "job_id": self.job_id,
            "pipeline_run_id": self.pipeline_run_id,
            "trace_id": self.trace_id,
            "group": self.group,
            "queue": self.queue,
            "status": self.status.value,
            "started_at": format_utc(self.started_at) if self.started_at else None,
            "completed_at": format_utc(self.completed_at) if self.completed_at else None,
            "duration_ms": self.duration_ms,
            "queue_ms": self.queue_ms,
            "rows_read": self.rows_read,
            "rows_written": self.rows_written,
            "rows_quarantined": self.rows_quarantined,
            "errors": [error.to_dict() for error in self.errors],
        }
        for name in ("waits_for", "needs"):
            if ids := getattr(self, name):
                data[name] = list(ids)
        if self.warnings:
            data["warnings"] = [warning.to_dict() for warning in self.warnings]
        if self.step_timings:
            data["step_timings"] = [timing.to_dict() for timing in self.step_timings]
        if self.performance_indicators:
            data["performance_indicators"] = self.performance_indicators.to_dict()
        if self.warehouse:
            data["warehouse"] = dict(self.warehouse)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read `to_dict`'s form, or an older record's (`failed` for `failure`, errors as texts)."""
        known = known_fields(cls, data)
        known["status"] = status_of(known["status"])
        for name in ("started_at", "completed_at"):
            if known.get(name):
                known[name] = parse_utc(known[name])
        for name in ("waits_for", "needs"):
            known[name] = tuple(known.get(name, ()))
        known["errors"] = tuple(ErrorInfo.from_dict(error) for error in known.get("errors", ()))
        known["warnings"] = tuple(WarningInfo.from_dict(warning) for warning in known.get("warnings", ()))
        known["step_timings"] = tuple(StepTiming.from_dict(t) for t in known.get("step_timings", ()))
        if known.get("performance_indicators"):
            known["performance_indicators"] = PerformanceIndicators.from_dict(known["performance_indicators"])
        return cls(**known)
