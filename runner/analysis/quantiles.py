"""Robust figures of a few numbers: one run that went wrong must not move them."""

from __future__ import annotations

import math
from collections.abc import Sequence

MAD_TO_SIGMA = 1.4826
"""A MAD times this is the standard deviation, where the noise is normal."""


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value below which `part` (0 to 1) of `values` lie, between two neighbours in proportion.

    Of one value, that one. Raises `ValueError` for none, and for a part outside of 0 to 1.
    """
    if not values or not 0 <= part <= 1:
        raise ValueError("a quantile needs values, and a part from 0 to 1")
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    # Written so that equal neighbours give exactly their value.
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def median(values: Sequence[float]) -> float:
    """Return the middle value, of an even number the mean of both. Raises `ValueError` for none."""
    return quantile(values, 0.5)


def p95(values: Sequence[float]) -> float:
    """Return what 95 of 100 values stay below. Raises `ValueError` for none."""
    return quantile(values, 0.95)


def mad(values: Sequence[float]) -> float:
    """Return the median of the distances from the median. Raises `ValueError` for none."""
    middle = median(values)
    return median([abs(value - middle) for value in values])
