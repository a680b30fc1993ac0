"""Every port of the engine on one page: protocols in terms of intent. The values they speak in are in `values`.

A warehouse is told what is wanted (rows without a counterpart, an upsert by key), never how; each one says it in
its own SQL. Errors of a driver leave a warehouse only as errors of `runner.errors`. All methods may be called
from one event loop; implementations own their threads and their `CapacityLimiter`, and a cancelled call stops
the work in the database before it returns.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from runner.events import Event
from runner.ports.checks import Finding, TableCheck
from runner.ports.layouts import Backup, LayoutChange, LayoutReport, QueryCost, TableLayouts
from runner.ports.processes import Piece, ProcessCall
from runner.ports.values import (
    ActionLanding,
    BadRow,
    Batch,
    IncrementalCounts,
    IncrementalRead,
    KeyMatch,
    KeyProfile,
    KeyTracking,
    LandingAction,
    LandingCheck,
    LandingResult,
    LandingSpec,
    LandingStatement,
    QueryScope,
    QueryUsage,
    ReadQuery,
    Release,
    Row,
    Statement,
    StepCounts,
    StopFlag,
    TableChange,
    TableShape,
    TargetLanding,
    WriteTarget,
)
from runner.records import PipelineRun, RunRecord
from runner.specs import ColumnSpec, Filter, RunPlan, TableRef, TableSpec

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "ActionLanding",
    "Backup",
    "BadRow",
    "Batch",
    "EventSink",
    "Finding",
    "FunctionProcesses",
    "FunctionThreads",
    "HoldingStep",
    "IncrementalCounts",
    "IncrementalRead",
    "KeyMatch",
    "KeyProfile",
    "KeyTracking",
    "LandingAction",
    "LandingCheck",
    "LandingResult",
    "LandingSpec",
    "LandingStatement",
    "LayoutChange",
    "LayoutReport",
    "Piece",
    "ProcessCall",
    "QueryCost",
    "QueryScope",
    "QueryUsage",
    "ReadQuery",
    "Release",
    "Row",
    "RunStore",
    "RunWriter",
    "Statement",
    "Step",
    "StepContext",
    "StepCounts",
    "StopFlag",
    "SubmittedBatch",
    "TableChange",
    "TableCheck",
    "TableLayouts",
    "TableShape",
    "TargetLanding",
    "Warehouse",
    "WriteTarget",
    "Writer",
]

T = TypeVar("T")


# --- writing ---------------------------------------------------------------------------------------------


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

        The actions of the landing run in it, each after as many targets as it says. With statements there is a
        landing also when nothing was staged; checks are made also where nothing lands. An action that fails is told as
        what it raises (`CheckFailed`, or the `WarehouseError` of its statement, which names the step) and nothing has
        landed.

        A landing whose marker (job run, batch) already exists is not repeated. On any error nothing has
        landed and the staged rows are still there, so that a retry can land them.
        """

    async def has_landed(self, batch: int = 0) -> bool:
        """Tell whether the marker of (job run, batch) is in the warehouse: the truth after a cancelled commit."""


# --- tables ----------------------------------------------------------------------------------------------


class Warehouse(Protocol):
    """Where tables live. Opened by its async context; one instance serves all jobs of a process."""

    @property
    def engine(self) -> str:
        """Name of the engine: duckdb, bigquery, postgres or memory."""

    @property
    def layouts(self) -> TableLayouts:
        """How tables are kept: order, partitions, indexes."""

    def scoped(self, scope: QueryScope) -> Warehouse:
        """Return the same warehouse for the use of one step: what it sends bears the scope's names, where the engine
        keeps them, and what that used is reported. Engines that know neither return themselves.
        """

    async def inspect(self, tables: Sequence[TableRef]) -> Mapping[TableRef, TableShape]:
        """Return the shapes of those tables that exist, with one metadata query."""

    async def apply(self, changes: Sequence[TableChange]) -> None:
        """Carry out DDL."""

    def statement(self, query: ReadQuery) -> str:
        """Return the statement that `read` would send, with placeholders for values: for people."""

    def query(
        self, statement: Statement, *, batch_rows: int = 10_000
    ) -> AbstractAsyncContextManager[AsyncIterator[pa.RecordBatch]]:
        """Send a query of the project's own, in the engine's SQL, where it can change nothing, and stream its rows.

        The batches have the types that the engine gives them; their names are those of the result's columns.
        """

    def read(self, query: ReadQuery) -> AbstractAsyncContextManager[AsyncIterator[pa.RecordBatch]]:
        """Send the query and stream its rows. The first batch may already be awaited on entering."""

    async def missing_keys(self, read: IncrementalRead, keys: pa.RecordBatch) -> list[bool]:
        """Tell for each key (columns named by `source_key`) whether the target lacks it and it is not
        remembered. A key with a NULL is missing.
        """

    async def greatest(self, table: TableSpec, column: str, filters: Sequence[Filter]) -> Any:
        """Return the greatest value of a column among the rows that match, or None."""

    async def greatest_by(
        self, table: TableSpec, column: str, by: str, filters: Sequence[Filter]
    ) -> Mapping[Any, Any]:
        """Return the greatest value of a column for each value of the column `by`. NULL is left out on both sides."""

    async def count(self, query: ReadQuery) -> IncrementalCounts:
        """Count for an incremental query (without its limit) what is new, present, remembered, without key."""

    async def profile(self, query: ReadQuery) -> KeyProfile:
        """Measure both sides of an incremental query for `doctor`."""

    async def count_matching(self, table: TableSpec, filters: Sequence[Filter]) -> int:
        """Count the rows of a table that match."""

    async def check(self, check: TableCheck) -> tuple[Finding, ...]:
        """Return what is against the expectations, in their order: by one statement that counts, and where rows
        offend one more that shows some of them.
        """

    async def count_quarantined(self, job_id: str) -> int:
        """Count the distinct keys of a job that stand in `ops.processed_keys` for the reason quarantined."""

    def writer(self, landing: LandingSpec) -> AbstractAsyncContextManager[Writer]:
        """Open a staging area. Landings into one table are serialised by the warehouse (sorted locks)."""

    async def merge_events(self, rows: Sequence[Row]) -> int:
        """Insert rows into `ops.event_log`, skipping event ids that are there already; return how many were new."""


