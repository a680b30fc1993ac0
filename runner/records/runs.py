"""One run, with its jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, Self

from runner.clock import format_utc, parse_utc
from runner.errors import RunFailed
from runner.records.jobs import RunRecord
from runner.records.notes import ErrorInfo
from runner.records.reading import Status, known_fields, status_of
from runner.records.timings import StepRegression
from runner.usage import summed

PIPELINE_RUN_SCHEMA = "run-pipeline/pipeline-run.v1"


class Totals(NamedTuple):
    """What the jobs of a run did, added up."""

    rows_read: int
    rows_written: int
    warehouse: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRun:
    """One execution of a pipeline, or of a single job (a run of one). `jobs` is in the order of the plan.

    `duration_ms` is the run itself (`until`: of one that goes on); `setup_ms` is what came before it: reading and
    checking files, opening the warehouse, looking at its tables. `params` are the parameters that it was given, as
    texts. `retry_of` is the run that it retries. `rescore`: it took rows of its targets as absent. `notify`: people may
    be told how it ended.
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
    def is_whole(self) -> bool:
        """Whether it was to do all of its work as it comes: what retries and rescores take measures no others."""
        return not self.retry_of and not self.rescore

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

    def until(self, now: datetime) -> Self:
        """Return a run that goes on, and its running jobs, as long as they have taken up to `now` (aware UTC): what
        their events tell of it ends with the last of them.
        """
        if self.status is not Status.RUNNING:
            return self
        jobs = tuple(
            replace(job, duration_ms=_longer(job.duration_ms, job.started_at, now))
            if job.status is Status.RUNNING and job.started_at is not None
            else job
            for job in self.jobs
        )
        return replace(self, duration_ms=_longer(self.duration_ms, self.started_at, now), jobs=jobs)

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
        known = known_fields(cls, data)
        known["status"] = status_of(known["status"])
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


def _longer(duration_ms: float, since: datetime, now: datetime) -> float:
    """Milliseconds from one time to another; never less than is known: the clock may have been set back."""
    return max(duration_ms, round((now - since).total_seconds() * 1000, 3))


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
