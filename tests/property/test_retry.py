"""Backoff: bounded, growing, spread over its whole range."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.retry import Backoff

SECONDS = st.one_of(st.just(0.0), st.floats(0.001, 1e6))
ATTEMPTS = st.integers(1, 10_000)


@given(base=SECONDS, maximum=SECONDS, attempt=ATTEMPTS, seed=st.integers())
def test_a_delay_is_between_nothing_and_its_ceiling(
    base: float, maximum: float, attempt: int, seed: int
) -> None:
    backoff = Backoff(base, maximum)
    assert 0 <= backoff.delay(attempt, Random(seed)) <= backoff.ceiling(attempt) <= maximum


@given(base=SECONDS, maximum=SECONDS, attempt=ATTEMPTS)
def test_ceilings_double_until_the_maximum(base: float, maximum: float, attempt: int) -> None:
    backoff = Backoff(base, maximum)
    assert backoff.ceiling(1) == min(base, maximum)
    assert backoff.ceiling(attempt + 1) == min(maximum, 2 * backoff.ceiling(attempt))


@given(attempt=st.integers(1, 12), seed=st.integers())
def test_the_same_chance_gives_the_same_delay(attempt: int, seed: int) -> None:
    backoff = Backoff(0.5, 30)
    assert backoff.delay(attempt, Random(seed)) == backoff.delay(attempt, Random(seed))


def test_delays_fill_the_range() -> None:
    """Full jitter, not a fixed wait with some noise: the mean is half the ceiling, and all tenths occur."""
    random = Random(1)
    delays = [Backoff(1, 60).delay(4, random) for _ in range(2000)]
    assert sum(delays) / len(delays) == pytest.approx(4, rel=0.05)
    assert {int(10 * delay / 8) for delay in delays} == set(range(10))


@pytest.mark.parametrize(("base", "maximum"), [(-1, 1), (1, -1), (float("inf"), 1), (1, float("nan"))])
def test_a_backoff_needs_finite_seconds(base: float, maximum: float) -> None:
    with pytest.raises(ValueError, match="finite seconds"):
        Backoff(base, maximum)


@pytest.mark.parametrize("attempt", [0, -1])
def test_attempts_count_from_one(attempt: int) -> None:
    with pytest.raises(ValueError, match="count from 1"):
        Backoff().delay(attempt)
