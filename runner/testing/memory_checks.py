"""Checks of tables in memory, said in plain Python: the meaning that every warehouse's SQL must have. Expressions are
SQL, so DuckDB is asked about them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from runner.expectations import Tally, fresh_finding, named_columns, rows_finding, sample_text
from runner.ports import Batch, Finding, Row, TableCheck
from runner.specs import Expectation, TableRef, TableSpec
from runner.sql import DUCKDB, column_list, quote
from runner.testing.memory_tables import MemoryTable, comparable, find, matcher, ordered, to_batch

SAMPLES = 5


def table_findings(tables: Mapping[TableRef, MemoryTable], check: TableCheck) -> tuple[Finding, ...]:
    """Return what is against the expectations of a table, in their order."""
    matches = matcher(check.table, check.filters)
    rows = [row for row in find(tables, check.table.ref).rows if matches(row)]
    rows = ordered(rows, check.table.key)
    found = (_finding(check, expectation, rows) for expectation in check.expectations)
    return tuple(finding for finding in found if finding is not None)


def _finding(check: TableCheck, expectation: Expectation, rows: Sequence[Row]) -> Finding | None:
    subject = str(check.table.ref)
    if expectation.rows is not None:
        return rows_finding(subject, expectation, len(rows))
    if expectation.fresh is not None:
        times = [time for row in rows if (time := row[expectation.fresh.column]) is not None]
        oldest = check.as_of - timedelta(seconds=expectation.fresh.within)
        if times and max(times) >= oldest:
            return None
        latest = f"{max(times):%Y-%m-%dT%H:%M:%S.%fZ}" if times else None
        return fresh_finding(subject, expectation, len(rows), latest)
    if expectation.unique is not None:
        return _shared(subject, expectation, expectation.unique, rows)
    if expectation.expression is not None:
        return _against_expression(check, expectation, expectation.expression, rows)
    tally = Tally(expectation, check.table.key, subject=subject)
    tally.take(
        Batch(len(rows), columns={name: [row[name] for row in rows] for name in check.table.column_names})
    )
    return tally.finding()


def _shared(
    subject: str, expectation: Expectation, names: Sequence[str], rows: Sequence[Row]
) -> Finding | None:
    values: dict[tuple[Any, ...], Row] = {}
    counts: Counter[tuple[Any, ...]] = Counter()
    for row in ordered(rows, names):
        if all(row[name] is not None for name in names):
            key = tuple(comparable(row[name]) for name in names)
            values.setdefault(key, {name: row[name] for name in names})
            counts[key] += 1
    shared = {key: count for key, count in counts.items() if count > 1}
    if not shared:
        return None
    samples = [f"{sample_text(values[key], (), names)} in {count} rows" for key, count in shared.items()]
    return Finding(
        subject=subject, expectation=expectation, rows=len(rows), offending=sum(shared.values()),
        samples=tuple(samples[:SAMPLES]),
    )  # fmt: skip


def _against_expression(
    check: TableCheck, expectation: Expectation, text: str, rows: Sequence[Row]
) -> Finding | None:
    against = [
        row for row, holds in zip(rows, _evaluated(check.table, text, rows), strict=True) if holds is False
    ]
    if not against:
        return None
    names = named_columns(text, check.table)
    samples = [sample_text(row, check.table.key, names) for row in against[:SAMPLES]]
    return Finding(
        subject=str(check.table.ref), expectation=expectation, rows=len(rows), offending=len(against),
        samples=tuple(samples),
    )  # fmt: skip


def _evaluated(table: TableSpec, text: str, rows: Sequence[Row]) -> list[bool | None]:
    """Return what a condition says of each row, in their order."""
    import duckdb
    import pyarrow as pa

    batch = to_batch(table, table.column_names, rows).append_column("place_", pa.arange(0, len(rows)))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("incoming", pa.Table.from_batches([batch]))
        typed = ", ".join(
            f"CAST({quote(column.name)} AS {DUCKDB.types[column.type]}) AS {quote(column.name)}"
            for column in table.columns
        )
        source = f"(SELECT {typed}, {column_list(['place_'])} FROM incoming)"
        found = connection.execute(
            f"SELECT CAST(({text}\n) AS BOOLEAN) FROM {source} ORDER BY place_"
        ).fetchall()
    return [row[0] for row in found]
