"""The vocabulary of declarations: ids, identifiers, durations, type words, and the base model."""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from runner.clock import parse_duration as parse_duration

_ID = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_EVENT = re.compile(r"(?=.{3,64}\Z)[a-z0-9][a-z0-9_]*(\.[a-z0-9_]+)+")
_FUNCTION = re.compile(r"[A-Za-z_][\w]*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_RESOURCE = re.compile(_FUNCTION.pattern + r"(\.[A-Za-z_][\w-]*)?", re.ASCII)

ColumnType = Literal["string", "int64", "float64", "numeric", "bool", "timestamp", "date", "json", "bytes"]

COLUMN_TYPES = (
    "string", "int64", "float64", "numeric", "bool", "timestamp", "date", "json", "bytes",
)  # fmt: skip
"""Types a column may be declared with."""

PARAM_TYPES = ("string", "int64", "float64", "bool", "timestamp", "date", "path")
"""Types a job parameter may be declared with; `path` is resolved against the project folder."""

ENGINE_EVENTS = (
    "check", "incremental", "job", "landing", "notice", "performance", "pipeline", "rows", "run", "stage", "step",
    "table",
)  # fmt: skip
"""First words of the engine's own events and notices."""

ENGINE_DATASET = "ops"
"""The dataset of the engine's own tables; projects do not declare tables in it."""


def check_id(value: str) -> str:
    """Return `value` if it is an id of a pipeline, job or step; raise `ValueError` otherwise.

    An id becomes a file name, so it can neither leave its folder nor collide by a trailing dot.
    """
    if not _ID.fullmatch(value) or ".." in value or value.endswith("."):
        raise ValueError(
            f"{value!r} is not an id; expected 1 to 64 of a-z 0-9 _ . - that start with a letter or digit,"
            " without '..' and without a final dot"
        )
    return value


def check_identifier(value: str) -> str:
    """Return `value` if it can name a dataset, table or column on every engine; raise `ValueError`
    otherwise.
    """
    if not _IDENTIFIER.fullmatch(value):
        raise ValueError(
            f"{value!r} is not an identifier; expected a letter or _ and then at most 127 of A-Z a-z 0-9 _"
        )
    return value


def _check_function(value: str) -> str:
    if not _FUNCTION.fullmatch(value):
        raise ValueError(f"{value!r} does not name a function; expected package.module:function")
    return value


def check_event(value: str) -> str:
    """Return `value` if it can be the word for an event of a project; raise `ValueError` otherwise."""
    if not _EVENT.fullmatch(value):
        raise ValueError(
            f"{value!r} is no word for an event; expected words of a-z 0-9 _ joined by dots, at least two, in all at"
            " most 64 characters"
        )
    first = value.partition(".")[0]
    if first in ENGINE_EVENTS:
        raise ValueError(
            f"{value!r}: events that begin with '{first}.' are the engine's own; expected another first word"
        )
    return value


def as_tuple(value: object) -> object:
    """Let a single name stand for a list of one."""
    return (value,) if isinstance(value, str) else value


def _check_resource(value: str) -> str:
    if not _RESOURCE.fullmatch(value):
        raise ValueError(
            f"{value!r} names no resource; expected package.module:name, or package.module:source.resource"
        )
    return value


Id = Annotated[str, AfterValidator(check_id)]
Identifier = Annotated[str, AfterValidator(check_identifier)]
Identifiers = Annotated[tuple[Identifier, ...], BeforeValidator(as_tuple), Field(min_length=1)]
EventName = Annotated[str, AfterValidator(check_event)]
FunctionName = Annotated[str, AfterValidator(_check_function)]
ResourceName = Annotated[str, AfterValidator(_check_resource)]
Duration = Annotated[float, BeforeValidator(parse_duration)]
Count = Annotated[int, Field(ge=1, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Workers = Annotated[int, Field(ge=1, le=1000, strict=True)]


class Misfit(ValueError):
    """A value that does not fit another one of its model. `path` leads from the model to the value meant.

    The text may end in "; expected …", like that of every `ValueError` of a spec.
    """

    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.path = path


class Spec(BaseModel):
    """Base of every declaration: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class TableRef(NamedTuple):
    """The name of a table: dataset (schema on DuckDB and PostgreSQL) and table."""

    dataset: str
    table: str

    def __str__(self) -> str:
        return f"{self.dataset}.{self.table}"
