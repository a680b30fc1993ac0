"""What to say where there are no runs of a name: it was mistyped, or they are older than what was asked for."""

from __future__ import annotations

from datetime import datetime

from runner.cli.wording import moment
from runner.errors import UsageError, did_you_mean
from runner.run_store import FileRunStore

SHOWN = 8


def no_runs_of(store: FileRunStore, name: str, *, since: datetime | None) -> UsageError:
    """Return the error: no run of `name` has ended, `since` a time (UTC) or ever."""
    if name not in names_in(store):
        return UsageError(f"there is no run of {name!r}", hint=near_name(store, name))
    when = f" since {moment(since)}" if since else ""
    return UsageError(f"no run of {name!r} has ended{when}", hint=f"run-pipeline runs --name {name}")


def near_name(store: FileRunStore, name: str) -> str:
    """Return a hint to the name that was meant, or to those that there are: jobs of a pipeline have no runs of their
    own.
    """
    names = names_in(store)
    if not names:
        return "nothing has run yet"
    shown = ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
    return did_you_mean(name, names) or f"there are runs of {shown}; jobs of a pipeline stand in its runs"


def names_in(store: FileRunStore) -> list[str]:
    """Return the names of which there are runs."""
    return sorted({name for _, name in store.ids()})
