"""SQL text: names are quoted or refused, values are bound and typed."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import ConfigurationError
from runner.incremental import key_text
from runner.specs import Filter, TableRef
from runner.sql import DUCKDB, Parameters, conditions, qualified, quote, typed_value
from tests.warehouse_lab import TYPES, table, where

TEXTS = table("texts", t="string", U="string")


@given(name=st.text(max_size=150))
def test_a_name_is_quoted_or_refused(name: str) -> None:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", name):
        assert quote(name) == f'"{name}"'
    else:
        with pytest.raises(ValueError, match=re.escape(repr(name))):
            quote(name)


@pytest.mark.parametrize(
    "name", ["", 'a"b', "a b", "1a", "a\n", "a.b", "ä", "a\x00", "a" * 129, "a;drop table x"]
)
def test_what_is_no_identifier_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not an identifier"):
        qualified(TableRef("good", name))
    with pytest.raises(ValueError, match="is not an identifier"):
        qualified(TableRef(name, "good"))


@given(value=st.text(st.characters(codec="utf-8")))
def test_a_value_never_reaches_the_text(value: str) -> None:
    parameters = Parameters(DUCKDB)
    assert conditions(TEXTS, [where("t", value)], parameters) == ['"t" = $t']
    assert parameters.values == {"t": value}


def test_each_value_has_a_placeholder_of_its_own() -> None:
    parameters = Parameters(DUCKDB)
    filters = [where("t", ["a", "b"], "in"), where("U", "c"), where("t", "d", "!=")]
    assert conditions(TEXTS, filters, parameters, "s") == [
        's."t" IN ($t, $t_2)',
        's."U" = $u',
        's."t" <> $t_3',
    ]
    assert parameters.values == {"t": "a", "t_2": "b", "u": "c", "t_3": "d"}


def test_a_numeric_is_compared_as_one() -> None:
    parameters = Parameters(DUCKDB)
    assert conditions(TYPES, [where("n", 1)], parameters) == ['"n" = CAST($n AS DECIMAL(38,9))']


GOOD: list[tuple[str, Any, Any]] = [
    ("id", "x", "x"),
    ("i", "-12", -12),
    ("i", 2**63 - 1, 2**63 - 1),
    ("f", 1, 1.0),
    ("f", "1e3", 1000.0),
    ("n", 1.1, Decimal("1.1")),
    ("n", "12345678901234567890123456789.123456789", Decimal("12345678901234567890123456789.123456789")),
    ("b", "true", True),
    ("b", False, False),
    ("t", "2026-02-12T07:00:00+01:00", datetime(2026, 2, 12, 6, tzinfo=UTC)),
    ("d", "2026-02-12", date(2026, 2, 12)),
    ("d", date(2026, 2, 12), date(2026, 2, 12)),
    ("y", b"\x00", b"\x00"),
]


@pytest.mark.parametrize(("column", "value", "expected"), GOOD)
def test_values_become_the_type_of_their_column(column: str, value: Any, expected: Any) -> None:
    typed = typed_value(TYPES, TYPES.column(column), value)
    assert typed == expected
    assert type(typed) is type(expected)


WRONG: list[tuple[str, Any]] = [
    ("id", 1), ("id", "\ud800"), ("i", 1.0), ("i", True), ("i", "1.0"), ("i", -(2**63) - 1), ("f", "x"),
    ("f", float("nan")), ("f", True), ("n", "1e-10"), ("n", Decimal("NaN")), ("n", 10**29), ("b", 1), ("b", "yes"),
    ("t", "2026-02-12T06:00:00"), ("t", date(2026, 2, 12)), ("d", datetime(2026, 2, 12, tzinfo=UTC)), ("d", "12.2.26"),
    ("y", "text"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value"), WRONG)
def test_what_does_not_fit_is_refused_with_column_value_and_expectation(column: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        typed_value(TYPES, TYPES.column(column), value)
    text = str(caught.value)
    assert f"lab.types.{column}" in text
    assert repr(value) in text
    assert f"expected {TYPES.column(column).type}" in text


def test_json_cannot_be_filtered() -> None:
    with pytest.raises(ConfigurationError, match=r"lab\.types\.j: is json"):
        conditions(TYPES, [Filter(column="j", value="{}")], Parameters(DUCKDB))


def test_composite_key_text_is_null_when_a_part_is() -> None:
    import duckdb

    text = DUCKDB.key_text(["a", "i"], ["string", "int64"])
    rows = [('x"y\\z\n', 1), (None, 1), ("a", None)]
    values = ", ".join("(?, ?)" for _ in rows)
    found = duckdb.execute(
        f"SELECT {text} FROM (VALUES {values}) AS t(a, i)", [value for row in rows for value in row]
    ).fetchall()
    assert found == [(key_text(row, ["string", "int64"]),) for row in rows]
