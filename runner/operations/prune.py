"""Which runs are old enough to go, and which stay all the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runner.errors import HeldByAnother, RunNotFound
from runner.ids import ulid_ms
from runner.records import Status
from runner.run_store import FileRunStore

PRUNE_SCHEMA = "run-pipeline/prune.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The ids of the runs that go, newest first, and how many stay, by reason.

    Reasons: `newer` (than asked for), `latest` (the newest of its name that has begun), `compared` (among the newest
    successful ones of its name), `unsent` (its events are not in `ops.event_log`), `alive`.
    """

    going: tuple[str, ...]
    staying: Counter[str]

    def to_dict(self, removed: Collection[str], size: int) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "schema": PRUNE_SCHEMA,
            "chosen": list(self.going),
            "removed": list(removed),
            "bytes": size,
            "staying": dict(self.staying),
        }


def choose(store: FileRunStore, *, before: datetime, keep_runs: int, unsent: Collection[str]) -> Choice:
    """Choose the runs that began before a time (UTC).

    `unsent` are the ids of runs whose events are not in the warehouse, listed before this is called: a run is among
    them from before its first event on, so one that is not among them and is not alive has been sent.
    """
    going: list[str] = []
    staying: Counter[str] = Counter()
    for run_id, reason in _reasons(store, before.timestamp() * 1000, keep_runs, unsent):
        if reason:
            staying[reason] += 1
        else:
            going.append(run_id)
    return Choice(going=tuple(going), staying=staying)


def _reasons(
    store: FileRunStore, before_ms: float, keep_runs: int, unsent: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yield each run, newest first, with the reason for which it stays; "" for none."""
    seen: set[str] = set()
    compared: Counter[str] = Counter()
    for run_id, name in store.ids():
        # A name that has enough need not be read any more: ids alone tell the age.
        is_read = name not in seen or compared[name] < keep_runs
        run = store.one(run_id, jobs=False) if is_read else None
        latest = run is not None and name not in seen
        if latest:
            seen.add(name)
        succeeded = run is not None and run.status is Status.SUCCESS and run.is_whole
        compared[name] += succeeded
        if ulid_ms(run_id) >= before_ms:
            yield run_id, "newer"
        elif run_id in unsent:
            yield run_id, "unsent"
        elif latest:
            yield run_id, "latest"
        elif succeeded and compared[name] <= keep_runs:
            yield run_id, "compared"
        else:
            try:
                alive = store.is_alive(run_id)
            except RunNotFound:  # somebody else has removed it meanwhile
                continue
            yield run_id, "alive" if alive else ""


def remove(store: FileRunStore, choice: Choice) -> tuple[list[str], int]:
    """Remove what was chosen, the oldest first. Return the ids of what is gone, and the bytes that it took.

    A run that somebody else has removed meanwhile is left out. Raises `OSError`: what was not reached yet stays.
    """
    store.remove_leftovers()
    gone: list[str] = []
    size = 0
    for run_id in reversed(choice.going):
        try:
            size += store.remove(run_id)
        except (RunNotFound, FileNotFoundError, HeldByAnother):
            continue
        gone.append(run_id)
    return gone, size
