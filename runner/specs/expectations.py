"""What a `check` step expects of its rows: one model, of which each entry uses exactly one kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from runner.clock import format_duration
from runner.specs.names import Duration, Identifier, Identifiers, Misfit, Spec

KINDS = ("not_null", "unique", "accepted", "range", "rows", "fresh", "expression")
"""Keys of an expectation that say what is expected."""

TABLE_KINDS = ("unique", "fresh", "expression")
"""Kinds that need a whole table: rows on their way are seen one batch at a time, and never by SQL."""

Severity = Literal["error", "warn"]
RowCount = Annotated[int, Field(ge=0, strict=True)]


class Accepted(Spec):
    """A column that holds one of these values, or NULL."""

    column: Identifier
    values: Annotated[tuple[Any, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _single_values(self) -> Self:
        for number, value in enumerate(self.values):
            if value is None:
                raise Misfit(
                    "NULL is always accepted; expected a value, or not_null beside it", "values", number
                )
            if isinstance(value, list | tuple | dict):
                raise Misfit("not one value; expected no list and no keys", "values", number)
        return self


class Range(Spec):
    """A column whose values lie between two bounds, both included, or are NULL. One bound is enough."""

    column: Identifier
    min: Any = None
    max: Any = None

    @model_validator(mode="after")
    def _bounds_fit(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("a range without bounds; expected min, max or both")
        for name, bound in (("min", self.min), ("max", self.max)):
            if isinstance(bound, list | tuple | dict | bool):
                raise Misfit("no bound; expected a number, a text or a time", name)
        low, high = self.min, self.max
        if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
            raise Misfit(f"no value is at least {low} and at most {high}; expected at least min", "max")
        return self


class Rows(Spec):
    """How many rows there are: of the table (after filters), or of the whole job on their way."""

    min: RowCount | None = None
    max: RowCount | None = None

    @model_validator(mode="after")
    def _bounds_fit(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("rows without bounds; expected min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            message = f"no number is at least {self.min} and at most {self.max}; expected at least min"
            raise Misfit(message, "max")
        return self


class Fresh(Spec):
    """A timestamp column whose greatest value is at most `within` seconds before the run's logical time."""

    column: Identifier
    within: Duration


class Expectation(Spec):
    """One expectation. `severity` None: that of its step.

    not_null: columns without NULL. unique: columns that no two rows have in common; a NULL is like no other.
    expression: a condition on one row in the warehouse's SQL; NULL passes.
    """

    not_null: Identifiers | None = None
    unique: Identifiers | None = None
    accepted: Accepted | None = None
    range: Range | None = None
    rows: Rows | None = None
    fresh: Fresh | None = None
    expression: Annotated[str, Field(min_length=1)] | None = None
    severity: Severity | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            what = f"both {given[0]} and {given[1]}" if given else "nothing"
            raise ValueError(f"an entry that expects {what}; expected one of {', '.join(KINDS)} in each")
        return self

    @property
    def kind(self) -> str:
        """Which of `KINDS` it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names; none for rows and expression."""
        value = getattr(self, self.kind)
        return value if isinstance(value, tuple) else (value.column,) if hasattr(value, "column") else ()

    @property
    def is_about_rows(self) -> bool:
        """Whether single rows offend, not the rows as a whole."""
        return self.kind not in ("rows", "fresh")

    def each(self, severity: Severity) -> Iterator[Expectation]:
        """Yield it with its severity, once for each column where columns are looked at one by one."""
        update = {"severity": self.severity or severity}
        for column in self.not_null or ():
            yield self.model_copy(update={**update, "not_null": (column,)})
        if self.not_null is None:
            yield self.model_copy(update=update)

    def __str__(self) -> str:
        match self:
            case Expectation(accepted=Accepted(column=column, values=values)):
                return f"accepted {column} {_some(values)}"
            case Expectation(range=Range(column=column, min=low, max=high)):
                return f"range {column}{_between(low, high)}"
            case Expectation(rows=Rows(min=low, max=high)):
                return f"rows{_between(low, high)}"
            case Expectation(fresh=Fresh(column=column, within=within)):
                return f"fresh {column} within {format_duration(within)}"
            case Expectation(expression=str(text)):
                return f"expression {_cut(text)}"
            case _:
                return f"{self.kind} {', '.join(self.columns)}"


SHOWN_VALUES = 8
SHOWN_CHARACTERS = 200


def _some(values: tuple[Any, ...]) -> str:
    shown = ", ".join(_cut(str(value)) for value in values[:SHOWN_VALUES])
    return f"{shown} and {len(values) - SHOWN_VALUES} more" if len(values) > SHOWN_VALUES else shown


def _between(low: Any, high: Any) -> str:
    text = f" from {_cut(str(low))}" if low is not None else ""
    return f"{text} to {_cut(str(high))}" if high is not None else text


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
