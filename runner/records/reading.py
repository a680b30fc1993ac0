"""What reads records of any age back: unknown keys are ignored, words of old versions understood."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from functools import cache
from typing import Any


class Status(StrEnum):
    """Where a step, job or run stands. See DESIGN for which of them each may have."""

    SUCCESS = "success"
    FAILURE = "failure"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    PARTIAL = "partial"
    RUNNING = "running"
    CRASHED = "crashed"


def status_of(word: str) -> Status:
    """Return the status that a word means, also one of an old version. Raises `ValueError` for no such word."""
    return Status({"failed": "failure", "succeeded": "success"}.get(word, word))


def known_fields(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return those items of `data` that are fields of a dataclass."""
    names = _field_names(cls)
    if data.keys() <= names:  # as this version writes it: a question about many runs reads many thousands
        return dict(data)
    return {name: value for name, value in data.items() if name in names}


@cache
def _field_names(cls: type) -> frozenset[str]:
    return frozenset(f.name for f in fields(cls))
