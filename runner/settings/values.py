"""Kinds of values that several settings have: whole numbers, durations, limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from runner.clock import parse_duration


def no_bool(value: object) -> object:
    """Refuse true and false for a number; pydantic would count them as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError(f"got {str(value).lower()}; expected a whole number")  # noqa: TRY004 - pydantic's protocol
    return value


def seconds(value: object) -> object:
    """Read a duration; text from an environment variable may be a bare number of seconds."""
    if isinstance(value, str) and value.strip().replace(".", "", 1).isdecimal():
        value = float(value)
    return parse_duration(value)


def limit(value: object) -> object:
    """Read a duration, or `none` for no limit: TOML and the environment have no other word for it."""
    return None if value is None or value == "none" else seconds(value)


Count = Annotated[int, Field(ge=1, le=1000), BeforeValidator(no_bool)]
Seconds = Annotated[float, BeforeValidator(seconds)]
Limit = Annotated[float | None, BeforeValidator(limit)]
