"""Rows of records, and values as query parameters."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from runner.ports import Row
from runner.sources.http.arguments import Shape
from runner.sources.http.pages import at_path


def row_of(record: Row, shape: Shape) -> Row:
    """Return the row of a record: the fields that are wanted, times and dates read.

    A text that is no time with an offset (or no date) stays text: at the write it is a bad row, with key and column.
    """
    row = record
    if shape.fields is not None:
        row = {column: at_path(record, path) for column, path in shape.fields.items()}
    for column in shape.timestamps:
        if isinstance(text := row.get(column), str):
            row[column] = _timestamp(text)
    for column in shape.dates:
        if isinstance(text := row.get(column), str):
            row[column] = _date(text)
    if shape.decimals:
        for column, value in row.items():
            if isinstance(value, dict | list):
                row[column] = _without_decimals(value)
    return row


def query_texts(params: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """Return values as query parameters have them; None is left out, a list becomes the parameter several times.

    Times are ISO 8601 in UTC (`2026-02-12T06:00:00Z`), true and false in small letters.
    """
    texts: dict[str, str | list[str]] = {}
    for name, value in params.items():
        if isinstance(value, list | tuple):
            texts[name] = [_text(item) for item in value]
        elif value is not None:
            texts[name] = _text(value)
    return texts


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else str(value)


def _timestamp(text: str) -> datetime | str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if moment.utcoffset() is None else moment


def _date(text: str) -> date | str:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return text


def _without_decimals(value: Any) -> Any:
    """Return what goes to a json column: JSON text is made of floats, not of `Decimal`."""
    if isinstance(value, dict):
        return {key: _without_decimals(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_decimals(item) for item in value]
    return float(value) if isinstance(value, Decimal) else value
