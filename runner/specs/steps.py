"""Declarations of steps, one model an `op`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from runner.specs.names import (
    Count,
    Duration,
    Flag,
    FunctionName,
    Id,
    Identifier,
    Identifiers,
    Misfit,
    Spec,
    TableRef,
    as_tuple,
)

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


def _incremental_mode(value: object) -> object:
    if value not in ("not_exists", "left_anti"):
        shown = value if isinstance(value, str) and value.isprintable() else repr(value)
        raise ValueError(f"Unknown incremental mode: {shown}; expected not_exists or left_anti")
    return value


class Incremental(Spec):
    """Which source rows are new: those without a counterpart in the target (`not_exists`), or also those
    whose counterpart is older (`left_anti`: `target_ts < source_ts`). Keys are one column or several.

    `key_prefix`/`key_suffix`: the target key is prefix + source key + suffix (single string key only).
    `remember_empty`: a key that was read but gave no row in the target is remembered and not read again.
    """

    mode: Annotated[Literal["not_exists", "left_anti"], BeforeValidator(_incremental_mode)]
    target_dataset: Identifier
    target_table: Identifier
    source_key: Identifiers
    target_key: Identifiers
    source_ts: Identifier | None = None
    target_ts: Identifier | None = None
    key_prefix: str = ""
    key_suffix: str = ""
    remember_empty: Flag = True

    @property
    def target(self) -> TableRef:
        """The table that is compared with."""
        return TableRef(self.target_dataset, self.target_table)

    @model_validator(mode="before")
    @classmethod
    def _join_key_suffix(cls, data: Any) -> Any:
        """`join_key_suffix: x` is the older spelling of `key_suffix: '#x'`."""
        if isinstance(data, Mapping) and "join_key_suffix" in data:
            if "key_suffix" in data:
                raise ValueError("join_key_suffix and key_suffix exclude each other")
            data = dict(data)
            data["key_suffix"] = f"#{data.pop('join_key_suffix')}"
        return data

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        if len(self.source_key) != len(self.target_key):
            raise Misfit(
                f"{len(self.target_key)} key columns; expected {len(self.source_key)}, as in source_key",
                "target_key",
            )
        if (self.key_prefix or self.key_suffix) and len(self.source_key) > 1:
            raise Misfit("key_prefix and key_suffix need a single key column; expected one", "source_key")
        stamps = (self.source_ts, self.target_ts)
        if self.mode == "left_anti" and not all(stamps):
            raise ValueError(
                "left_anti without both times; expected source_ts and target_ts, or mode not_exists"
            )
        if self.mode == "not_exists" and any(stamps):
            raise Misfit(
                "not_exists compares no times; expected neither source_ts nor target_ts, or mode left_anti",
                "mode",
            )
        return self


class Cursor(Spec):
    """The greatest value of a column, passed to an extract function as `since` (None for an empty table)."""

    dataset: Identifier
    table: Identifier
    column: Identifier
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

    step_id: Id
    input: Id | None = None
    timeout: Duration | None = None
    retries: Annotated[int, Field(ge=0, le=20, strict=True)] = 0


class ExtractSpec(StepSpec):
    """Rows from outside, from a project function. `incremental` drops the rows whose key the target has."""

    op: Literal["extract"]
    function: FunctionName
    with_: Annotated[dict[str, Any], Field(alias="with")] = {}
    connection: str | None = None
    cursor: Cursor | None = None
    identify: Identify | None = None
    defaults: dict[Identifier, Any] = {}
    incremental: Incremental | None = None


class ReadSpec(StepSpec):
    """Rows of a warehouse table: all declared columns unless `columns` names some."""

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
    """Rows through a project function. `max_bad_rows` counts per job run, for `on_bad_row: quarantine`."""

    op: Literal["call"]
    function: FunctionName
    with_: Annotated[dict[str, Any], Field(alias="with")] = {}
    connection: str | None = None
    runs_in: Literal["thread"] = "thread"
    on_bad_row: Literal["fail", "quarantine"] = "fail"
    max_bad_rows: Count = 100


class WriteSpec(StepSpec):
    """Rows into a declared table.

    upsert: update rows of equal key, insert the rest. insert_missing: only insert. append: insert all; a
    landing still happens once. `set_on_insert` columns are stamped with the job's start when a row is
    inserted, `set_on_write` columns also when it is updated. `commit_every`: land after that many batches,
    not once. `key` defaults to the table's.
    """

    op: Literal["write"]
    dataset: Identifier
    table: Identifier
    mode: Literal["upsert", "insert_missing", "append"] = "upsert"
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


Step = Annotated[ExtractSpec | ReadSpec | CallSpec | WriteSpec, Field(discriminator="op")]
STEP_OPS = ("extract", "read", "call", "write")
CONSUMING_OPS = ("call", "write")
PRODUCING_OPS = ("extract", "read", "call")
