"""What queries of a warehouse used, added up: from the queries of a step to steps, jobs and runs.

A sum is a mapping, as it stands in records: `queries` (how many), and of `AMOUNTS` those that an engine tells. Engines
that tell nothing leave none behind: the sum is None, never zeros.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Usage = Mapping[str, Any]

AMOUNTS = ("bytes_processed", "bytes_billed", "cost", "slot_ms", "cache_hits")
"""What can be added up: bytes, bytes, money (in the currency of the price in the settings), milliseconds of slots, and
queries whose answer came from a cache.
"""


def summed(parts: Iterable[Usage | None]) -> dict[str, Any] | None:
    """Add up; None when no part has anything. Ids of queries stay with the steps that sent them."""
    total: dict[str, Any] = {}
    for part in parts:
        for name in ("queries", *AMOUNTS):
            if part and part.get(name) is not None:
                total[name] = total.get(name, 0) + part[name]
    return {name: total[name] for name in ("queries", *AMOUNTS) if name in total} or None
