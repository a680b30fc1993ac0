"""Whether a series of durations has changed, by how much, and since when.

Pettitt's test says whether: it takes ranks only, so that neither outliers nor the form of the noise matter, and tells
how likely plain noise would look like that. Since when is where two levels explain the values best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runner.analysis.quantiles import median, quantile

MIN_VALUES = 12
"""Fewer values have no trend: whatever they do can be luck."""
LUCK = 0.002
"""A change that noise would show more often than this is none."""
MIN_CHANGE = 0.05
"""A change of less than this part of what was before is not worth a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """How a series changed. `word`: `slower`, `faster`, `steady`, or `unknown` (too few values).

    `since` is the place in the series of the first value after the change; `before` and `after` are the medians on
    both sides of it. Of a steady series both are its median, and `since` is None.
    """

    word: str
    before: float = 0
    after: float = 0
    since: int | None = None

    @property
    def change(self) -> float:
        """The relative change: 0.5 is half as much again. 0 where there was nothing before."""
        return self.after / self.before - 1 if self.before > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "word": self.word,
            "before": self.before,
            "after": self.after,
            "change": self.change,
            "since": self.since,
        }


def trend(values: Sequence[float]) -> Trend:
    """Return how a series, oldest first, has changed."""
    if len(values) < MIN_VALUES:
        middle = median(values) if values else 0.0
        return Trend(word="unknown", before=middle, after=middle)
    place = _change_point(values)
    before, after = median(values[:place]), median(values[place:])
    changed = _luck(values) < LUCK and abs(after - before) > MIN_CHANGE * before
    if not changed:
        middle = median(values)
        return Trend(word="steady", before=middle, after=middle)
    return Trend(word="slower" if after > before else "faster", before=before, after=after, since=place)


def _luck(values: Sequence[float]) -> float:
    """Return how probable so great a change is where there is none (Pettitt 1979)."""
    count = len(values)
    sum_of_ranks, greatest = 0.0, 0.0
    for number, rank in enumerate(_ranks(values), start=1):
        sum_of_ranks += rank
        greatest = max(greatest, abs(2 * sum_of_ranks - number * (count + 1)))
    return min(1.0, 2 * math.exp(-6 * greatest**2 / (count**3 + count**2)))


def _change_point(values: Sequence[float]) -> int:
    """Return the place of the first value of the second level: the one that leaves the least squares, once the
    outermost values are drawn in, so that a single outlier is no level. (Ranks lean towards the middle of a series.)
    """
    count = len(values)
    low, high = quantile(values, 0.05), quantile(values, 0.95)
    drawn_in = [min(max(value, low), high) for value in values]
    mean = sum(drawn_in) / count
    place, greatest, so_far = 1, -1.0, 0.0
    for number, value in enumerate(drawn_in[:-1], start=1):
        so_far += value - mean
        explained = so_far**2 / (number * (count - number))
        if explained > greatest:
            place, greatest = number, explained
    return place


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value from 1, equals sharing the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    first = 0
    for last, number in enumerate(order):
        if last + 1 < len(order) and values[order[last + 1]] == values[number]:
            continue
        for place in range(first, last + 1):
            ranks[order[place]] = (first + last) / 2 + 1
        first = last + 1
    return ranks
