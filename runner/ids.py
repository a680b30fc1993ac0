"""ULIDs for runs and events: 26 characters, sorted by time, unique without coordination.

python-ulid keeps ids of one millisecond in order; this module also keeps them in order when the wall clock
steps back, because a run's events are sorted by id when they are folded.
"""

from __future__ import annotations

import re
import threading
import time

_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
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
