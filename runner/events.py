"""What happened, as frozen values. The recorder writes them, one fold over them makes the records.

Every event has an id (ULID) and an aware UTC time of its own; `run_id` is the pipeline run, `job_run_id` the
run of one job ("" where the event is about the run as a whole). `event_type` is the word that stands in
`events.jsonl` and in `ops.event_log`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar

from runner.clock import format_utc, parse_utc, utc_now
from runner.errors import RunPipelineError
from runner.ids import new_ulid
from runner.records import ErrorInfo, RunRecord, Status, StepTiming


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Root of all events. `durable` events are written; the others only reach live observers."""

    event_type: ClassVar[str]
    durable: ClassVar[bool] = True

    run_id: str
    event_id: str = field(default_factory=new_ulid)
    timestamp: datetime = field(default_factory=utc_now)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A run began. `jobs` are (job_id, group) in plan order, so that a crashed run knows what it owed.

    `setup_ms` is what came before the run: reading and checking files, opening the warehouse, looking at tables.
    `params` are the parameters that it was given, as texts; `retry_of` is the run that it retries; `rescore`: it takes
    rows of its targets as absent, which a plain run of its jobs would not; `notify`: people may be told how it ends.

    The order of the plan: `waits_for` has, for jobs that wait for any, the ids of the jobs and barriers that they come
    after, `needs` those of them that have to land; `barriers` the ends of stages and sub-pipelines with the ids that
    they consist of; `queues` the queue of each job. `trace_id` is 32 hex digits; `parent_span_id` (16, or "") is the
    caller's span that the run is a part of.
    """

    event_type: ClassVar[str] = "run.started"

    name: str
    jobs: tuple[tuple[str, str], ...]
    max_workers: int | None
    as_of: datetime
    params: Mapping[str, str] = field(default_factory=dict)
    retry_of: str | None = None
    rescore: bool = False
    notify: bool = True
    setup_ms: float = 0
    queues: Mapping[str, str] = field(default_factory=dict)
    waits_for: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    barriers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    trace_id: str = ""
    parent_span_id: str = ""
    version: str = ""
    host: str = ""
    pid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted(Event):
    """A job got its slots and began, after `queue_ms` of waiting for them."""

    event_type: ClassVar[str] = "job.started"

    job_run_id: str
    job_id: str
    group: str = ""
    queue_ms: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProgress(Event):
    """A step has moved `rows` rows so far. Only for live display."""

    event_type: ClassVar[str] = "step.progress"
    durable: ClassVar[bool] = False

    job_run_id: str
    job_id: str
    step_id: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished(Event):
    """A step ended; its timing is final for this attempt."""

    event_type: ClassVar[str] = "step.finished"

    job_run_id: str
    job_id: str
    timing: StepTiming


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRetrying(Event):
    """An attempt failed for a passing reason; the next one starts after `delay_ms`."""

    event_type: ClassVar[str] = "job.retrying"

    job_run_id: str
    job_id: str
    attempt: int
    delay_ms: float
    error: ErrorInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed(Event):
    """A landing was committed: the rows are in the warehouse. `rows` per table name."""

    event_type: ClassVar[str] = "job.landed"

    job_run_id: str
    job_id: str
    batch: int
    rows: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFinished(Event):
    """A job reached its end (also: was skipped or cancelled). Carries its complete record."""

    event_type: ClassVar[str] = "job.finished"

    job_run_id: str
    job_id: str
    record: RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed(Event):
    """Something worth saying that is not a failure. `code` is its event type in the log, for example
    `incremental.ineffective`, `incremental.null_keys`, `rows.quarantined`, `rows.duplicate_keys`,
    `table.created`, and `REGRESSION`, whose details are a `StepRegression`.
    """

    event_type: ClassVar[str] = "notice"

    level: str
    code: str
    message: str
    job_run_id: str = ""
    job_id: str = ""
    step_id: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPerformance(Event):
    """Where the time of a job went, in one line: `query_ms` is the summed time of the steps that brought rows in,
    `transform_ms` of those that called functions, `write_ms` of those that landed rows (`analysis.performance`).

    `kind` is the word that its YAML gives the event; `warehouse` what its queries used, where that is known.
    """

    event_type: ClassVar[str] = "job.performance"

    kind: str = "job.performance"
    job_run_id: str
    job_id: str
    status: Status
    duration_ms: float
    queue_ms: float
    query_ms: float
    transform_ms: float
    write_ms: float
    rows_read: int
    rows_written: int
    warehouse: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePerformance(Event):
    """What running the jobs of a stage at once has gained. `group` is the path of the stage, `stage` its name.

    `job_count` jobs ran, at most `max_workers` at once, for `duration_ms` from the first start to the last end.
    `speedup_potential` is what equal jobs would gain, `actual_speedup` the summed time of the jobs by that of the
    stage, `actual_per_job` milliseconds of the stage for each job.
    """

    event_type: ClassVar[str] = "stage.performance"

    kind: str = "stage.performance"
    stage: str
    group: str
    status: Status
    job_count: int
    max_workers: int
    duration_ms: float
    speedup_potential: float
    actual_speedup: float
    actual_per_job: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineFinished(Event):
    """The figures of a run as a whole, just before its end. `job_statuses` counts its jobs by how they ended,
    `queue_ms` and `jobs_ms` are sums over them: how long they waited for slots, and ran.
    """

    event_type: ClassVar[str] = "pipeline.finished"

    status: Status
    duration_ms: float
    setup_ms: float
    queue_ms: float
    jobs_ms: float
    job_count: int
    job_statuses: Mapping[str, int]
    max_workers: int | None
    rows_read: int
    rows_written: int
    rows_quarantined: int
    peak_memory_bytes: int | None = None
    warehouse: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """The run reached its end. `errors` are those of the run itself; jobs carry their own. `peak_memory_bytes`: see
    `PipelineRun`.
    """

    event_type: ClassVar[str] = "run.finished"

    status: Status
    duration_ms: float
    peak_memory_bytes: int | None = None
    errors: tuple[ErrorInfo, ...] = ()


REGRESSION = "performance.regression"
"""The code of the notice that a step got slower."""

EVENT_TYPES: dict[str, type[Event]] = {
    cls.event_type: cls
    for cls in (
        RunStarted, JobStarted, StepProgress, StepFinished, JobRetrying, Landed, JobFinished, Noticed,
        JobPerformance, StagePerformance, PipelineFinished, RunFinished,
    )
}  # fmt: skip


def _id_lists(data: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(ids) for name, ids in data.items()}


_READERS: dict[str, Any] = {
    "timestamp": parse_utc,
    "as_of": parse_utc,
    "status": Status,
    "timing": StepTiming.from_dict,
    "record": RunRecord.from_dict,
    "error": ErrorInfo.from_dict,
    "errors": lambda items: tuple(ErrorInfo.from_dict(item) for item in items),
    "jobs": lambda items: tuple((job_id, group) for job_id, group in items),
    "waits_for": _id_lists,
    "needs": _id_lists,
    "barriers": _id_lists,
}


class UnknownEvent(RunPipelineError):
    """An event type that this version does not know (written by a newer one)."""

    category = "damaged"

    def __init__(self, event_type: object) -> None:
        super().__init__(event_type)
        self.event_type = event_type

    def __str__(self) -> str:
        return f"unknown event type {self.event_type!r}"


def kind_of(event: Event) -> str:
    """Return the word for an event: the code of a notice, what YAML calls a performance event, else its type."""
    match event:
        case Noticed():
            return event.code
        case JobPerformance() | StagePerformance():
            return event.kind
        case _:
            return event.event_type


def to_dict(event: Event, *, without: str = "") -> dict[str, Any]:
    """Return an event as JSON-ready data, `event_type` first; `without` names one field to leave out."""
    data: dict[str, Any] = {"event_type": event.event_type}
    for name in _field_names(type(event)):
        if name != without:
            value = getattr(event, name)
            data[name] = value if type(value) in _SIMPLE else _plain(value)
    return data


def from_dict(data: Mapping[str, Any]) -> Event:
    """Read `to_dict`'s form. Unknown fields are ignored; raises `UnknownEvent`, `KeyError`, `ValueError`."""
    cls = EVENT_TYPES.get(data["event_type"])
    if cls is None:
        raise UnknownEvent(data["event_type"])
    values = {}
    for name in _field_names(cls):
        if name in data:
            read = _READERS.get(name)
            values[name] = read(data[name]) if read else data[name]
    return cls(**values)


_names_of: dict[type[Event], tuple[str, ...]] = {}


def _field_names(cls: type[Event]) -> tuple[str, ...]:
    names = _names_of.get(cls)
    if names is None:
        names = _names_of[cls] = tuple(f.name for f in fields(cls))
    return names


_SIMPLE = frozenset((str, int, float, bool, type(None)))
"""Types that are JSON as they are; looked up first, since most fields have one of them."""


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_utc(value)
    if isinstance(value, ErrorInfo | RunRecord | StepTiming):
        return value.to_dict()
    if isinstance(value, tuple):
        return [item if type(item) in _SIMPLE else _plain(item) for item in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value
