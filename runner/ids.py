"""ULIDs for runs and events: 26 characters, sorted by time, unique without coordination. And ids of traces.

python-ulid keeps ids of one millisecond in order; this module also keeps them in order when the wall clock
steps back, because a run's events are sorted by id when they are folded.
"""

from __future__ import annotations

import os
import re
import threading
import time
from typing import NamedTuple

_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?"
)
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_lock = threading.Lock()
_latest_ms = 0


def new_ulid() -> str:
    """Return a new ULID, greater than every one this process made before. Thread-safe."""
    from ulid import ULID

    global _latest_ms
    with _lock:
        _latest_ms = max(_latest_ms, time.time_ns() // 1_000_000)
        return str(ULID.from_timestamp(_latest_ms))


def ulid_ms(ulid: str) -> int:
    """Return the time of a ULID in milliseconds since 1970, UTC. Raises `ValueError` for other texts."""
    if not is_ulid(ulid):
        raise ValueError(f"{ulid!r} is not a ULID")
    milliseconds = 0
    for character in ulid[:10]:
        milliseconds = milliseconds * 32 + _ALPHABET.index(character)
    return milliseconds


def is_ulid(text: str) -> bool:
    """Tell whether `text` has the form of a ULID (Crockford base 32, 26 characters)."""
    return _ULID.fullmatch(text) is not None


class Trace(NamedTuple):
    """The trace that a run belongs to: 32 hex digits, and the span of its caller, 16 or none ("")."""

    trace_id: str
    parent_span_id: str = ""


def trace_of(traceparent: str | None) -> Trace:
    """Return the trace of a W3C `traceparent` (`00-TRACE-SPAN-01`), or a new one where there is none.

    One that cannot be read counts as none, as the recommendation wants it: a caller's mistake there is no reason not
    to run.
    """
    found = _TRACEPARENT.fullmatch((traceparent or "").strip())
    if found is None or (found[3] is not None and found[0].startswith("00")):
        return Trace(os.urandom(16).hex())
    return Trace(found[1], found[2])
