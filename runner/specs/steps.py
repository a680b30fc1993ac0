"""Declarations of steps, one model an `op`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from runner.specs.expectations import Expectation, Severity
from runner.specs.incremental import Incremental
from runner.specs.names import (
    Count,
    Duration,
    FunctionName,
    Id,
    Identifier,
    Misfit,
    ResourceName,
    Spec,
    TableRef,
    as_tuple,
)
from runner.specs.statements import BoundValue, NamedTable, TextByEngine

FILTER_OPS = ("=", "!=", "<", ">", "<=", ">=", "in")


def _filter_op(value: object) -> object:
    """Say to quote: unquoted, YAML takes `!=` for a tag and `>` for the start of a text."""
    if value not in FILTER_OPS:
        known = ", ".join(map(repr, FILTER_OPS))
        raise ValueError(f"unknown op {value!r} of a filter; expected one of {known}")
    return value


class Filter(Spec):
    """A condition on one column. The value is bound, never pasted, and typed by the column."""

    column: Identifier
    op: Annotated[Literal["=", "!=", "<", ">", "<=", ">=", "in"], BeforeValidator(_filter_op)] = "="
    value: Any

    @model_validator(mode="after")
    def _value_fits(self) -> Self:
        if self.op == "in" and not (isinstance(self.value, list | tuple) and self.value):
            raise Misfit("op 'in' compares with several values; expected a list of them", "value")
        if self.op != "in" and isinstance(self.value, list | tuple | dict):
            raise Misfit(f"op {self.op!r} compares with one value; expected no list", "value")
        if self.value is None:
            raise Misfit("nothing equals NULL; expected a value", "value")
        return self


def _filters(value: object) -> object:
    """`{column: value}` is short for `[{column, op: =, value}]`."""
    if isinstance(value, Mapping):
        return [{"column": column, "value": item} for column, item in value.items()]
    return value


Filters = Annotated[tuple[Filter, ...], BeforeValidator(_filters)]


class Cursor(Spec):
    """The greatest value of a column, passed to an extract function as `since` (None for an empty table).

    With `by`, the name of another column: a mapping of its values to the greatest value of each.
    """

    dataset: Identifier
    table: Identifier
    column: Identifier
    by: Identifier | None = None
    filters: Filters = ()

    @property
    def ref(self) -> TableRef:
        """The table that holds the cursor column."""
        return TableRef(self.dataset, self.table)


class Identify(Spec):
    """A deterministic id made from columns: their text joined by ':' (plus '#' + suffix) into `column`."""

    column: Identifier
    from_: Annotated[tuple[Identifier, ...], BeforeValidator(as_tuple), Field(alias="from", min_length=1)]
    suffix: str = ""


class StepSpec(Spec):
    """What every step has. `input` names an earlier step (default: the one before); `retries` counts further
    attempts after a transient error; `timeout` bounds the step's own time in seconds.
    """

    takes_rows: ClassVar[bool] = False
    gives_rows: ClassVar[bool] = False

    @property
    def consumes(self) -> bool:
        """Whether the step takes the rows of another; one that does not brings its own in, or has none."""
        return self.takes_rows

    @property
    def produces(self) -> bool:
        """Whether another step can take the rows of this one."""
        return self.gives_rows

    step_id: Id
    input: Id | None = None
    timeout: Duration | None = None
    retries: Annotated[int, Field(ge=0, le=20, strict=True)] = 0


SOURCES: Mapping[str, str] = {
    "dlt": "runner.sources.dlt:function_of",
    "http": "runner.sources.http:records",
    "imap": "runner.sources.imap:messages",
}
"""Sources that the engine brings along: the extract function behind each name (dlt: what makes one of a resource)."""


class ExtractSpec(StepSpec):
    """Rows from outside: from a project function, or from one of the engine's own sources. `incremental` drops the
    rows whose key the target has. `resource` names what `source: dlt` iterates.
    """

    gives_rows = True

    op: Literal["extract"]
    function: FunctionName | None = None
    source: Literal["dlt", "http", "imap"] | None = None
    resource: ResourceName | None = None
    with_: Annotated[dict[str, Any], Field(alias="with")] = {}
    connection: str | None = None
    cursor: Cursor | None = None
    identify: Identify | None = None
    defaults: dict[Identifier, Any] = {}
    incremental: Incremental | None = None

    @property
    def callee(self) -> str:
        """The extract function, `module:name`: the project's own, or the one behind `source`."""
        return self.function or SOURCES[self.source or ""]

    @property
    def origin(self) -> str:
        """Where the rows come from, for people: the function, or `source imap`."""
        return self.function or f"source {self.source}" + (f" {self.resource}" if self.resource else "")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if bool(self.function) == bool(self.source):
            raise ValueError("an extract has either a function or a source")
        if self.resource and self.source != "dlt":
            raise Misfit("only source dlt has a resource", "resource")
        if self.source == "dlt" and not self.resource:
            raise ValueError("source dlt without a resource; expected resource: package.module:name")
        return self


