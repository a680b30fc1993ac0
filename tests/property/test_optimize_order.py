"""How well a table is ordered on DuckDB, against a plain model, also with NULL."""

from __future__ import annotations

from math import floor
from statistics import median
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.specs import TableRef
from runner.warehouses.duckdb import order

BLOCK = 4
ROWS = st.lists(
    st.tuples(st.none() | st.integers(0, 6), st.none() | st.sampled_from(["", "a", "b", "ab"])), max_size=40
)


@pytest.fixture(scope="module", autouse=True)
def small_blocks() -> Any:
    """Blocks of a few rows: what is measured follows the numbers of rows, whatever is on the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "BLOCK_ROWS", BLOCK)
        yield


def comparable(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row that sorts as the engine does: NULL last."""
    return tuple((True,) if value is None else (False, value) for value in row)


def model(rows: list[tuple[Any, ...]]) -> order.Order:
    """Return, of each block, in how many a value of it may lie, and of these the median."""
    blocks = [[comparable(row) for row in rows[at : at + BLOCK]] for at in range(0, len(rows), BLOCK)]
    ranges = [(min(block), max(block)) for block in blocks]
    depths = [
        1 + sum(here is not there and there[0] < here[1] and here[0] < there[1] for there in ranges)
        for here in ranges
    ]
    return order.Order(floor(median(depths) + 0.5) if depths else 0, len(blocks))


def measured(rows: list[tuple[Any, ...]]) -> tuple[order.Order, order.Order, list[tuple[Any, ...]]]:
    """Return the order before and after a rewriting, and the rows then."""
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA lab; CREATE TABLE lab.t (k BIGINT, v VARCHAR)")
        if rows:
            connection.executemany("INSERT INTO lab.t VALUES (?, ?)", [list(row) for row in rows])
        ref = TableRef("lab", "t")
        before = order.measure(connection, ref, ["k", "v"])
        connection.execute("CREATE TABLE lab.sorted AS SELECT * FROM lab.t ORDER BY k, v")
        after = order.measure(connection, TableRef("lab", "sorted"), ["k", "v"])
        return before, after, connection.execute("SELECT * FROM lab.sorted").fetchall()


@given(ROWS)
def test_the_measure_is_that_of_the_model(rows: list[tuple[Any, ...]]) -> None:
    before, after, ordered = measured(rows)
    assert before == model(rows)
    assert after.depth == (1 if rows else 0)
    assert sorted(map(comparable, rows)) == [comparable(row) for row in ordered]
