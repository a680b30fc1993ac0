"""Where a run keeps things below the state folder, besides its records."""

from __future__ import annotations

from pathlib import Path

from runner.settings import Settings


def locks_dir(settings: Settings) -> Path:
    """The folder of the locks: `job.<job_id>.lock`."""
    return settings.state_dir / "locks"


def notifications_dir(settings: Settings) -> Path:
    """The folder of the notifications: a folder for each receiver."""
    return settings.state_dir / "notifications"


def outbox_dir(settings: Settings) -> Path:
    """The folder of the outbox: one entry for each run whose events are not in `ops.event_log` yet."""
    return settings.state_dir / "outbox"
