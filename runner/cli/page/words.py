"""Marks, words and figures that all parts of a page share. A status is told by color, by a mark, and by its word."""

from __future__ import annotations

from datetime import datetime

from runner.cli.page.markup import Html, tag
from runner.cli.wording import duration, moment
from runner.records import Status

MARKS = {
    Status.SUCCESS: "✓",
    Status.FAILURE: "✕",
    Status.CRASHED: "!",
    Status.PARTIAL: "◐",
    Status.CANCELLED: "■",
    Status.SKIPPED: "-",
    Status.RUNNING: "►",
}
"""What stands for a status where there is no room for its word."""


def pill(status: Status) -> Html:
    """Return the mark and the word of a status."""
    return tag(
        "span", tag("span", MARKS[status], class_="mark", aria_hidden="true"), " ", status.value,
        class_=f"pill {status.value}",
    )  # fmt: skip


def name(value: str, class_: str = "name") -> Html:
    """Return a name out of a record: whatever direction its letters have, what stands beside it stays there."""
    return tag("bdi", value, class_=class_, title=value)


def time_of(time: datetime | None) -> Html:
    """Return a moment in UTC, readable for people and machines."""
    if time is None:
        return Html("-")
    return tag("time", moment(time), datetime=time.isoformat())


def change(now: float, usual: float) -> str:
    """Return how much more or less than usual something is: `+12 %`, `-3 %`, `±0 %`; of much more `3.4 times`."""
    if usual <= 0:
        return ""
    part = now / usual - 1
    if part >= 2:
        return f"{now / usual:.1f} times"
    rounded = round(100 * part)
    return f"+{rounded} %" if rounded > 0 else f"-{-rounded} %" if rounded < 0 else "±0 %"


def against(now: float, usual: float) -> str:
    """Return `+12 % against the usual 4.3 s`, `3.4 times the usual 4.3 s`."""
    told = change(now, usual)
    between = "the" if told.endswith("times") else "against the"
    return f"{told} {between} usual {duration(usual)}" if told else ""


def share(part: float) -> str:
    """Return a part from 0 to 1 as `62 %`; what is there but rounds to nothing is `<1 %`."""
    return "-" if part <= 0 else f"{100 * part:.0f} %" if round(100 * part) else "<1 %"
