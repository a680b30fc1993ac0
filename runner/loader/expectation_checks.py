"""What a `check` expects, against the columns that it expects it of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.errors import did_you_mean
from runner.loader.declarations import LoadedJob, Reading
from runner.loader.nodes import Path, shorten
from runner.loader.values import filter_value
from runner.specs import (
    CheckSpec,
    ColumnSpec,
    Expectation,
    ReadSpec,
    SqlSpec,
    Step,
    TableRef,
    TableSpec,
    WriteSpec,
)

TABLE_ONLY = ("unique", "fresh", "expression")
"""Kinds that ask about rows beside each other, or in SQL: rows on their way come one batch at a time."""

NOT_ORDERED = ("json", "bool", "bytes")


@dataclass(slots=True)
class ExpectationChecks:
    """Checks of one job. `engine` is the SQL dialect of expressions."""

    job: LoadedJob
    reading: Reading
    engine: str

    def typed(self, path: Path, step: CheckSpec, table: TableSpec | None) -> CheckSpec:
        """Return a step with its values typed by their columns: those of its table, or those that a read gives the rows
        which it checks. Behind a function nothing is known of them.
        """
        source = Source(table, table.columns) if table else self._read_before(step)
        expect = []
        for number, expectation in enumerate(step.expect):
            place = (*path, "expect", number)
            if step.ref is None and expectation.kind in TABLE_ONLY:
                message = f"{expectation.kind} is asked of a table, not of rows on their way"
                self._add((*place, expectation.kind), message, expected="dataset and table, too", at_key=True)
            elif source is not None:
                expectation = Typing(source, self._add, self.engine, place).typed(expectation)
            expect.append(expectation)
        return step.model_copy(update={"expect": tuple(expect)})

    def _read_before(self, step: CheckSpec) -> Source | None:
        """Return the columns of the read whose rows come here untouched."""
        origin = origin_of(self.job.spec.steps, step)
        table = self.reading.table(origin.ref) if isinstance(origin, ReadSpec) else None
        if table is None or not isinstance(origin, ReadSpec):
            return None
        names = {*(origin.columns or table.column_names)}
        if (spec := origin.incremental) is not None:
            names |= {*spec.source_key, *([spec.source_ts] if spec.source_ts else [])}
        return Source(
            table, tuple(column for column in table.columns if column.name in names), origin.step_id
        )

    def _add(
        self, path: Path, message: str, *, expected: str = "", hint: str = "", at_key: bool = False
    ) -> None:
        self.reading.report.add(self.job.document, path, message, expected=expected, hint=hint, at_key=at_key)


def check_verdicts(job: LoadedJob, reading: Reading) -> None:
    """Refuse what could not hold a job back that lands in pieces: the first have landed when the verdict comes."""
    written: set[TableRef] = set()
    steps = job.spec.steps
    if not any(isinstance(step, WriteSpec) and step.commit_every for step in steps):
        return
    for number, step in enumerate(steps):
        if isinstance(step, WriteSpec | SqlSpec):
            written.update([step.ref] if isinstance(step, WriteSpec) else step.writes)
        elif isinstance(step, CheckSpec) and _comes_too_late(step, written):
            message = (
                "the job lands in pieces (commit_every), and the first have landed when this check concludes"
            )
            expected = "no commit_every; or, for rows on their way, severity: warn and no expectation of rows"
            reading.report.add(job.document, ("steps", number), message, expected=expected)


def _comes_too_late(step: CheckSpec, written: set[TableRef]) -> bool:
    if step.ref is not None:
        return step.ref in written
    return any(item.severity != "warn" or item.rows is not None for item in step.expectations)


def origin_of(steps: Sequence[Step], step: Step) -> Step | None:
    """Return the step that gave the rows which come to `step` the shape they have: checks hand them on as they are."""
    numbers = {other.step_id: number for number, other in reversed(list(enumerate(steps)))}
    while True:
        here = numbers[step.step_id]
        source = numbers.get(step.input, -1) if step.input else here - 1
        if not 0 <= source < here:
            return None
        step = steps[source]
        if not isinstance(step, CheckSpec):
            return step


@dataclass(frozen=True, slots=True)
class Source:
    """Where checked rows come from: a table, and which of its columns; `step_id` of the read in between."""

    table: TableSpec
    columns: tuple[ColumnSpec, ...]
    step_id: str = ""


@dataclass(slots=True)
class Typing:
    """One expectation against the columns of its rows."""

    source: Source
    add: Callable[..., None]
    engine: str
    path: Path

    def typed(self, expectation: Expectation) -> Expectation:
        """Return the expectation with typed values; what is wrong is reported."""
        for name in ("not_null", "unique"):
            columns = [
                self._column((*self.path, name), item, number)
                for number, item in enumerate(getattr(expectation, name) or ())
            ]
            if name == "unique":
                self._comparable((*self.path, name), columns)
        if expectation.accepted is not None:
            values = self._accepted(expectation.accepted.column, expectation.accepted.values)
            return expectation.model_copy(
                update={"accepted": expectation.accepted.model_copy(update={"values": values})}
            )
        if expectation.range is not None:
            bounds = self._range(expectation.range.column, expectation.range.min, expectation.range.max)
            return expectation.model_copy(update={"range": expectation.range.model_copy(update=bounds)})
        if expectation.fresh is not None:
            path = (*self.path, "fresh", "column")
            column = self._column(path, expectation.fresh.column)
            if column is not None and column.type != "timestamp":
                self.add(path, f"{column.name!r} is {column.type}", expected="a timestamp column")
        if expectation.expression is not None:
            self._expression(expectation.expression)
        return expectation

    def _accepted(self, name: str, values: Sequence[Any]) -> tuple[Any, ...]:
        path = (*self.path, "accepted")
        column = self._column((*path, "column"), name)
        if column is None:
            return tuple(values)
        if column.type in ("json", "bytes"):
            message = f"{name!r} is {column.type}, of which no value can be listed"
            self.add((*path, "column"), message)
            return tuple(values)
        return tuple(
            self._value((*path, "values", number), column, value) for number, value in enumerate(values)
        )

    def _range(self, name: str, low: Any, high: Any) -> Mapping[str, Any]:
        path = (*self.path, "range")
        column = self._column((*path, "column"), name)
        if column is None:
            return {}
        if column.type in NOT_ORDERED:
            self.add((*path, "column"), f"{name!r} is {column.type}, which has no order")
            return {}
        bounds = {
            key: None if value is None else self._value((*path, key), column, value)
            for key, value in (("min", low), ("max", high))
        }
        least, most = bounds["min"], bounds["max"]
        if type(least) is type(most) and least is not None and least > most:
            message = f"no value is at least {shorten(low)} and at most {shorten(high)}"
            self.add((*path, "max"), message, expected="at least min")
        return bounds

    def _value(self, path: Path, column: ColumnSpec, value: Any) -> Any:
        try:
            return filter_value(self.source.table, column, value)
        except ValueError as error:
            message = f"{shorten(value)} does not fit column {column.name!r} of type {column.type}"
            self.add(path, message, expected=str(error))
            return value

    def _comparable(self, path: Path, columns: Sequence[ColumnSpec | None]) -> None:
        for column in columns:
            if column is not None and column.type == "json":
                self.add(path, f"{column.name!r} is json: text of equal meaning may differ")

    def _expression(self, text: str) -> None:
        from runner.expectations.expressions import expression_problems  # brings sqlglot along

        for problem, hint in expression_problems(text, self.source.columns, self.engine):
            message, _, expected = problem.partition("; expected ")
            self.add((*self.path, "expression"), f"{shorten(text)} {message}", expected=expected, hint=hint)

    def _column(self, path: Path, name: str, number: int | None = None) -> ColumnSpec | None:
        """Return a column by its name; a name that there is not is reported."""
        found = next((column for column in self.source.columns if column.name == name), None)
        if found is None:
            names = [column.name for column in self.source.columns]
            hint = did_you_mean(name, names)
            read = f", as step {self.source.step_id!r} reads it," if self.source.step_id else ""
            message = f"table {self.source.table.ref}{read} has no column {name!r}"
            place = path if number is None else (*path, number)
            self.add(place, message, expected="" if hint else f"one of {', '.join(names[:12])}", hint=hint)
        return found
