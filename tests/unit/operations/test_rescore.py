"""rescore: how conditions are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import ConfigurationError, UsageError
from runner.operations.rescore import check, parse_condition
from runner.specs import TableSpec

TABLE = TableSpec.model_validate(
    {
        "dataset": "derived",
        "table": "observations",
        "columns": [
            {"name": "binding_id", "type": "string"},
            {"name": "processed_at", "type": "timestamp"},
            {"name": "value", "type": "int64"},
            {"name": "answers", "type": "json"},
        ],
    }
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("binding_id=intake_01", ("binding_id", "=", "intake_01")),
        ("binding_id = a=b", ("binding_id", "=", " a=b")),
        ("value<=5", ("value", "<=", "5")),
        ("value>=5", ("value", ">=", "5")),
        ("value!=5", ("value", "!=", "5")),
        ("value<5", ("value", "<", "5")),
        ("value>5", ("value", ">", "5")),
        ("binding_id=", ("binding_id", "=", "")),
        ("binding_id=two\nlines", ("binding_id", "=", "two\nlines")),
    ],
)
def test_a_condition_is_column_operator_value(text: str, expected: tuple[str, str, str]) -> None:
    found = parse_condition(text)

    assert (found.column, found.op, found.value) == expected


@given(st.text())
def test_any_value_is_taken_as_it_is(value: str) -> None:
    assert parse_condition(f"binding_id!={value}").value == value


@pytest.mark.parametrize("text", ["", "binding_id", "=x", "a b=c", "é=1", "a;drop=1"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a condition"):
        parse_condition(text)


@pytest.mark.parametrize("text", ["bindin_id=x", "value=five", "processed_at<2026-02-12", "answers={}"])
def test_columns_and_values_are_checked_against_the_declaration(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"derived\.observations"):
        check([TABLE], [parse_condition(text)])


@pytest.mark.parametrize("text", ["binding_id=x", "value=5", "processed_at<2026-02-12T00:00:00Z"])
def test_texts_are_read_as_the_column_s_type(text: str) -> None:
    check([TABLE], [parse_condition(text)])
