"""A raw response becomes a row of `canonical.form_responses`: who answered what on which form, and when.

There is one row per response. When an export brings an edited version, the row is replaced by it and
`content_hash` and `raw_idem_key` change. What was derived before from the older version stays until it is
rescored: measurement events and observations compare keys, not contents.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jobs.forms.csv_export import REQUIRED_COLUMNS

if TYPE_CHECKING:
    from runner import Row

RESPONDENT_COLUMNS = {
    "respondent_external_id": "external_id",
    "respondent_email": "email",
    "respondent_name": "name",
}
"""Columns of the export that say who answered, and the names they have in `respondent`."""
_NOT_QUESTIONS = frozenset({*REQUIRED_COLUMNS, *RESPONDENT_COLUMNS})


def canonize(row: Row) -> Row:
    """The row of `canonical.form_responses` for a row of `raw.form_responses`.

    The subject is the first of the respondent's external id, mail address and name that is given, else
    "unknown". An unanswered question is absent from `answers`. Raises ValueError, naming column and value, if
    form or binding is empty or `submitted_at` is no time.
    """
    payload = row["payload"]
    respondent = {
        name: text for column, name in RESPONDENT_COLUMNS.items() if (text := payload.get(column, "").strip())
    }
    return {
        "idem_key": row["response_key"],
        "canonical_object_id": f"co:{row['response_key']}",
        "raw_idem_key": row["idem_key"],
        "source_system": row["source_system"],
        "connection_name": row["connection_name"],
        "response_id": row["response_id"],
        "form_id": _required(payload, "form_id"),
        "binding_id": _required(payload, "binding_id"),
        "subject_id": next(iter(respondent.values()), "unknown"),
        "respondent": respondent,
        "submitted_at": submitted_at(_required(payload, "submitted_at")),
        "answers": {
            question: text.strip()
            for question, text in payload.items()
            if question not in _NOT_QUESTIONS and text.strip()
        },
        "content_hash": row["content_hash"],
    }


def submitted_at(text: str) -> datetime:
    """An ISO 8601 time as aware UTC; without an offset it is UTC, which is what the export's settings
    promise.

    Raises ValueError, naming the column and the value, for anything else, a date without time included.
    """
    # A date alone would be read as midnight, and be the day before in half of the world.
    time = _iso_time(text) if len(text) > 10 else None
    if time is None:
        raise ValueError(
            f"submitted_at: {text[:60]!r} is no time, expected ISO 8601 such as 2026-02-12T09:30:00+01:00"
        )
    return time


def _iso_time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _required(payload: Row, column: str) -> str:
    text = str(payload.get(column, "")).strip()
    if not text:
        raise ValueError(f"{column}: empty, expected a value")
    return text
