"""Every port of the engine on one page: protocols in terms of intent, and the values they speak in.

A warehouse is told what is wanted (rows without a counterpart, an upsert by key), never how; each one says it in
its own SQL. Errors of a driver leave a warehouse only as errors of `runner.errors`. All methods may be called
from one event loop; implementations own their threads and their `CapacityLimiter`, and a cancelled call stops
the work in the database before it returns.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from runner.events import Event
from runner.records import PipelineRun, RunRecord
from runner.specs import ColumnSpec, Filter, Incremental, PlannedJob, RunPlan, TableRef, TableSpec

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

Row = dict[str, Any]
"""One row for a row function: column name to Python value."""


@dataclass(slots=True)
class StopFlag:
    """Raised when a step is to stop; loops over rows in worker threads look at it between rows."""

    stopped: bool = False


# --- rows between steps ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Batch:
    """Some rows on their way from one step to the next, in exactly one of three shapes.

    `rows`: dictionaries. `arrow`: a record batch. `columns`: lists of equal length by column name, which is how a
    row transform hands over to a write of known columns without making dictionaries. `length` counts rows.
    A batch belongs to its consumer; a step with two consumers gives each its own copy of mutable rows.
    """

    length: int
    rows: list[Row] | None = None
    arrow: pa.RecordBatch | None = None
    columns: dict[str, list[Any]] | None = None


# --- reading --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What a rescore treats as absent: target rows that match `filters` (all of them: AND), and remembered or
    quarantined keys. `quarantined`: release the keys that were quarantined. In the landing, of the keys that were
    read, the matching target rows are deleted and the remembered keys forgotten before the new rows are written,
    in one transaction. What was not read again is left alone: a rescore whose read finds nothing deletes nothing.
    """

    filters: tuple[Filter, ...] = ()
    quarantined: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementalRead:
    """The incremental part of a read, with its target resolved.

    `job_id` and `step_id` own the remembered keys in `ops.processed_keys`.
    """

    spec: Incremental
    target: TableSpec
    job_id: str
    step_id: str
    release: Release | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadQuery:
    """A read: columns of one table, conditions, and perhaps only the rows that are new.

    `columns` are the columns that the step asks for; with `incremental` the key columns (and `source_ts`) that are
    missing there are appended by `runner.incremental.query_columns`, since the landing needs them.
    `batch_rows` bounds a batch (engines may break earlier).
    """

    source: TableSpec
    columns: tuple[str, ...]
    filters: tuple[Filter, ...] = ()
    incremental: IncrementalRead | None = None
    order_by: tuple[str, ...] = ()
    limit: int | None = None
    batch_rows: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementalCounts:
    """How the source rows of an incremental read (after its filters) stand to the target, in rows.

    total = new + present + remembered + null_key; `stale` (left_anti) are those of `new` with an older counterpart.
    """

    total: int
    new: int
    present: int
    remembered: int
    null_key: int
    stale: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyProfile:
    """What `doctor` needs to explain an incremental read: rows, distinct and NULL keys and samples of both sides.

    Samples are keys as text, at most 5 a side; `source_type`/`target_type` as the engine reports them, joined by
    ', ' for composite keys. `repairs` are key prefixes/suffixes under which keys would match:
    (prefix, suffix, matching source keys of `sampled`).
    """

    source_rows: int
    source_distinct: int
    source_nulls: int
    target_rows: int
    target_distinct: int
    target_nulls: int
    matched: int
    source_type: str
    target_type: str
    source_samples: tuple[str, ...]
    target_samples: tuple[str, ...]
    sampled: int = 0
    repairs: tuple[tuple[str, str, int], ...] = ()


