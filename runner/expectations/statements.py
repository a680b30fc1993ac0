"""The two statements of a table's check: one counts what is against each of its expectations, and only where there
is something, one more shows a few of the rows. Text for any engine: what differs stands in the dialect.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from runner.expectations.findings import SAMPLES, fresh_finding, rows_finding, sample_text
from runner.ports import Finding, Row, Statement, TableCheck
from runner.specs import CheckSpec, ColumnSpec, Expectation, RunPlan, TableSpec
from runner.sql import Dialect, Parameters, conditions, typed_value
from runner.types import shown_row

if TYPE_CHECKING:
    import pyarrow as pa

NUMBER = "number_"
SHARED = "shared_"
TOTAL = "total_"


def table_check(spec: CheckSpec, plan: RunPlan) -> TableCheck:
    """Return what a check of a table asks of it."""
    if spec.ref is None:
        raise ValueError(f"check {spec.step_id} is not of a table")
    return TableCheck(
        step_id=spec.step_id,
        table=plan.tables[spec.ref],
        expectations=spec.expectations,
        as_of=plan.as_of,
        filters=spec.filters,
    )


def table_findings(
    check: TableCheck, dialect: Dialect, fetch: Callable[[Statement], pa.Table]
) -> tuple[Finding, ...]:
    """Return what is against a table's expectations. `fetch` sends a statement; it is called once or twice. Blocks."""
    statements = CheckStatements(check, dialect)
    (counts,) = fetch(statements.count()).to_pylist()
    shown = statements.to_show(counts)
    rows = _rows_of(fetch(statements.sample(shown))) if shown else ()
    return statements.findings(counts, rows)


def _rows_of(found: pa.Table) -> Iterator[Row]:
    for batch in found.to_batches():
        for place in range(batch.num_rows):
            yield shown_row(batch, place)


def _finding(
    subject: str, expectation: Expectation, number: int, counts: Mapping[str, Any]
) -> Finding | None:
    rows = int(counts[TOTAL])
    if expectation.rows is not None:
        return rows_finding(subject, expectation, rows)
    against = int(counts[f"against_{number}"])
    if not against:
        return None
    if expectation.fresh is not None:
        return fresh_finding(subject, expectation, rows, counts[f"latest_{number}"])
    return Finding(subject=subject, expectation=expectation, rows=rows, offending=against)


