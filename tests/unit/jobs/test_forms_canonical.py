"""Canonical responses and measurement events: subject, time, answers, and keys that match."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from jobs.formation.measurement_events import measurement_event
from jobs.forms.canonical import canonize, submitted_at

Row = dict[str, Any]


def raw_response(**payload: str) -> Row:
    given = {"response_id": "r1", "form_id": "f", "binding_id": "b", "submitted_at": "2026-02-01T08:00:00Z"}
    return {
        "idem_key": "form:clinic:r1:0123",
        "response_key": "form:clinic:r1",
        "source_system": "forms",
        "connection_name": "clinic",
        "response_id": "r1",
        "content_hash": "0123",
        "payload": {**given, **payload},
    }


def test_answers_are_what_is_no_other_column_and_not_empty() -> None:
    row = canonize(raw_response(respondent_email="a@example.org", q1=" 1 ", q2="", q3="  "))
    assert row["answers"] == {"q1": "1"}
    assert row["respondent"] == {"email": "a@example.org"}
    assert row["idem_key"] == "form:clinic:r1"
    assert row["canonical_object_id"] == "co:form:clinic:r1"
    assert row["raw_idem_key"] == "form:clinic:r1:0123"


@pytest.mark.parametrize(
    ("respondent", "subject"),
    [
        ({"external_id": "P-1", "email": "a@example.org", "name": "A"}, "P-1"),
        ({"external_id": " ", "email": "a@example.org", "name": "A"}, "a@example.org"),
        ({"name": "A"}, "A"),
        ({}, "unknown"),
    ],
)
def test_the_subject_is_the_first_that_is_known(respondent: dict[str, str], subject: str) -> None:
    payload = {f"respondent_{name}": text for name, text in respondent.items()}
    assert canonize(raw_response(**payload))["subject_id"] == subject


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-02-01T08:00:00+01:00", datetime(2026, 2, 1, 7, tzinfo=UTC)),
        ("2026-02-01 08:00:00.5Z", datetime(2026, 2, 1, 8, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-02-01T08:00", datetime(2026, 2, 1, 8, tzinfo=UTC)),
    ],
)
def test_times(text: str, expected: datetime) -> None:
    found = submitted_at(text)
    assert found == expected
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "text", ["2026-02-01", "yesterday", "01.02.2026 08:00", "0001-01-01T00:00:00+14:00", "2026-02-30T08:00"]
)
def test_what_is_no_time_is_refused_with_the_value(text: str) -> None:
    with pytest.raises(
        ValueError,
        match=rf"^submitted_at: '{text.replace('+', '[+]')}' is no time, expected ISO 8601 such as ",
    ):
        submitted_at(text)


@pytest.mark.parametrize("column", ["form_id", "binding_id", "submitted_at"])
def test_a_required_column_may_not_be_empty(column: str) -> None:
    with pytest.raises(ValueError, match=f"^{column}: empty, expected a value$"):
        canonize(raw_response(**{column: " "}))


def test_an_event_carries_the_key_that_the_incremental_read_compares() -> None:
    response = canonize(raw_response(q1="1"))
    event = measurement_event(response)
    assert event["idem_key"] == response["idem_key"]
    assert event["measurement_event_id"] == "me:form:clinic:r1"
    assert event["canonical_object_id"] == "co:form:clinic:r1"
    assert (event["binding_id"], event["event_subtype"], event["event_type"]) == ("b", "b", "form")
    assert (event["answers"], event["occurred_at"]) == ({"q1": "1"}, response["submitted_at"])
    assert measurement_event(response) == event


def test_an_event_without_its_columns_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="subject_id"):
        measurement_event({"idem_key": "x"})
