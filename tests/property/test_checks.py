"""A check says the same of rows on their way, in every shape, of a table in DuckDB and in memory, and in a model of ten
lines.
"""

from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal
from hypothesis import given
from hypothesis import strategies as st

from runner.expectations import Tally
from runner.ports import Batch, Finding, TableCheck, WriteTarget
from runner.settings import DuckDBSettings
from runner.specs import Expectation
from runner.testing import MemoryWarehouse
from runner.warehouses.duckdb import DuckDBWarehouse
from tests.warehouse_lab import STAMP, Lab, at, batch_of, table

SPEC = table(
    "checked",
    ["place"],
    place="int64!",
    i="int64",
    f="float64",
    n="numeric",
    s="string",
    b="bool",
    t="timestamp",
)
COLUMNS = SPEC.column_names[1:]

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "i": st.sampled_from([-(2**63), -1, 0, 1, 2, 2**53 + 1, 2**63 - 1]),
    "f": st.sampled_from([-math.inf, -1.5, -0.0, 0.0, 0.1, 1.0, 2.0**53, math.inf, math.nan]),
    "n": st.sampled_from([Decimal("-1.5"), Decimal(0), Decimal("0.1"), Decimal("0.100000001"), Decimal(7)]),
    "s": st.sampled_from(["", "a", "A", "b", "ä", "z", "'", "\U0001f600"]),
    "b": st.booleans(),
    "t": st.integers(-2, 2).map(at),
}
BOUNDS = {name: VALUES[name].filter(lambda value: value == value) for name in ("i", "f", "n", "s", "t")}
ROWS = st.lists(st.tuples(*(st.none() | VALUES[name] for name in COLUMNS)), max_size=7)


@st.composite
def expectations(draw: st.DrawFn, kinds: tuple[str, ...]) -> Expectation:
    """Make an expectation of one of these kinds, its values typed as the loader types them."""
    kind = draw(st.sampled_from(kinds))
    match kind:
        case "not_null" | "unique":
            names = st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=2, unique=True)
            content: Any = [draw(st.sampled_from(COLUMNS))] if kind == "not_null" else draw(names)
        case "accepted":
            column = draw(st.sampled_from(COLUMNS))
            options = BOUNDS.get(column, VALUES[column])
            content = {"column": column, "values": draw(st.lists(options, min_size=1, max_size=4))}
        case "range":
            column = draw(st.sampled_from(list(BOUNDS)))
            low, high = sorted([draw(BOUNDS[column]), draw(BOUNDS[column])])
            ends = draw(st.sampled_from([("min",), ("max",), ("min", "max")]))
            content = {"column": column} | {end: {"min": low, "max": high}[end] for end in ends}
        case "rows":
            content = draw(st.sampled_from([{"min": 3}, {"max": 3}, {"min": 2, "max": 4}, {"min": 0}]))
        case _:
            content = {"column": "t", "within": 60}
    return Expectation.model_validate({kind: content})


def model(expectation: Expectation, rows: list[dict[str, Any]]) -> tuple[int, int] | None:
    """Return how many rows there are and offend, None where the expectation holds: said as plainly as can be."""
    offending = 0
    for column in expectation.not_null or ():
        offending = sum(row[column] is None for row in rows)
    if expectation.unique:
        keys = [tuple(_same(row[name]) for name in expectation.unique) for row in rows]
        offending = sum(n for key, n in Counter(keys).items() if n > 1 and None not in key)
    if (accepted := expectation.accepted) is not None:
        values = [row[accepted.column] for row in rows]
        offending = sum(
            value is not None and not any(value == one for one in accepted.values) for value in values
        )
    if (bounds := expectation.range) is not None:
        for value in (row[bounds.column] for row in rows):
            low, high = (value if bound is None else bound for bound in (bounds.min, bounds.max))
            offending += value is not None and not low <= value <= high
    if expectation.rows is not None:
        least, most = expectation.rows.min or 0, expectation.rows.max
        return None if least <= len(rows) and (most is None or len(rows) <= most) else (len(rows), 0)
    if expectation.fresh is not None:
        times = [row["t"] for row in rows if row["t"] is not None]
        return None if times and max(times) >= at(-1) else (len(rows), 0)
    return (len(rows), offending) if offending else None


def _same(value: Any) -> Any:
    return "NaN" if value != value else value


def verdict(finding: Finding | None) -> tuple[int, int] | None:
    """Return what a finding counts."""
    return None if finding is None else (finding.rows, finding.offending)


def batches(rows: list[dict[str, Any]]) -> list[list[Batch]]:
    """Return the rows as streams: in one batch and in batches of two, in each of the three shapes."""
    streams: list[list[Batch]] = []
    for size in (2, 100):
        cut = [rows[start : start + size] for start in range(0, len(rows), size)]
        streams.append([Batch(len(some), rows=some) for some in cut])
        streams.append(
            [Batch(len(some), columns={n: [row[n] for row in some] for n in some[0]}) for some in cut]
        )
        streams.append(
            [
                Batch(
                    len(some), arrow=batch_of(SPEC, SPEC.column_names, [tuple(row.values()) for row in some])
                )
                for some in cut
            ]
        )
    return streams


@given(rows=ROWS, expectation=expectations(("not_null", "accepted", "range", "rows")))
def test_rows_on_their_way(rows: list[tuple[Any, ...]], expectation: Expectation) -> None:
    named = [dict(zip(SPEC.column_names, (place, *row), strict=True)) for place, row in enumerate(rows)]
    found = []
    for stream in batches(named):
        tally = Tally(expectation, SPEC.key)
        for batch in stream:
            tally.take(batch)
        found.append(tally.finding())
    assert {verdict(finding) for finding in found} == {model(expectation, named)}
    assert len({finding.samples if finding else () for finding in found}) == 1


def test_tables(tmp_path: Path) -> None:
    """DuckDB and memory say the same as the model, with the same samples."""
    kinds = ("not_null", "unique", "accepted", "range", "rows", "fresh")
    with start_blocking_portal() as portal:
        opened = DuckDBWarehouse(tmp_path / "checks.duckdb", DuckDBSettings(threads=1))
        with portal.wrap_async_context_manager(opened) as duckdb:
            labs = [Lab(duckdb, "duckdb"), Lab(MemoryWarehouse(), "memory")]
            for lab in labs:
                portal.call(lab.prepare, SPEC)

            @given(rows=ROWS, expected=st.lists(expectations(kinds), min_size=1, max_size=4))
            def compare(rows: list[tuple[Any, ...]], expected: list[Expectation]) -> None:
                portal.call(said_the_same, labs, rows, expected)

            compare()


async def said_the_same(labs: list[Lab], rows: list[tuple[Any, ...]], expected: list[Expectation]) -> None:
    """Put these rows in place of the others in every warehouse, and compare what checks find."""
    named = [dict(zip(SPEC.column_names, (place, *row), strict=True)) for place, row in enumerate(rows)]
    check = TableCheck(step_id="fit", table=SPEC, expectations=tuple(expected), as_of=STAMP)
    target = WriteTarget(step_id="fill", table=SPEC, mode="replace", key=SPEC.key)
    said = []
    for lab in labs:
        await lab.land(target, batch_of(SPEC, SPEC.column_names, [tuple(row.values()) for row in named]))
        said.append(await lab.warehouse.check(check))
    assert said[0] == said[1]
    wanted = [found for one in expected if (found := model(one, named)) is not None]
    assert [verdict(finding) for finding in said[0]] == wanted