# --- writing --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteTarget:
    """One write of a job: the table, how, by which key, and which columns the engine stamps (with `stamp`)."""

    step_id: str
    table: TableSpec
    mode: Literal["upsert", "insert_missing", "append"]
    key: tuple[str, ...]
    set_on_insert: tuple[str, ...] = ()
    set_on_write: tuple[str, ...] = ()

    @property
    def stamped(self) -> tuple[str, ...]:
        """Columns that the engine fills, not the rows."""
        return (*self.set_on_insert, *self.set_on_write)

    @property
    def given(self) -> tuple[str, ...]:
        """Columns that staged batches carry, in declared order."""
        stamped = set(self.stamped)
        return tuple(name for name in self.table.column_names if name not in stamped)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTracking:
    """Ties an incremental read to the write of its target: which target (index into `targets`, None when the
    job does not write it) and the read itself. Keys read are staged in the read's source columns.
    """

    read: IncrementalRead
    target: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LandingSpec:
    """Everything a landing will do besides the rows. `stamp` fills set_on_insert/set_on_write columns."""

    job_id: str
    job_run_id: str
    run_id: str
    stamp: datetime
    targets: tuple[WriteTarget, ...]
    tracking: tuple[KeyTracking, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """A row that was refused. `key` is the text of the incremental source key it came from (None when unknown),
    `content` the row as JSON text (cut at 10,000 characters), `column` "" when the row as a whole is meant.
    """

    step_id: str
    key: str | None
    column: str
    reason: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMatch:
    """How the keys read stand to the keys landed, for one tracked read. Counts are distinct keys; samples as
    text. `read` > 0, `staged` > 0 and `matched` == 0 is an ineffective incremental read.
    """

    step_id: str
    read: int
    staged: int
    matched: int
    remembered: int
    null_keys: int
    read_samples: tuple[str, ...] = ()
    staged_samples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetLanding:
    """What one write of a landing did, in rows. `duration_ms` is its share of the transaction."""

    step_id: str
    table: TableRef
    staged: int
    written: int
    duplicates: int
    deleted: int = 0
    duration_ms: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LandingResult:
    """A committed landing. `quarantined` counts rows put into `ops.quarantine`."""

    batch: int
    targets: tuple[TargetLanding, ...]
    matches: tuple[KeyMatch, ...] = ()
    quarantined: int = 0
    duration_ms: float = 0
    details: Mapping[str, Any] = field(default_factory=dict)


class Writer(Protocol):
    """The staging area of one job run, and its landings. Leaving its context drops what has not landed."""

    async def stage(self, target: int, batch: pa.RecordBatch) -> None:
        """Add rows for `targets[target]`: its `given` columns, typed as declared. Order is kept, last wins."""

    async def stage_keys(self, tracked: int, keys: pa.RecordBatch) -> None:
        """Add the key columns (and source_ts, if any) that read `tracking[tracked]` brought in."""

    async def stage_bad_rows(self, rows: Sequence[BadRow]) -> None:
        """Add rows for the quarantine."""

    async def land(self, batch: int = 0) -> LandingResult:
        """Commit everything staged since the last landing in one transaction, marker last; then staging is empty.

        A landing whose marker (job run, batch) already exists is not repeated. On any error nothing has
        landed and the staged rows are still there, so that a retry can land them.
        """

    async def has_landed(self, batch: int = 0) -> bool:
        """Tell whether the marker of (job run, batch) is in the warehouse: the truth after a cancelled commit."""


# --- tables ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TableShape:
    """A table as the warehouse has it: engine type names by column, in order."""

    ref: TableRef
    columns: Mapping[str, str]
    is_view: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TableChange:
    """One DDL step towards a declaration: `create` the table or `add` one nullable column."""

    kind: Literal["create", "add"]
    table: TableSpec
    column: str = ""


class Warehouse(Protocol):
    """Where tables live. Opened by its async context; one instance serves all jobs of a process."""

    @property
    def engine(self) -> str:
        """Name of the engine: duckdb, bigquery, postgres or memory."""

    async def inspect(self, tables: Sequence[TableRef]) -> Mapping[TableRef, TableShape]:
        """Return the shapes of those tables that exist, with one metadata query."""

    async def apply(self, changes: Sequence[TableChange]) -> None:
        """Carry out DDL."""

    def column_type(self, declared: str) -> str:
        """Return the engine's name for a declared column type, as `inspect` reports it."""

    def statement(self, query: ReadQuery) -> str:
        """Return the statement that `read` would send, with placeholders for values: for people."""

    def read(self, query: ReadQuery) -> AbstractAsyncContextManager[AsyncIterator[pa.RecordBatch]]:
        """Send the query and stream its rows. The first batch may already be awaited on entering."""

    async def missing_keys(self, read: IncrementalRead, keys: pa.RecordBatch) -> list[bool]:
        """Tell for each key (columns named by `source_key`) whether the target lacks it and it is not
        remembered. A key with a NULL is missing.
        """

    async def greatest(self, table: TableSpec, column: str, filters: Sequence[Filter]) -> Any:
        """Return the greatest value of a column among the rows that match, or None."""

    async def count(self, query: ReadQuery) -> IncrementalCounts:
        """Count for an incremental query (without its limit) what is new, present, remembered, without key."""

    async def profile(self, query: ReadQuery) -> KeyProfile:
        """Measure both sides of an incremental query for `doctor`."""

    async def count_matching(self, table: TableSpec, filters: Sequence[Filter]) -> int:
        """Count the rows of a table that match."""

    async def count_quarantined(self, job_id: str) -> int:
        """Count the distinct keys of a job that stand in `ops.processed_keys` for the reason quarantined."""

    def writer(self, landing: LandingSpec) -> AbstractAsyncContextManager[Writer]:
        """Open a staging area. Landings into one table are serialised by the warehouse (sorted locks)."""

    async def merge_events(self, rows: Sequence[Row]) -> int:
        """Insert rows into `ops.event_log`, skipping event ids that are there already; return how many were new."""


# --- steps ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class StepCounts:
    """What has flowed through one step so far: rows and batches."""

    rows_in: int = 0
    rows_out: int = 0
    rows_read: int | None = None
    rows_written: int | None = None
    rows_quarantined: int = 0
    batches: int = 0


class FunctionThreads(Protocol):
    """Worker threads for the project's plain functions."""

    async def run(self, work: Callable[[], T], stop: StopFlag, subject: str) -> T:
        """Run `work` in a thread. When cancelled, raise `stop` and wait for the thread, for the grace period at most:
        then `UncleanCancel`, which names `subject`.
        """


class Step(Protocol):
    """One step of one attempt of a job. The executor pulls `flow`, times it, and hands what comes to the consumers."""

    @property
    def counts(self) -> StepCounts:
        """What has flowed so far."""

    def flow(self, batch: Batch | None) -> AsyncIterator[Batch]:
        """Yield what comes of one batch: nothing from a write, perhaps many from a call. Steps that consume none
        (read, extract) are given None once and yield everything they bring in.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """What a step may use, made by the executor for one attempt of one job.

    `target`: which of the landing's targets a write stages for; `incremental`: the incremental part of a read or
    extract, and `tracked` its index in the landing's tracking, if the job writes its target.
    `wanted`: the column names that the only consumer, a write, takes (None otherwise). `input_columns`: declared
    columns of the rows that come in, where known. `key_of` gives the text of the incremental key that a row came from. `writer` is None in jobs without a write. `notice(level, code,
    message, details)` tells people. `as_of` is the run's logical time, UTC.
    """

    plan: RunPlan
    job: PlannedJob
    job_run_id: str
    as_of: datetime
    warehouse: Warehouse
    stop: StopFlag
    notice: Callable[[str, str, str, Mapping[str, Any]], None]
    writer: Writer | None = None
    target: int | None = None
    incremental: IncrementalRead | None = None
    tracked: int | None = None
    wanted: tuple[str, ...] | None = None
    input_columns: tuple[ColumnSpec, ...] = ()
    key_of: Callable[[Row], str | None] = lambda row: None


# --- runs -----------------------------------------------------------------------------------------------------


class EventSink(Protocol):
    """Takes events of a run, in order, without blocking the caller."""

    def emit(self, event: Event) -> None:
        """Queue one event for the disk and tell the observers."""


class RunStore(Protocol):
    """Keeps runs. Implementations are used from worker threads: methods are synchronous and may block."""

    def create(self, run_id: str, name: str, started_at: datetime) -> RunWriter:
        """Make a place for a new run and lock it as alive."""

    def load(self, run_id: str) -> PipelineRun:
        """Return the run, rebuilt from its events when its summary is missing or older. Raises `RunNotFound`."""

    def resolve(self, reference: str) -> str:
        """Turn an id, a unique prefix, `last` or `last-failed` into a run id. Raises `RunNotFound`."""

    def latest(self, *, limit: int | None = None, name: str | None = None) -> Sequence[PipelineRun]:
        """Return runs without their jobs, newest first.

        One that cannot be read is among them: crashed, with an error of category `damaged` that names the file.
        """

    def events(self, run_id: str) -> Sequence[Event]:
        """Return the events of a run in the order they were written. Raises `RunNotFound`, `DamagedRecord`."""

    def is_alive(self, run_id: str) -> bool:
        """Tell whether the run's writer is open in this or another process. Raises `RunNotFound`."""


class RunWriter(Protocol):
    """The open folder of one living run."""

    def append(self, events: Sequence[Event]) -> None:
        """Write events so that they survive a kill of the process: all of them or, on an error, none."""

    def sync(self) -> None:
        """Make what was appended survive a power failure, too."""

    def write_job(self, record: RunRecord) -> None:
        """Write one job's record."""

    def write_run(self, run: PipelineRun) -> None:
        """Write the run's summary."""

    def close(self) -> None:
        """Release the lock: the run is no longer alive."""
