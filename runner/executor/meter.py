"""Exclusive time of steps: at any moment exactly one owner's clock runs, so the parts sum to the whole."""

from __future__ import annotations

from collections.abc import Callable, Hashable


class Meter:
    """Charges elapsed monotonic nanoseconds to whoever is current. None stands for the executor itself."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._current: Hashable | None = None
        self._since = clock()
        self._spent: dict[Hashable, int] = {}
        self._first: dict[Hashable, int] = {}
        self._last: dict[Hashable, int] = {}

    def enter(self, owner: Hashable | None) -> None:
        """Make `owner` current, and charge the time until now to the one before."""
        now = self._clock()
        previous = self._current
        if previous is not None:
            self._spent[previous] = self._spent.get(previous, 0) + now - self._since
            self._last[previous] = now
        self._current = owner
        self._since = now
        if owner is not None:
            self._first.setdefault(owner, now)

    def charge(self, owner: Hashable, nanoseconds: int) -> None:
        """Charge to `owner` what was done for it while nobody was current, and before or after it was."""
        self._spent[owner] = self._spent.get(owner, 0) + nanoseconds

    def move(self, source: Hashable, destination: Hashable, nanoseconds: int) -> None:
        """Charge part of what `source` spent to `destination` instead, which has so worked as long as `source`."""
        moved = min(nanoseconds, self._spent.get(source, 0))
        self._spent[source] = self._spent.get(source, 0) - moved
        self._spent[destination] = self._spent.get(destination, 0) + moved
        if moved:
            until = self._last[source]
            self._first.setdefault(destination, until - moved)
            self._last[destination] = until

    def activity_ns(self, owner: Hashable) -> tuple[int, int] | None:
        """When `owner` was first current, and when it last ceased to be, by the clock; None if it never was."""
        first = self._first.get(owner)
        return None if first is None else (first, self._last.get(owner, first))

    def spent_ns(self, owner: Hashable) -> int:
        """Nanoseconds charged to `owner` so far, without a stretch that is still running."""
        return self._spent.get(owner, 0)

    def spent_ms(self, owner: Hashable) -> float:
        """Milliseconds charged to `owner` so far, to the microsecond."""
        return round(self.spent_ns(owner) / 1e6, 3)
