"""Times as systemd understands them (systemd.time(7)). systemd-analyze is asked: nothing here knows the grammar."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from runner.errors import UsageError
from runner.operations.systemd.programs import ask

_NEXT = re.compile(r"(?:\(in UTC\)|Next elapse): (?:\w+ )?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.\d+)? UTC")


def check_calendar(text: str) -> bool:
    """Raise `UsageError` for a time that systemd cannot read. False: there was no systemd-analyze to ask."""
    answer = ask("systemd-analyze", "calendar", "--iterations=1", "--", text)
    if answer is None:
        return False
    if answer.code:
        reason = answer.err.splitlines()[0] if answer.err else f"systemd-analyze ended with {answer.code}"
        raise UsageError(f"--on-calendar: {reason}", hint="for example daily, 'Mon..Fri 06:00', '*:0/15'")
    return True


def next_elapse(calendars: Sequence[str]) -> datetime | None:
    """Return when the first of some calendars elapses next, in UTC; None for never and where nobody knows."""
    answer = ask("systemd-analyze", "calendar", "--iterations=1", "--", *calendars) if calendars else None
    if answer is None or answer.code:
        return None
    found = [
        datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) for text in _NEXT.findall(answer.out)
    ]
    return min(found, default=None)