class CheckStatements:
    """Makes the statements of one check, and findings of what they answer. An engine that runs scripts sends both
    statements at once, without seeing what the first one answers.
    """

    def __init__(self, check: TableCheck, dialect: Dialect) -> None:
        self._check = check
        self._table = check.table
        self._dialect = dialect
        self._quote = dialect.quote
        self._from = dialect.qualified(check.table.ref)

    def count(self) -> Statement:
        """Return the statement that gives one row: all rows, and for each expectation how many are against it."""
        parameters = Parameters(self._dialect)
        where = self._where(parameters)
        counts = [f"count(*) AS {self._quote(TOTAL)}"]
        for number, expectation in enumerate(self._check.expectations):
            if expectation.rows is None:
                counts += self._counts(number, expectation, where, parameters)
        text = f"SELECT {', '.join(counts)} FROM {self._from}{_filtered(where)}"
        return Statement(text=text, values=parameters.values)

    def _counts(
        self, number: int, expectation: Expectation, where: Sequence[str], parameters: Parameters
    ) -> list[str]:
        name = self._quote(f"against_{number}")
        if expectation.unique is not None:
            groups = self._shared(expectation.unique, where, "count(*) AS n")
            return [f"(SELECT coalesce(sum(g.n), 0) FROM ({groups}) AS g) AS {name}"]
        if expectation.fresh is not None:
            latest = f"max({self._quote(expectation.fresh.column)})"
            oldest = self._check.as_of - timedelta(seconds=expectation.fresh.within)
            bound = parameters.bind("oldest", oldest, "timestamp")
            return [
                f"CASE WHEN {latest} >= {bound} THEN 0 ELSE 1 END AS {name}",
                f"{self._dialect.texts['timestamp'].format(latest)} AS {self._quote(f'latest_{number}')}",
            ]
        return [f"count(CASE WHEN {self._against(expectation, parameters)} THEN 1 END) AS {name}"]

    def sample(self, numbers: Sequence[int]) -> Statement:
        """Return the statement that gives a few rows against each of these expectations, by their numbers."""
        parameters = Parameters(self._dialect)
        where = self._where(parameters)
        columns = self.columns_shown(numbers)
        parts = [
            self._shared_sample(number, unique, columns, where)
            if (unique := self._check.expectations[number].unique) is not None
            else self._row_sample(number, columns, where, parameters)
            for number in numbers
        ]
        order = [NUMBER, *(column.name for column in columns if column.type != "json")]
        union = "\nUNION ALL ".join(f"({part})" for part in parts)
        text = f"SELECT * FROM ({union}) AS s ORDER BY {self._dialect.columns(order)}"
        return Statement(text=text, values=parameters.values)

    def _row_sample(
        self, number: int, columns: Sequence[ColumnSpec], where: Sequence[str], parameters: Parameters
    ) -> str:
        against = self._against(self._check.expectations[number], parameters)
        order = f" ORDER BY {self._dialect.columns(self._table.key)}" if self._table.key else ""
        names = ", ".join(
            [
                f"{number} AS {self._quote(NUMBER)}",
                f"1 AS {self._quote(SHARED)}",
                *(self._quote(item.name) for item in columns),
            ]
        )
        found = _filtered([*where, f"({against})"])
        return f"SELECT {names} FROM {self._from}{found}{order} LIMIT {SAMPLES}"

    def _shared_sample(
        self, number: int, unique: Sequence[str], columns: Sequence[ColumnSpec], where: Sequence[str]
    ) -> str:
        names = [f"{number} AS {self._quote(NUMBER)}", f"count(*) AS {self._quote(SHARED)}"]
        for column in columns:
            absent = f"CAST(NULL AS {self._dialect.types[column.type]}) AS {self._quote(column.name)}"
            names.append(self._quote(column.name) if column.name in unique else absent)
        groups = self._shared(unique, where, ", ".join(names))
        return f"{groups} ORDER BY {self._dialect.columns(unique)} LIMIT {SAMPLES}"

    def to_show(self, counts: Mapping[str, Any]) -> list[int]:
        """Return the numbers of the expectations that rows are against, of which `sample` is to show some."""
        found = self._found(counts).items()
        return [number for number, finding in found if finding.expectation.is_about_rows]

    def findings(self, counts: Mapping[str, Any], rows: Iterable[Row]) -> tuple[Finding, ...]:
        """Return what the row of `count` and the rows of `sample` say is against the expectations."""
        samples = self._sample_texts(rows)
        return tuple(
            replace(finding, samples=tuple(samples.get(number, ())))
            for number, finding in self._found(counts).items()
        )

    def is_against(self, row: str, *, errors_only: bool) -> str:
        """Return the condition that the row `row` (an alias) of `count` tells of something against the expectations;
        `errors_only`: against those of severity error.
        """
        parts = [
            self._tells(row, number, expectation)
            for number, expectation in enumerate(self._check.expectations)
            if not errors_only or expectation.severity != "warn"
        ]
        return f"({' OR '.join(parts)})" if parts else "FALSE"

    def _tells(self, row: str, number: int, expectation: Expectation) -> str:
        if expectation.rows is None:
            return f"{row}.{self._quote(f'against_{number}')} > 0"
        total = f"{row}.{self._quote(TOTAL)}"
        least, most = expectation.rows.min or 0, expectation.rows.max
        return f"{total} < {least}" + ("" if most is None else f" OR {total} > {most}")

    def _found(self, counts: Mapping[str, Any]) -> dict[int, Finding]:
        subject = str(self._table.ref)
        return {
            number: finding
            for number, expectation in enumerate(self._check.expectations)
            if (finding := _finding(subject, expectation, number, counts)) is not None
        }

    def _sample_texts(self, rows: Iterable[Row]) -> dict[int, list[str]]:
        """Return the rows of `sample` as text, by the number of their expectation."""
        texts: dict[int, list[str]] = {}
        for row in rows:
            number, shared = row[NUMBER], row[SHARED]
            expectation = self._check.expectations[number]
            columns = self._columns(expectation)
            keys = () if expectation.unique else self._table.key
            text = sample_text({name: row[name] for name in (*keys, *columns)}, keys, columns)
            texts.setdefault(number, []).append(f"{text} in {shared} rows" if expectation.unique else text)
        return texts

    def columns_shown(self, numbers: Sequence[int]) -> list[ColumnSpec]:
        """Return the columns that samples need: the key, and those that the expectations are about."""
        about = [name for number in numbers for name in self._columns(self._check.expectations[number])]
        return [self._table.column(name) for name in dict.fromkeys((*self._table.key, *about))]

    def _columns(self, expectation: Expectation) -> tuple[str, ...]:
        """Return the columns that an expectation is about."""
        if expectation.expression is None:
            return expectation.columns
        return named_columns(expectation.expression, self._table)

    def _where(self, parameters: Parameters) -> list[str]:
        return conditions(self._table, self._check.filters, parameters)

    def _shared(self, unique: Sequence[str], where: Sequence[str], names: str) -> str:
        """Return the query of the values that several rows have."""
        present = [f"{self._quote(name)} IS NOT NULL" for name in unique]
        keys = self._dialect.columns(unique)
        return f"SELECT {names} FROM {self._from}{_filtered([*where, *present])} GROUP BY {keys} HAVING count(*) > 1"

    def _against(self, expectation: Expectation, parameters: Parameters) -> str:
        """Return the condition under which a row is against an expectation. NULL makes it NULL, which is not true."""
        if expectation.expression is not None:
            return f"NOT ({expectation.expression}\n)"  # it may end in a comment
        column = self._table.column(expectation.columns[0])
        name = self._quote(column.name)
        bind = self._binder(column, parameters)
        if expectation.accepted is not None:
            return f"NOT ({name} IN ({', '.join(map(bind, expectation.accepted.values))}))"
        if expectation.range is not None:
            low, high = expectation.range.min, expectation.range.max
            against = [f"{name} < {bind(low)}"] if low is not None else []
            against += [f"{name} > {bind(high)}"] if high is not None else []
            against += [self._dialect.is_nan.format(name)] if column.type == "float64" else []
            return " OR ".join(against)
        return f"{name} IS NULL"

    def _binder(self, column: ColumnSpec, parameters: Parameters) -> Callable[[Any], str]:
        def bind(value: Any) -> str:
            return parameters.bind(column.name, typed_value(self._table, column, value), column.type)

        return bind


def named_columns(expression: str, table: TableSpec) -> tuple[str, ...]:
    """Return the columns whose names occur in an expression, in declared order."""
    words = set(re.findall(r"\w+", expression, re.ASCII))
    return tuple(name for name in table.column_names if name in words)


def _filtered(where: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(where)}" if where else ""
