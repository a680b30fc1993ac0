"""Errors and warnings of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from runner.errors import category_of
from runner.records.reading import known_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """One error of a job: its category word, text, and the step it came from ("" for the job itself)."""

    category: str
    message: str
    type: str = ""
    step_id: str = ""

    @classmethod
    def of(cls, error: BaseException, step_id: str = "") -> Self:
        """Describe an exception; `step_id` is where it came from."""
        name = type(error).__name__
        return cls(category=category_of(error), message=str(error) or name, type=name, step_id=step_id)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {name: getattr(self, name) for name in ("category", "message", "type", "step_id")}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | str) -> Self:
        """Read `to_dict`'s form, or the bare text that the oldest records carry."""
        if isinstance(data, str):
            return cls(category="unknown", message=data)
        return cls(**known_fields(cls, data))


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningInfo:
    """One warning of a job: the code of its notice, its text, and the step that it is about ("" for the job itself)."""

    code: str
    message: str
    step_id: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {"code": self.code, "message": self.message, "step_id": self.step_id}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read `to_dict`'s form."""
        return cls(**known_fields(cls, data))