# --- steps -----------------------------------------------------------------------------------------------


class FunctionThreads(Protocol):
    """Worker threads for the project's plain functions."""

    async def run(self, work: Callable[[], T], stop: StopFlag, subject: str) -> T:
        """Run `work` in a thread. When cancelled, raise `stop` and wait for the thread, for the grace period at most:
        then `UncleanCancel`, which names `subject`.
        """


class SubmittedBatch(Protocol):
    """A batch that has been given to worker processes."""

    async def take(self) -> Piece | None:
        """Wait for the next piece of what became of it; None when there are no more. Raises what the function raised,
        and `WorkerFailed`. When cancelled, the process that works on it is killed.
        """

    def abandon(self) -> None:
        """Give it up: the process that works on it is killed. Does not block."""


class FunctionProcesses(Protocol):
    """Worker processes for the project's plain functions."""

    @property
    def workers(self) -> int:
        """How many batches can be worked on at once."""

    @property
    def peak_memory_bytes(self) -> int:
        """The most memory that one of them has held, as far as is known by the batches that are done."""

    def submit(self, call: ProcessCall, batch: Batch) -> SubmittedBatch:
        """Queue a batch for the next free process; does not block. One step gives the same `call` with each batch."""


class Step(Protocol):
    """One step of one attempt of a job. The executor pulls `flow`, times it, and hands what comes to the consumers."""

    @property
    def counts(self) -> StepCounts:
        """What has flowed so far."""

    def flow(self, batch: Batch) -> AsyncGenerator[Batch, None]:
        """Yield what comes of one batch: nothing from a write, perhaps many from a call. Steps that consume none
        (read, extract) are given an empty batch once and yield everything they bring in.
        """


class HoldingStep(Step, Protocol):
    """A step that may keep rows, or a verdict about them, beyond the batch they came with."""

    @property
    def holds(self) -> bool:
        """Whether there is something to flush."""

    def flush(self) -> AsyncGenerator[Batch, None]:
        """Yield what is held back. Asked before every landing: what has not gone on by then would be missing in it."""

    async def drop(self) -> None:
        """Forget what is held back and end the work on it: the attempt is over, whichever way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """What a step may use, made by the executor for one attempt of one job.

    `target`: which of the landing's targets a write stages for. `incremental`: the incremental part of a read or
    extract, and `tracked` its index in the landing's tracking, if the job writes its target. `wanted`: the column
    names that the only consumer, a write, takes (None otherwise), and `consumer` that write. `input_columns`:
    declared columns of the rows that come in, where known. `key_of` gives the text of the incremental key that a
    row came from. `writer` is None in jobs without a write. `keys`: columns that name a row that comes in, for
    people, where known. `lands`: the step does its work in the landing. `statement`: that of a `sql` step, with its
    values. `notice` tells something worth saying that is no failure: level, code, message, details.
    """

    plan: RunPlan
    warehouse: Warehouse
    stop: StopFlag
    writer: Writer | None = None
    target: int | None = None
    incremental: IncrementalRead | None = None
    tracked: int | None = None
    wanted: tuple[str, ...] | None = None
    consumer: WriteTarget | None = None
    input_columns: tuple[ColumnSpec, ...] = ()
    key_of: Callable[[Row], str | None] = lambda row: None
    statement: Statement | None = None
    keys: tuple[str, ...] = ()
    lands: bool = False
    notice: Callable[[str, str, str, Mapping[str, Any]], None] = lambda level, code, message, details: None


# --- runs ------------------------------------------------------------------------------------------------


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
        """Turn an id, a unique prefix, `last`, `last-failed` or a name into a run id. Raises `RunNotFound`."""

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
