"""The values that the ports speak in: batches, queries, landings, shapes of tables. Plain data, no behaviour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from runner.ports.checks import Finding, TableCheck
from runner.specs import Filter, Incremental, TableRef, TableSpec

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
"""One row for a row function: column name to Python value."""


@dataclass(slots=True)
class StopFlag:
    """Raised when a step is to stop; loops over rows in worker threads look at it between rows."""

    stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """SQL text with named placeholders as the engine writes them, and the values for them.

    `file` and `line` say where a text of the project begins; "" and 0: it is the engine's own.
    """

    text: str
    values: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""
    line: int = 0


# --- rows between steps ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Batch:
    """Some rows on their way from one step to the next, in exactly one of three shapes.

    `rows`: dictionaries. `arrow`: a record batch. `columns`: lists of equal length by column name, which is how a
    row transform hands over to a write of known columns without making dictionaries. `length` counts rows.
    A batch belongs to its consumer; a step with two consumers gives each its own copy of mutable rows.
    `checked`: the record batch has been made by a `RowEncoder` for the only consumer, a write, and is staged as it is.
    """

    length: int
    rows: list[Row] | None = None
    arrow: pa.RecordBatch | None = None
    columns: dict[str, list[Any]] | None = None
    checked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryUsage:
    """What one query or load job of the warehouse used, as far as the engine tells: bytes read and bytes billed,
    slot milliseconds, and whether the answer came from its cache. `query_id`: the engine's name for it. `cost`: what
    the billed bytes cost by the price in the settings, in its currency.
    """

    query_id: str
    bytes_processed: int | None = None
    bytes_billed: int | None = None
    cost: float | None = None
    slot_ms: int | None = None
    cache_hit: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryScope:
    """For whom a warehouse works: one attempt (from 1) of one step. `report` is told, from any thread, what each query
    used; it does not block.
    """

    pipeline_id: str
    run_id: str
    job_id: str
    job_run_id: str
    step_id: str
    attempt: int
    report: Callable[[QueryUsage], None]


# --- reading ---------------------------------------------------------------------------------------------


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

    `job_id` and `step_id` own the remembered keys in `ops.processed_keys`. `since`: of a read with a lookback, the
    moment from which on rows of both sides are looked at, and those whose time is NULL; None: all of them. Keys that
    are asked for one by one (`missing_keys`) have no time, there it bounds the target only.
    """

    spec: Incremental
    target: TableSpec
    job_id: str
    step_id: str
    release: Release | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadQuery:
    """A read: columns of one table, conditions, and perhaps only the rows that are new.

    `columns` are the columns that the step asks for; with `incremental` the key columns (and `source_ts`) that are
    missing there are appended by `runner.incremental.query_columns`, since the landing needs them. A read of no column
    at all is refused (`ConfigurationError`): how many rows there are is asked with `Warehouse.count_matching`.
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

    total = new + present + remembered + null_key; with a lookback, of what it reaches.
    `stale` (left_anti) are those of `new` with an older counterpart.
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


# --- writing ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteTarget:
    """One write of a job: the table, how, by which key, and which columns the engine stamps (with `stamp`)."""

    step_id: str
    table: TableSpec
    mode: Literal["upsert", "insert_missing", "append", "replace"]
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
class LandingStatement:
    """A statement of the project's own that a landing executes after the first `after_targets` of its targets.
    `writes` are the tables that it changes.
    """

    step_id: str
    after_targets: int
    statement: Statement
    writes: tuple[TableRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LandingCheck:
    """Expectations of a table that a landing looks at after the first `after_targets` of its targets. What those of
    severity error find raises `CheckFailed`, and nothing has landed.
    """

    after_targets: int
    check: TableCheck

    @property
    def step_id(self) -> str:
        """The step that checks."""
        return self.check.step_id


LandingAction = LandingStatement | LandingCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class LandingSpec:
    """Everything a landing will do besides the rows. `stamp` fills set_on_insert/set_on_write columns.

    `actions` stand in the order of their steps. A landing with statements always happens, also when nothing was
    staged; it may consist of them alone. Checks are always made: where nothing lands, of the tables as they stand.
    """

    job_id: str
    job_run_id: str
    run_id: str
    stamp: datetime
    targets: tuple[WriteTarget, ...]
    tracking: tuple[KeyTracking, ...] = ()
    actions: tuple[LandingAction, ...] = ()

    @property
    def writes(self) -> tuple[TableRef, ...]:
        """The tables that the landing changes, sorted: the order in which writers take their locks."""
        written = {target.table.ref for target in self.targets}
        for action in self.actions:
            written.update(action.writes if isinstance(action, LandingStatement) else ())
        return tuple(sorted(written))

    @property
    def parts(self) -> tuple[WriteTarget | LandingAction, ...]:
        """What each step that lands has in it."""
        return (*self.targets, *self.actions)

    @property
    def always_lands(self) -> bool:
        """Whether it happens also when nothing was staged: it replaces a table, or has statements."""
        statements = any(isinstance(action, LandingStatement) for action in self.actions)
        return statements or any(target.mode == "replace" for target in self.targets)


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
    text.
    """

    step_id: str
    read: int
    staged: int
    matched: int
    remembered: int
    null_keys: int
    read_samples: tuple[str, ...] = ()
    staged_samples: tuple[str, ...] = ()

    @property
    def ineffective(self) -> bool:
        """Whether rows were staged without one key in common with what was read: the keys do not fit each other."""
        return self.read > 0 and self.staged > 0 and self.matched == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetLanding:
    """What one write of a landing did, in rows. `deleted`: rows that were there before and had to go.
    `duration_ms` is its share of the transaction.
    """

    step_id: str
    table: TableRef
    staged: int
    written: int
    duplicates: int
    deleted: int = 0
    duration_ms: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionLanding:
    """What one action of a landing did: rows that its statement changed (None: it has none), what its check found
    (`severity: warn`), and its share of the transaction.
    """

    step_id: str
    rows: int | None = None
    findings: tuple[Finding, ...] = ()
    duration_ms: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LandingResult:
    """A committed landing. `quarantined` counts rows put into `ops.quarantine`."""

    batch: int
    targets: tuple[TargetLanding, ...]
    actions: tuple[ActionLanding, ...] = ()
    matches: tuple[KeyMatch, ...] = ()
    quarantined: int = 0
    duration_ms: float = 0
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[TargetLanding | ActionLanding, ...]:
        """What each step did that landed."""
        return (*self.targets, *self.actions)


# --- tables ----------------------------------------------------------------------------------------------


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


# --- steps -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class StepCounts:
    """What has flowed through one step so far: rows and batches.

    `busy_ns`: nanoseconds that worker processes have worked for it; None where its own time says it all.
    """

    rows_in: int = 0
    rows_out: int = 0
    rows_read: int | None = None
    rows_written: int | None = None
    batches: int = 0
    busy_ns: int | None = None
