"""The two clocks of a run: wall time for stamps, monotonic time for durations.

Both are plain functions so that tests and simulations can pass others in. Durations never come from the
wall clock: it can jump (NTP, suspend, an operator), and a step of -3,600,000 ms helps nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

Now = Callable[[], datetime]
"""A source of aware UTC times."""


def utc_now() -> datetime:
    """Return the current time as an aware UTC `datetime` with microseconds."""
    return datetime.now(UTC)  # noqa: DTZ005, TID251 - the one place that reads the wall clock


def monotonic_ns() -> int:
    """Return a monotonic reading in nanoseconds, for durations only."""
    return time.perf_counter_ns()


def format_utc(moment: datetime) -> str:
    """Render an aware UTC time as RFC 3339 with microseconds and `Z`: `2026-02-12T06:00:00.000000Z`.

    Fixed width, so that text order is time order.
    """
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def parse_utc(text: str) -> datetime:
    """Read what `format_utc` (or any ISO 8601 text with an offset) wrote.

    Raises `ValueError` for text without an offset: a naive time has no place in a record.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time {text!r} has no UTC offset")
    return moment.astimezone(UTC)
