"""What a run leaves behind: PipelineRun > RunRecord (one a job) > StepTiming, PerformanceIndicators.

Plain data: they neither render nor store themselves. `to_dict` gives JSON-ready values (times as RFC 3339
text), `from_dict` reads them back, and reads records of older versions: unknown keys are ignored, missing
ones take their default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple, Self

from runner.clock import format_utc, parse_utc
from runner.errors import RunFailed, category_of
from runner.usage import summed

PIPELINE_RUN_SCHEMA = "run-pipeline/pipeline-run.v1"


class Status(StrEnum):
    """Where a step, job or run stands. See DESIGN for which of them each may have."""

    SUCCESS = "success"
    FAILURE = "failure"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    PARTIAL = "partial"
    RUNNING = "running"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """One error of a job: its category word, text, and the step it came from ("" for the job itself)."""

    category: str
    message: str
    type: str = ""
    step_id: str = ""

    @classmethod
    def of(cls, error: BaseException, step_id: str = "") -> Self:
        """Describe an exception; `step_id` is where it came from."""
        name = type(error).__name__
        return cls(category=category_of(error), message=str(error) or name, type=name, step_id=step_id)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {name: getattr(self, name) for name in ("category", "message", "type", "step_id")}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | str) -> Self:
        """Read `to_dict`'s form, or the bare text that the oldest records carry."""
        if isinstance(data, str):
            return cls(category="unknown", message=data)
        return cls(**_known(cls, data))


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningInfo:
    """One warning of a job: the code of its notice, its text, and the step that it is about ("" for the job itself)."""

    code: str
    message: str
    step_id: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {"code": self.code, "message": self.message, "step_id": self.step_id}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read `to_dict`'s form."""
        return cls(**_known(cls, data))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTiming:
    """One step of one job run.

    `duration_ms` is exclusive time: the step's own, without waiting on the one before, so that the steps of a
    job sum to the job. `busy_ms` is worker time and may exceed it (process workers). `rows_read` is set for
    `read`, `extract` and queries of `sql`, `rows_written` for `write` and `sql` with writes; `rows_in`/`rows_out` for
    whatever flowed through. `warehouse`: what its queries used over all attempts (`runner.usage`), and their ids.

    `first_ms` and `last_ms` are when it was first asked and when it last worked, in milliseconds from the start of its
    job; in between other steps worked, too. None for a step that was never asked, and in old records.
    """

    step_id: str
    op: str = ""
    status: Status = Status.SUCCESS
    duration_ms: float = 0
    busy_ms: float = 0
    rows_read: int | None = None
    rows_written: int | None = None
    rows_in: int = 0
    rows_out: int = 0
    batches: int = 0
    attempts: int = 1
    first_ms: float | None = None
    last_ms: float | None = None
    warehouse: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data; rows, `first_ms`, `last_ms` and `warehouse` only where they apply."""
        data: dict[str, Any] = {
            "step_id": self.step_id,
            "op": self.op,
            "status": self.status.value,
            "duration_ms": self.duration_ms,
            "busy_ms": self.busy_ms,
        }
        for name in ("rows_read", "rows_written"):
            if (value := getattr(self, name)) is not None:
                data[name] = value
        data.update(
            rows_in=self.rows_in, rows_out=self.rows_out, batches=self.batches, attempts=self.attempts
        )
        if self.first_ms is not None:
            data.update(first_ms=self.first_ms, last_ms=self.last_ms)
        if self.warehouse:
            data["warehouse"] = dict(self.warehouse)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read `to_dict`'s form."""
        known = _known(cls, data)
        if "status" in known:
            known["status"] = Status(known["status"])
        return cls(**known)


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceIndicators:
    """Four figures that say how a job did, by the definitions of DESIGN (traps T7 to T9): `from_timings`."""

    query_efficiency: str
    transform_throughput: float
    write_throughput: float
    bottleneck_step: str | None

    @classmethod
    def from_timings(cls, timings: Sequence[StepTiming]) -> Self:
        """Derive the indicators from step timings.

        query_efficiency: summed duration of `read` steps, under 5,000 ms good, under 15,000 moderate, else
        poor. transform_throughput: rows that left the last `call`, per second in calls. write_throughput:
        rows written per second in writes. 0 where there is no time. bottleneck_step: the longest, the first
        of equals.
        """
        read_ms = sum(t.duration_ms for t in timings if t.op == "read")
        calls = [t for t in timings if t.op == "call"]
        writes = [t for t in timings if t.op == "write"]
        longest = max(timings, key=lambda t: t.duration_ms, default=None)
        return cls(
            query_efficiency="good" if read_ms < 5_000 else "moderate" if read_ms < 15_000 else "poor",
            transform_throughput=_per_second(calls[-1].rows_out if calls else 0, calls),
            write_throughput=_per_second(sum(t.rows_written or 0 for t in writes), writes),
            bottleneck_step=longest.step_id if longest else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "query_efficiency": self.query_efficiency,
            "transform_throughput": self.transform_throughput,
            "write_throughput": self.write_throughput,
            "bottleneck_step": self.bottleneck_step,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read `to_dict`'s form."""
        return cls(**_known(cls, data))


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
        known = _known(cls, data)
        known["status"] = _status(known["status"])
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


class Totals(NamedTuple):
    """What the jobs of a run did, added up."""

    rows_read: int
    rows_written: int
    warehouse: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRegression:
    """A step that took longer than in `runs` runs before: `is_ms` instead of their median `was_ms`, `ratio` times."""

    job_id: str
    step_id: str
    was_ms: float
    is_ms: float
    ratio: float
    runs: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            name: getattr(self, name) for name in ("job_id", "step_id", "was_ms", "is_ms", "ratio", "runs")
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read `to_dict`'s form."""
        return cls(**_known(cls, data))


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRun:
    """One execution of a pipeline, or of a single job (a run of one). `jobs` is in the order of the plan.

    `duration_ms` is the run itself; `setup_ms` is what came before it: reading and checking files, opening the
    warehouse, looking at its tables. `params` are the parameters that it was given, as texts. `retry_of` is the run
    that it retries. `rescore`: it took rows of its targets as absent. `notify`: people may be told how it ended.
    `trace_id` is 32 hex digits ("" in records of old versions). `peak_memory_bytes` is the most memory that its process
    held, or its largest worker process if that held more; None where it is not known. `regressions` are the steps that
    got slower, the most first.

    `barriers` are the ends of stages and sub-pipelines, by id with the jobs and barriers that they consist of: what
    `RunRecord.waits_for` names besides jobs. They belong to the jobs, and are left out with them.

    `totals` are the sums over the jobs of a run whose jobs were left out (`without_jobs`), None otherwise.
    """

    pipeline_run_id: str
    pipeline_id: str
    status: Status
    started_at: datetime
    completed_at: datetime | None = None
    duration_ms: float = 0
    setup_ms: float = 0
    max_workers: int | None = None
    as_of: datetime | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    retry_of: str | None = None
    rescore: bool = False
    notify: bool = True
    trace_id: str = ""
    peak_memory_bytes: int | None = None
    errors: tuple[ErrorInfo, ...] = ()
    regressions: tuple[StepRegression, ...] = ()
    jobs: tuple[RunRecord, ...] = field(default=())
    barriers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    totals: Totals | None = None

    @property
    def rows_read(self) -> int:
        """Rows that the jobs' `read` and `extract` steps brought in."""
        return self.totals.rows_read if self.totals else sum(job.rows_read for job in self.jobs)

    @property
    def rows_written(self) -> int:
        """Rows that the jobs' writes landed."""
        return self.totals.rows_written if self.totals else sum(job.rows_written for job in self.jobs)

    @property
    def warehouse(self) -> Mapping[str, Any] | None:
        """What the queries of the jobs' steps used, added up; None where the warehouse tells nothing."""
        return self.totals.warehouse if self.totals else summed(job.warehouse for job in self.jobs)

    @property
    def owed(self) -> tuple[str, ...]:
        """Ids of the jobs that did not do all of their work, in the order of the plan. One that only put rows into
        quarantine, within its limit, did.
        """
        return tuple(job.job_id for job in self.jobs if not job.has_landed)

    def without_jobs(self) -> Self:
        """Return the run as lists of runs show it: no jobs, but what they did still counted."""
        return replace(
            self, jobs=(), barriers={}, totals=Totals(self.rows_read, self.rows_written, self.warehouse)
        )

    def raise_for_status(self) -> Self:
        """Return the run if it succeeded; raise `RunFailed` if anything in it failed or it was cancelled."""
        if self.status is not Status.SUCCESS:
            raise RunFailed(self)
        return self

    def to_dict(self, *, jobs: bool = True) -> dict[str, Any]:
        """Return JSON-ready data with its schema name; `jobs=False` leaves the job records out."""
        data: dict[str, Any] = {
            "schema": PIPELINE_RUN_SCHEMA,
            "pipeline_run_id": self.pipeline_run_id,
            "pipeline_id": self.pipeline_id,
            "status": self.status.value,
            "started_at": format_utc(self.started_at),
            "completed_at": format_utc(self.completed_at) if self.completed_at else None,
            "duration_ms": self.duration_ms,
            "rows_read": self.rows_read,
            "rows_written": self.rows_written,
            "setup_ms": self.setup_ms,
            "max_workers": self.max_workers,
            "as_of": format_utc(self.as_of) if self.as_of else None,
            "params": dict(self.params),
            "retry_of": self.retry_of,
            "rescore": self.rescore,
            "notify": self.notify,
            "trace_id": self.trace_id,
            "peak_memory_bytes": self.peak_memory_bytes,
            "errors": [error.to_dict() for error in self.errors],
        }
        if self.regressions:
            data["regressions"] = [regression.to_dict() for regression in self.regressions]
        if usage := self.warehouse:
            data["warehouse"] = dict(usage)
        if jobs:
            data["jobs"] = [job.to_dict() for job in self.jobs]
            data["barriers"] = {name: list(members) for name, members in self.barriers.items()}
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read `to_dict`'s form."""
        known = _known(cls, data)
        known["status"] = _status(known["status"])
        for name in ("started_at", "completed_at", "as_of"):
            if known.get(name):
                known[name] = parse_utc(known[name])
        known["errors"] = tuple(ErrorInfo.from_dict(error) for error in known.get("errors", ()))
        known["regressions"] = tuple(StepRegression.from_dict(item) for item in known.get("regressions", ()))
        if "jobs" not in known:
            known["totals"] = Totals(
                data.get("rows_read", 0), data.get("rows_written", 0), data.get("warehouse")
            )
        known["jobs"] = tuple(RunRecord.from_dict(job) for job in known.get("jobs", ()))
        known["barriers"] = {name: tuple(ids) for name, ids in known.get("barriers", {}).items()}
        return cls(**known)


def run_status(jobs: Sequence[RunRecord]) -> Status:
    """Fold the outcomes of a run's jobs into the run's own.

    Nothing failed: success. Something was cancelled: cancelled. Something failed: partial where another job
    succeeded, else failure. A `partial` job has failed if it carries errors (a later commit failed); one that
    only put rows into quarantine, within its limit, has not.
    """
    if any(job.status is Status.CANCELLED for job in jobs):
        return Status.CANCELLED
    if not any(job.status is Status.FAILURE or (job.status is Status.PARTIAL and job.errors) for job in jobs):
        return Status.SUCCESS
    landed = any(job.status in (Status.SUCCESS, Status.PARTIAL) for job in jobs)
    return Status.PARTIAL if landed else Status.FAILURE


def _per_second(rows: int, timings: Sequence[StepTiming]) -> float:
    duration_ms = sum(t.duration_ms for t in timings)
    return round(rows * 1000 / duration_ms, 2) if duration_ms > 0 else 0.0


def _status(word: str) -> Status:
    return Status({"failed": "failure", "succeeded": "success"}.get(word, word))


def _known(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    names = _field_names(cls)
    if data.keys() <= names:  # as this version writes it: a question about many runs reads many thousands
        return dict(data)
    return {name: value for name, value in data.items() if name in names}


@cache
def _field_names(cls: type) -> frozenset[str]:
    return frozenset(f.name for f in fields(cls))
