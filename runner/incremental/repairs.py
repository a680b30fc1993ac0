"""Which prefix or suffix would make the keys of an incremental read meet: for `doctor`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

PROBES = 5
"""Source keys that are looked for inside target keys; each costs a pass over the target."""

SAMPLED = 1000
"""Source keys on which a candidate is measured."""

CANDIDATES = 5
"""Candidates that are measured."""


def affixes(source_keys: Iterable[str], target_keys: Iterable[str]) -> list[tuple[str, str]]:
    """Return the (prefix, suffix) pairs that turn some source key into some target key, the most frequent first.

    "abc123" and "co:abc123" give ("co:", ""). Pairs that occur equally often are ordered by length, then text.
    """
    found: Counter[tuple[str, str]] = Counter()
    targets = list(target_keys)
    for key in source_keys:
        if not key:
            continue
        for target in targets:
            before, met, after = target.partition(key)
            if met and (before or after):
                found[before, after] += 1
    ranked = sorted(found.items(), key=lambda item: (-item[1], len(item[0][0]) + len(item[0][1]), item[0]))
    return [pair for pair, _ in ranked[:CANDIDATES]]
