"""What the warehouse reports of the queries of one job run, by step, over all its attempts."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from runner.ports import QueryUsage
from runner.usage import AMOUNTS, summed

KEPT_IDS = 100
"""Of a step's queries so many ids are kept, the latest: a step that lands often would make its record large."""


class Account:
    """Adds up what is reported. Safe in any thread: warehouses report from theirs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: dict[str, dict[str, Any]] = {}
        self._ids: dict[str, deque[str]] = {}

    def add(self, step_id: str, usage: QueryUsage) -> None:
        """Count one query to a step."""
        part: dict[str, Any] = {name: getattr(usage, name, None) for name in AMOUNTS}
        part |= {"queries": 1, "cache_hits": None if usage.cache_hit is None else int(usage.cache_hit)}
        with self._lock:
            self._sums[step_id] = summed((self._sums.get(step_id), part)) or {}
            if usage.query_id:
                self._ids.setdefault(step_id, deque(maxlen=KEPT_IDS)).append(usage.query_id)

    def of(self, step_id: str) -> dict[str, Any] | None:
        """Return what a step used, with the ids of its queries; None when nothing was reported."""
        with self._lock:
            found = self._sums.get(step_id)
            return found and {**found, "query_ids": list(self._ids.get(step_id, ()))}

    def total(self) -> dict[str, Any] | None:
        """Return what the job used; None when nothing was reported."""
        with self._lock:
            return summed(self._sums.values())
