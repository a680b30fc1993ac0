"""How long to wait before trying again: exponential backoff with full jitter, bounded.

Full jitter: after its n-th failure (n from 0) a client waits a random time between 0 and
min(maximum, base * 2**n). That spreads clients that failed together, for the fewest calls in all.
Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015
(aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random, SystemRandom

_system_random = SystemRandom()


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait between attempts. `base` and `maximum` are seconds."""

    base: float = 0.5
    maximum: float = 30.0

    def __post_init__(self) -> None:
        if not 0 <= self.base < float("inf") or not 0 <= self.maximum < float("inf"):
            raise ValueError(
                f"a backoff needs finite seconds of 0 or more, got {self.base!r}, {self.maximum!r}"
            )

    def ceiling(self, attempt: int) -> float:
        """Return the longest wait in seconds after failed attempt number `attempt` (from 1)."""
        if attempt < 1:
            raise ValueError(f"attempts count from 1, got {attempt}")
        doublings = min(attempt - 1, 1000)  # 2**1024 is no float any more
        return min(self.maximum, self.base * 2.0**doublings)

    def delay(self, attempt: int, random: Random = _system_random) -> float:
        """Draw the wait in seconds after failed attempt number `attempt` (from 1): up to its ceiling."""
        return random.random() * self.ceiling(attempt)
