"""Where things stand in a picture: percent of its width, and the ticks of a time axis."""

from __future__ import annotations

import math

_SECOND, _MINUTE, _HOUR, _DAY = 1_000.0, 60_000.0, 3_600_000.0, 86_400_000.0
_STEPS = (
    *(base * 10**power for power in range(4) for base in (1.0, 2.0, 5.0)),
    *(_SECOND * each for each in (10, 15, 30)),
    *(_MINUTE * each for each in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * each for each in (1, 2, 3, 6, 12)),
)
"""Milliseconds between ticks that people can read, ascending."""


def percent(part: float, whole: float) -> str:
    """Return a place or length as SVG has it, exact to a millionth of the whole; of nothing, 0%."""
    return f"{100 * part / whole:.4f}".rstrip("0").rstrip(".") + "%" if whole > 0 else "0%"


def ticks(whole_ms: float, at_most: int = 5) -> list[float]:
    """Return round places from 0 on, in milliseconds, of which all are within `whole_ms`."""
    if whole_ms <= 0:
        return [0.0]
    days = math.ceil(whole_ms / at_most / _DAY) * _DAY
    step = next((each for each in _STEPS if whole_ms / each <= at_most), days)
    return [number * step for number in range(int(whole_ms / step) + 1)]


def tick_text(ms: float) -> str:
    """Return `0`, `250 ms`, `1.5 s`, `2 min`, `1 h`: without what is zero."""
    if ms <= 0:
        return "0"
    for unit, name in ((_HOUR, "h"), (_MINUTE, "min"), (_SECOND, "s")):
        if ms >= unit:
            return f"{ms / unit:g} {name}"
    return f"{ms:g} ms"
