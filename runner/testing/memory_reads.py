"""Which rows of a source are new, said in plain Python: the meaning that every warehouse's SQL must have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from runner.ddl import PROCESSED_KEYS
from runner.incremental import key_text, key_types, rows_are_released
from runner.ports import IncrementalRead, Row
from runner.specs import Lookback, TableRef
from runner.testing.memory_tables import MemoryTable, Tables, comparable, find, matcher, moment

Standing = Literal["null_key", "new", "stale", "present", "remembered"]


class Comparison:
    """A source compared with a target as they stand now, for one incremental read."""

    def __init__(self, tables: Mapping[TableRef, MemoryTable], read: IncrementalRead) -> None:
        self._spec = read.spec
        self._types = key_types(read)
        self._read = read
        held = tables.get(PROCESSED_KEYS.ref)
        self._held = [
            row
            for row in (held.rows if held else [])
            if row["job_id"] == read.job_id and row["step_id"] == read.step_id
        ]
        target = find(tables, read.target.ref).rows
        quarantined = {self.affixed(row["key"]) for row in self._held if row["reason"] == "quarantined"}
        self.is_released = _released(read, quarantined, self.target_text)
        self._times: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
        for row in target:
            if not self.is_released(row) and self._in_reach(row, lambda lookback: lookback.target):
                self._times[self.target_key(row)].append(
                    row[self._spec.target_ts] if self._spec.target_ts else None
                )
        self._remembered = {row["key"]: row["source_ts"] for row in self._still_held(target)}

    def standing(self, row: Row) -> Standing:
        """Tell how one source row stands. A row may lack `source_ts`: then no target row is too old for it."""
        key = self.source_key(row)
        if None in key:
            return "null_key"
        time = row.get(self._spec.source_ts) if self._spec.source_ts else None
        present = key in self._times
        stale = present and self._is_stale(self._times[key], time)
        if present and not stale:
            return "present"
        text = self.source_text(row)
        if text in self._remembered and not self._is_stale([self._remembered[text]], time):
            return "remembered"
        return "stale" if stale else "new"

    def reaches(self, row: Row) -> bool:
        """Tell whether a source row is recent enough for the read's lookback, or has no time."""
        return self._in_reach(row, lambda lookback: lookback.source)

    def _in_reach(self, row: Row, side: Callable[[Lookback], str]) -> bool:
        since, lookback = self._read.since, self._spec.lookback
        if since is None or lookback is None or (time := row[side(lookback)]) is None:
            return True
        return bool(time >= (since if isinstance(time, datetime) else since.astimezone(UTC).date()))

    def is_new(self, row: Row) -> bool:
        """Tell whether the read returns this row."""
        return self.standing(row) in ("null_key", "new", "stale")

    def source_key(self, row: Row) -> tuple[Any, ...]:
        """Return the key of a source row as the target would write it; a NULL part is None."""
        values = tuple(row[name] for name in self._spec.source_key)
        if len(values) == 1 and values[0] is not None and isinstance(values[0], str):
            return (self.affixed(values[0]),)
        return tuple(None if value is None else comparable(value) for value in values)

    def target_key(self, row: Row) -> tuple[Any, ...]:
        """Return the key of a target row; a NULL part is None."""
        return tuple(None if row[name] is None else comparable(row[name]) for name in self._spec.target_key)

    def source_text(self, row: Row) -> str | None:
        """Return the text of a source row's key, as it is remembered."""
        return key_text([row[name] for name in self._spec.source_key], self._types)

    def affixed(self, text: str) -> str:
        """Put the declared prefix and suffix around a key."""
        return f"{self._spec.key_prefix}{text}{self._spec.key_suffix}"

    def target_text(self, row: Row) -> str | None:
        """Return the text of a target row's key."""
        return key_text([row[name] for name in self._spec.target_key], self._types)

    def _is_stale(self, times: list[Any], time: Any) -> bool:
        if self._spec.mode != "left_anti" or time is None:
            return False
        return any(old is not None and moment(old) < moment(time) for old in times)

    def _still_held(self, target: list[Row]) -> list[Row]:
        release = self._read.release
        if release is None:
            return self._held
        if not release.quarantined and not release.filters:
            return []
        held = [row for row in self._held if not (release.quarantined and row["reason"] == "quarantined")]
        if release.filters:
            released = {self.target_text(row) for row in target if self.is_released(row)}
            held = [row for row in held if self.affixed(row["key"]) not in released]
        return held


def _released(read: IncrementalRead, quarantined: set[str], text: Any) -> Any:
    release = read.release
    if release is None:
        return lambda row: False
    by_filter = matcher(read.target, release.filters) if rows_are_released(release) else lambda row: False
    return lambda row: by_filter(row) or (release.quarantined and text(row) in quarantined)


__all__ = ["Comparison", "Standing", "Tables"]
