"""The statements of incremental reads, and the text of keys."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import product
from typing import Any

import duckdb
import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from runner.incremental import (
    affixes,
    count_statement,
    key_text,
    missing_statement,
    quarantined_statement,
    query_columns,
    read_statement,
)
from runner.ports import IncrementalRead, ReadQuery, Release
from runner.sql import DUCKDB
from tests.warehouse_lab import EVENTS, OBSERVATIONS, PAIR_TARGET, PAIRS, incremental, where

RELEASES = (None, Release(), Release(quarantined=True), Release(filters=(where("id", "a"),)))
TIMES: dict[str, Any] = {"mode": "left_anti", "source_ts": "ts", "target_ts": "made"}
SHAPES: tuple[dict[str, Any], ...] = ({}, {"key_prefix": "co:", "key_suffix": "#x"}, TIMES)


def reads() -> list[IncrementalRead]:
    """Return reads of every shape."""
    return [incremental(release=release, **shape) for release, shape in product(RELEASES, SHAPES)]


def placeholders(text: str) -> set[str]:
    """Return the names that a statement wants values for, as sqlglot reads it."""
    statements = sqlglot.parse(text, read="duckdb")
    assert len(statements) == 1
    assert statements[0] is not None
    return {node.name for node in statements[0].find_all(exp.Placeholder)}


@pytest.mark.parametrize("read", reads())
def test_statements_parse_and_bind_exactly_their_values(read: IncrementalRead) -> None:
    query = ReadQuery(
        source=EVENTS, columns=("n",), filters=(where("binding", ["x", "y"], "in"),), incremental=read, limit=7,
        order_by=("n",),
    )  # fmt: skip
    for statement in (
        read_statement(query, DUCKDB),
        read_statement(query, DUCKDB, remembered=False),
        read_statement(query, DUCKDB, row_ids=False),
        count_statement(query, DUCKDB),
        missing_statement(read, "asked", "number", DUCKDB, times=False),
        quarantined_statement("job", DUCKDB),
    ):
        assert placeholders(statement.text) == set(statement.values)
        assert "NOT IN (SELECT" not in statement.text or read.release is not None


def test_not_exists_is_an_anti_join_with_the_filter_in_where() -> None:
    query = ReadQuery(
        source=EVENTS, columns=("n",), filters=(where("binding", "x"),), incremental=incremental()
    )
    joined = (
        'FROM "lab"."events" AS s',
        'ANTI JOIN "lab"."observations" AS t ON t."id" = s."id"',
        'WHERE s."binding" = $binding',
    )
    of_a_view = read_statement(query, DUCKDB, remembered=False, row_ids=False)
    assert of_a_view.text == "\n".join(['SELECT s."n", s."id"', *joined])
    of_a_table = read_statement(query, DUCKDB, remembered=False)
    assert of_a_table.text == "\n".join(
        [
            'SELECT s."n", s."id"',
            'FROM "lab"."events" AS s',
            "SEMI JOIN (",
            "  SELECT s.rowid AS number",
            *(f"  {line}" for line in joined),
            ") AS n ON n.number = s.rowid",
        ]
    )


def test_columns_of_key_and_time_are_added_once() -> None:
    query = ReadQuery(source=EVENTS, columns=("ts", "n"), incremental=incremental(**TIMES))
    assert query_columns(query) == ("ts", "n", "id")
    pairs = incremental(PAIR_TARGET, source_key=["a", "b"], target_key=["c", "d"])
    assert query_columns(ReadQuery(source=PAIRS, columns=("b",), incremental=pairs)) == ("b", "a")
    assert query_columns(ReadQuery(source=OBSERVATIONS, columns=("v",))) == ("v",)


text = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": text,
    "int64": st.integers(-(2**63), 2**63 - 1),
    "numeric": st.decimals(-(10**28), 10**28, places=9, allow_nan=False),
    "bool": st.booleans(),
    "timestamp": st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001
    "date": st.dates(date(1, 1, 1)),
    "bytes": st.binary(max_size=10),
}
keys = st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3).flatmap(
    lambda types: st.tuples(st.just(types), st.tuples(*(st.none() | VALUES[kind] for kind in types)))
)


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    """Return a DuckDB in UTC."""
    opened = duckdb.connect()
    opened.execute("SET TimeZone = 'UTC'")
    return opened


@given(key=keys)
def test_key_text_is_the_same_in_python_and_in_sql(
    connection: duckdb.DuckDBPyConnection, key: tuple[list[str], tuple[Any, ...]]
) -> None:
    types, values = key
    expressions = [f"CAST($v{n} AS {DUCKDB.types[kind]})" for n, kind in enumerate(types)]
    named = {f"v{n}": value for n, value in enumerate(values)}
    found = connection.execute(f"SELECT {DUCKDB.key_text(expressions, types)}", named).fetchall()[0][0]
    assert found == key_text(values, types)


def test_key_text_is_readable() -> None:
    assert key_text(["abc"], ["string"]) == "abc"
    assert key_text([None], ["string"]) is None
    assert key_text(["a", None], ["string", "int64"]) is None
    assert key_text(['a"b', 7], ["string", "int64"]) == '["a\\"b","7"]'
    assert key_text([datetime(2026, 2, 12, 6, tzinfo=UTC)], ["timestamp"]) == "2026-02-12T06:00:00.000000Z"
    assert key_text([Decimal("1.5")], ["numeric"]) == "1.500000000"


def test_affixes_are_found_by_looking_for_one_key_in_the_other() -> None:
    assert affixes(["abc", "abd", ""], ["co:abc", "co:abd", "abc#1", "abd", "zzz"]) == [
        ("co:", ""),
        ("", "#1"),
    ]
    assert affixes(["abc"], ["abc"]) == []
