"""Status words in color."""

from __future__ import annotations

from runner.cli.console import CYAN, DIM, GREEN, RED, YELLOW, Styled
from runner.records import Status

_STYLES = {
    Status.SUCCESS: GREEN,
    Status.FAILURE: RED,
    Status.CRASHED: RED,
    Status.PARTIAL: YELLOW,
    Status.CANCELLED: YELLOW,
    Status.SKIPPED: DIM,
    Status.RUNNING: CYAN,
}


def styled_status(status: Status) -> Styled:
    """Return the word of a status in its color."""
    return Styled(status.value, _STYLES[status])