class ReadSpec(StepSpec):
    """Rows of a warehouse table: all declared columns unless `columns` names some."""

    gives_rows = True

    op: Literal["read"]
    dataset: Identifier
    table: Identifier
    columns: tuple[Identifier, ...] = ()
    filters: Filters = ()
    incremental: Incremental | None = None
    order_by: Annotated[tuple[Identifier, ...], BeforeValidator(as_tuple)] = ()
    limit: Count | None = None

    @property
    def ref(self) -> TableRef:
        """The table that is read."""
        return TableRef(self.dataset, self.table)


class CallSpec(StepSpec):
    """Rows through a project function. `max_bad_rows` counts per job run, for `on_bad_row: quarantine`.

    `runs_in`: a worker thread of this process, or worker processes that use all cores.
    """

    takes_rows = True
    gives_rows = True

    op: Literal["call"]
    function: FunctionName
    with_: Annotated[dict[str, Any], Field(alias="with")] = {}
    connection: str | None = None
    runs_in: Literal["thread", "process"] = "thread"
    on_bad_row: Literal["fail", "quarantine"] = "fail"
    max_bad_rows: Count = 100


class WriteSpec(StepSpec):
    """Rows into a declared table.

    upsert: update rows of equal key, insert the rest. insert_missing: only insert. append: insert all; a
    landing still happens once. replace: the table holds these rows and no others, also when none came.
    `set_on_insert` columns are stamped with the job's start when a row is
    inserted, `set_on_write` columns also when it is updated. `commit_every`: land after that many batches,
    not once. `key` defaults to the table's.
    """

    takes_rows = True

    op: Literal["write"]
    dataset: Identifier
    table: Identifier
    mode: Literal["upsert", "insert_missing", "append", "replace"] = "upsert"
    key: Annotated[tuple[Identifier, ...], BeforeValidator(as_tuple)] = ()
    set_on_insert: Annotated[tuple[Identifier, ...], BeforeValidator(as_tuple)] = ()
    set_on_write: Annotated[tuple[Identifier, ...], BeforeValidator(as_tuple)] = ()
    commit_every: Count | None = None
    on_bad_row: Literal["fail", "quarantine"] = "fail"
    max_bad_rows: Count = 100

    @property
    def ref(self) -> TableRef:
        """The table that is written."""
        return TableRef(self.dataset, self.table)


class SqlSpec(StepSpec):
    """A statement of the project's own: `statement`, or a `file` below the project, or one of them by engine.

    `:name` in it stands for the value of `params`, which is bound. A query's rows go on to the next step. A statement
    that changes tables names them in `writes`: it runs in the job's landing, and gives no rows. `:as_of`, the run's
    logical time, stands for itself. The text that a run sends is in its `PlannedJob.statements`.
    """

    op: Literal["sql"]
    statement: TextByEngine | None = None
    file: TextByEngine | None = None
    params: dict[Identifier, BoundValue] = {}
    writes: tuple[NamedTable, ...] = ()

    @property
    def produces(self) -> bool:
        """Whether it is a query."""
        return not self.writes

    @model_validator(mode="after")
    def _one_text(self) -> Self:
        if (self.statement is None) == (self.file is None):
            raise ValueError("a sql step has either a statement or a file; expected one of them")
        for number, ref in enumerate(self.writes):
            if ref in self.writes[:number]:
                raise Misfit(f"{ref} stands here twice", "writes", number)
        names: dict[str, str] = {"as_of": "as_of"}
        for name in self.params:
            if name.casefold() in names:
                other = names[name.casefold()]
                taken = "is the run's logical time" if other == "as_of" else f"is {other!r} in another case"
                raise Misfit(f"{name!r} {taken}; expected another name", "params", name)
            names[name.casefold()] = name
        return self


class CheckSpec(StepSpec):
    """Expectations: on the rows that flow through it, or with `dataset` and `table` on a table, of which `filters`
    choose the rows.

    A table that the job itself writes before is checked in its landing: what `severity: error` finds keeps the job
    from landing.
    """

    op: Literal["check"]
    dataset: Identifier | None = None
    table: Identifier | None = None
    filters: Filters = ()
    expect: Annotated[tuple[Expectation, ...], Field(min_length=1)]
    severity: Severity = "error"

    @property
    def expectations(self) -> tuple[Expectation, ...]:
        """What is expected, each with its severity and, where columns are looked at one by one, one column."""
        return tuple(each for item in self.expect for each in item.each(self.severity))

    @property
    def ref(self) -> TableRef | None:
        """The table that is checked; None: the rows on their way."""
        return TableRef(self.dataset, self.table) if self.dataset and self.table else None

    @property
    def consumes(self) -> bool:
        """Whether it checks the rows of another step."""
        return self.ref is None

    @property
    def produces(self) -> bool:
        """Whether it hands rows on: all it gets, if it gets any."""
        return self.ref is None

    @model_validator(mode="after")
    def _whole_table(self) -> Self:
        if bool(self.dataset) != bool(self.table):
            raise ValueError("a check of a table has both dataset and table")
        if self.filters and not self.table:
            raise Misfit(
                "only the rows of a table can be filtered; expected dataset and table, too", "filters"
            )
        return self


Step = Annotated[
    ExtractSpec | ReadSpec | CallSpec | WriteSpec | SqlSpec | CheckSpec, Field(discriminator="op")
]
STEP_OPS = ("extract", "read", "call", "write", "sql", "check")
