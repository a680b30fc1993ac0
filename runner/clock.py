"""The two clocks of a run: wall time for stamps, monotonic time for durations. And how both are written down.

Both are plain functions so that tests and simulations can pass others in. Durations never come from the
wall clock: it can jump (NTP, suspend, an operator), and a step of -3,600,000 ms helps nobody.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|m|h|d)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

Now = Callable[[], datetime]
"""A source of aware UTC times."""


def utc_now() -> datetime:
    """Return the current time as an aware UTC `datetime` with microseconds."""
    return datetime.now(UTC)


def monotonic_ns() -> int:
    """Return a monotonic reading in nanoseconds, for durations only."""
    return time.perf_counter_ns()


def format_utc(moment: datetime) -> str:
    """Render an aware UTC time as RFC 3339 with microseconds and `Z`: `2026-02-12T06:00:00.000000Z`.

    Fixed width, so that text order is time order.
    """
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return f"{utc.isoformat(timespec='microseconds')[:26]}Z"


def parse_utc(text: str) -> datetime:
    """Read what `format_utc` (or any ISO 8601 text with an offset) wrote.

    Raises `ValueError` for text without an offset: a naive time has no place in a record.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time {text!r} has no UTC offset")
    return moment.astimezone(UTC)


def parse_duration(value: object) -> float:
    """Turn `500ms`, `30s`, `5m`, `2h`, `1d` or a number of seconds into seconds; must be above 0.

    Raises `ValueError` that says what was expected.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        # ValueError, for pydantic: a TypeError in a validator would be taken for a bug.
        raise ValueError(f"{value!r} is not a duration; expected for example 500ms, 30s, 5m, 2h, 30d")  # noqa: TRY004
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if not match:
            raise ValueError(f"{value!r} is not a duration; expected for example 500ms, 30s, 5m, 2h, 30d")
        seconds = float(match["number"]) * _SECONDS[match["unit"]]
    else:
        seconds = float(value)
    if not 0 < seconds < 10 * 365 * 86400:
        raise ValueError(f"{value!r} is not a usable duration; expected more than 0, and less than ten years")
    return seconds


def format_duration(seconds: float) -> str:
    """Return a duration as `parse_duration` reads it, in the greatest unit that gives a whole number: `2h`, `30d`."""
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"
