"""Changes every text of an event or record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any, TypeVar

Redact = Callable[[str], str]
"""Returns a text without the secrets in it."""

T = TypeVar("T")

_IDS = frozenset(
    (
        "event_id",
        "run_id",
        "job_run_id",
        "pipeline_run_id",
        "name",
        "job_id",
        "step_id",
        "group",
        "jobs",
        "retry_of",
        "kind",
        "stage",
        "queue",
        "queues",
        "waits_for",
        "needs",
        "barriers",
        "trace_id",
        "parent_span_id",
    )
)
"""Fields of ids, which are checked against a pattern and tie records together: not for redaction."""


def redacted(value: T, redact: Redact) -> T:
    """Return an event, record or plain value with `redact` applied to every text in it, except ids."""
    changed: Any = value
    if isinstance(changed, str):
        changed = changed if isinstance(changed, Enum) else redact(changed)
    elif isinstance(changed, Mapping):
        changed = {redacted(key, redact): redacted(item, redact) for key, item in changed.items()}
    elif isinstance(changed, list | tuple):
        changed = type(changed)(redacted(item, redact) for item in changed)
    elif is_dataclass(changed):
        old = {field.name: getattr(value, field.name) for field in fields(changed) if field.name not in _IDS}
        new = {name: redacted(item, redact) for name, item in old.items()}
        changed = changed if new == old else replace(changed, **new)  # type: ignore[type-var]
    return changed  # type: ignore[no-any-return]
