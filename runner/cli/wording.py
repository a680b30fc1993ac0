"""Figures as people read them."""

from __future__ import annotations

from datetime import UTC, datetime


def duration(ms: float) -> str:
    """Return milliseconds as `12 ms`, `0.8 s`, `12.3 s`, `4 min 5 s` or `2 h 3 min`."""
    if ms < 100:
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def fine_duration(ms: float) -> str:
    """Return the same, below a second to the millisecond: for two that stand side by side because they differ."""
    return f"{ms:.0f} ms" if ms < 999.5 else duration(ms)


def count(number: int, noun: str = "", plural: str = "") -> str:
    """Return `1,234`, or with a noun `1 job`, `1,234 jobs`; `plural` for nouns that do not just take an s."""
    if not noun:
        return f"{number:,}"
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def size(number: int) -> str:
    """Return a number of bytes as `512 B`, `1.2 KB`, `10.5 MB` or `1.2 GB`: thousands, as prices are told."""
    if number < 1_000:
        return f"{number} B"
    amount = float(number)
    for unit in ("KB", "MB", "GB", "TB"):
        amount /= 1_000
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1_000:,.1f} PB"


def queue_text(queue: str, priority: int) -> str:
    """Return `maintenance`, with a priority other than 0 `maintenance, priority 5`."""
    return f"{queue}, priority {priority}" if priority else queue


def moment(time: datetime | None) -> str:
    """Return a UTC time to the second: `2026-02-12 06:00:00Z`; `-` for none."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}" if time else "-"


def clock(time: datetime) -> str:
    """Return the UTC time of day to the millisecond: `06:00:00.123Z`."""
    return f"{time.astimezone(UTC):%H:%M:%S.%f}"[:-3] + "Z"


def short_id(run_id: str) -> str:
    """Return the part of a run id that people type: its 10 characters of time (milliseconds)."""
    return run_id[:10]
