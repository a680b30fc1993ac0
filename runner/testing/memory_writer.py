"""Landings in memory: worked out on copies, put in place at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from runner.clock import monotonic_ns, utc_now
from runner.ddl import LANDINGS, PROCESSED_KEYS, QUARANTINE
from runner.errors import WarehouseError
from runner.expectations import check_error
from runner.ids import new_ulid
from runner.ports import (
    ActionLanding,
    BadRow,
    KeyMatch,
    LandingCheck,
    LandingResult,
    LandingSpec,
    LandingStatement,
    Row,
    TargetLanding,
    WriteTarget,
)
from runner.specs import TableRef
from runner.testing.memory_checks import table_findings
from runner.testing.memory_reads import Comparison
from runner.testing.memory_tables import (
    ENGINE,
    NO_SQL,
    MemoryTable,
    Tables,
    comparable,
    find,
    moment,
    to_rows,
)

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES = 3


class MemoryWriter:
    """Implements `runner.ports.Writer` on the tables of a `MemoryWarehouse`."""

    def __init__(self, tables: Tables, spec: LandingSpec, lock: Callable[[TableRef], anyio.Lock]) -> None:
        self._tables = tables
        self._spec = spec
        self._lock = lock
        self._rows: list[list[Row]] = [[] for _ in spec.targets]
        self._keys: dict[int, list[Row]] = {}
        self._bad_rows: list[BadRow] = []

    async def stage(self, target: int, batch: pa.RecordBatch) -> None:
        """Add rows for one target. Raises `ValueError` for other columns than agreed, or NULL in a key."""
        await anyio.lowlevel.checkpoint()
        check_staged(self._spec.targets[target], batch)
        self._rows[target] += to_rows(batch)

    async def stage_keys(self, tracked: int, keys: pa.RecordBatch) -> None:
        """Add keys of a tracked read."""
        await anyio.lowlevel.checkpoint()
        self._keys.setdefault(tracked, []).extend(to_rows(keys))

    async def stage_bad_rows(self, rows: Sequence[BadRow]) -> None:
        """Add refused rows."""
        await anyio.lowlevel.checkpoint()
        self._bad_rows.extend(rows)

    async def has_landed(self, batch: int = 0) -> bool:
        """Look for the marker."""
        await anyio.lowlevel.checkpoint()
        return self._has_marker(batch)

    async def land(self, batch: int = 0) -> LandingResult:
        """Put everything that is staged in place. Raises `CheckFailed`, and `WarehouseError` for a landing with
        statements: no SQL here.
        """
        if any(isinstance(action, LandingStatement) for action in self._spec.actions):
            raise WarehouseError(ENGINE, NO_SQL)
        started = monotonic_ns()
        async with AsyncExitStack() as locks:
            for ref in self._spec.writes:
                await locks.enter_async_context(self._lock(ref))
            await anyio.lowlevel.checkpoint()
            result = self._land(batch)
        return replace(result, duration_ms=(monotonic_ns() - started) / 1e6)

    def _land(self, batch: int) -> LandingResult:
        staged = any(self._rows) or any(self._keys.values()) or self._bad_rows
        nothing = not staged and not self._spec.always_lands
        repeated = not nothing and self._has_marker(batch)
        if nothing or repeated:
            targets = tuple(
                _outcome(target, staged=len(rows))
                for target, rows in zip(self._spec.targets, self._rows, strict=True)
            )
            result = LandingResult(
                batch=batch,
                targets=targets,
                actions=() if repeated else self._check_all(),
                details={"already_landed": True} if repeated else {},
            )
        else:
            working = {
                ref: MemoryTable(table.types, table.required, list(table.rows))
                for ref, table in self._tables.items()
            }
            result = self._transact(working, batch)
            for ref, table in working.items():
                self._tables[ref].rows = table.rows
        self._rows = [[] for _ in self._spec.targets]
        self._keys.clear()
        self._bad_rows.clear()
        return result

    def _transact(self, working: Tables, batch: int) -> LandingResult:
        comparisons = {
            number: Comparison(self._tables, self._spec.tracking[number].read) for number in self._keys
        }
        deleted = {number: self._delete(working, number, one) for number, one in comparisons.items()}
        targets = []
        actions = self._check(working, 0)
        for number, (target, rows) in enumerate(zip(self._spec.targets, self._rows, strict=True)):
            gone = sum(count for n, count in deleted.items() if self._spec.tracking[n].target == number)
            table = find(working, target.table.ref)
            if target.mode == "replace":
                gone += len(table.rows)
                table.rows = []
            written, duplicates = self._write(table, target, rows)
            targets.append(
                _outcome(target, staged=len(rows), written=written, duplicates=duplicates, deleted=gone)
            )
            actions += self._check(working, number + 1)
        self._quarantine(working)
        matches = tuple(self._match(working, number, one) for number, one in comparisons.items())
        find(working, LANDINGS.ref).rows.append(
            {
                "job_run_id": self._spec.job_run_id,
                "batch": batch,
                "job_id": self._spec.job_id,
                "run_id": self._spec.run_id,
                "rows": sum(target.written for target in targets),
                "landed_at": utc_now(),
            }
        )
        return LandingResult(
            batch=batch,
            targets=tuple(targets),
            actions=tuple(actions),
            matches=matches,
            quarantined=len(self._bad_rows),
        )

    def _check_all(self) -> tuple[ActionLanding, ...]:
        """Check the tables as they stand, where nothing lands. Raises `CheckFailed`."""
        places = range(len(self._spec.targets) + 1)
        return tuple(done for place in places for done in self._check(self._tables, place))

    def _check(self, working: Tables, after_targets: int) -> list[ActionLanding]:
        """Check what is due after so many targets. Raises `CheckFailed`."""
        done = []
        for action in self._spec.actions:
            if isinstance(action, LandingCheck) and action.after_targets == after_targets:
                findings = table_findings(working, action.check)
                if error := check_error(action.step_id, findings):
                    raise error
                done.append(ActionLanding(step_id=action.step_id, findings=findings))
        return done

    def _delete(self, working: Tables, number: int, comparison: Comparison) -> int:
        tracking = self._spec.tracking[number]
        if tracking.read.release is None or tracking.target is None:
            return 0
        table = find(working, tracking.read.target.ref)
        read = {comparison.source_key(row) for row in self._keys[number]}
        kept = [
            row
            for row in table.rows
            if not (comparison.target_key(row) in read and comparison.is_released(row))
        ]
        count = len(table.rows) - len(kept)
        table.rows = kept
        return count

    def _write(self, table: MemoryTable, target: WriteTarget, rows: list[Row]) -> tuple[int, int]:
        full = [dict.fromkeys(table.types) | row for row in rows]
        for row in full:
            for name in target.stamped:
                row[name] = self._spec.stamp
        if target.mode == "append" or not target.key:
            _refuse_nulls(table, target, full)
            table.rows += full
            return len(full), 0
        last = {_key(row, target.key): row for row in full}
        _refuse_nulls(table, target, list(last.values()))
        places = {_key(row, target.key): place for place, row in enumerate(table.rows)}
        written = 0
        for key, row in last.items():
            place = places.get(key)
            if place is None:
                table.rows.append(row)
            elif target.mode == "upsert":
                kept = set(target.key) | set(target.set_on_insert)
                changes = {
                    name: row[name] for name in (*target.given, *target.set_on_write) if name not in kept
                }
                table.rows[place] = table.rows[place] | changes
            written += place is None or target.mode == "upsert"
        return written, len(rows) - len(last)

    def _quarantine(self, working: Tables) -> None:
        spec = self._spec
        for bad in self._bad_rows:
            find(working, QUARANTINE.ref).rows.append(
                {
                    "quarantine_id": new_ulid(), "job_id": spec.job_id, "step_id": bad.step_id, "run_id": spec.run_id,
                    "job_run_id": spec.job_run_id, "key": bad.key, "column_name": bad.column, "reason": bad.reason,
                    "content": bad.content, "recorded_at": spec.stamp,
                }
            )  # fmt: skip

    def _match(self, working: Tables, number: int, comparison: Comparison) -> KeyMatch:
        tracking = self._spec.tracking[number]
        rows = self._keys[number]
        texts: dict[str, Row] = {}
        times: dict[str, list[Any]] = {}
        for row in rows:
            if (text := comparison.source_text(row)) is not None:
                texts[text] = row
                times.setdefault(text, []).append(row.get(tracking.read.spec.source_ts or ""))
        staged_rows = self._rows[tracking.target] if tracking.target is not None else []
        staged = {key for row in staged_rows if None not in (key := comparison.target_key(row))}
        matched = {text for text, row in texts.items() if comparison.source_key(row) in staged}
        samples = {text for row in staged_rows if (text := comparison.target_text(row)) is not None}
        empty = (
            tracking.target is not None and tracking.read.spec.remember_empty and not (staged and not matched)
        )
        bad = {row.key for row in self._bad_rows}
        remembered = {text for text in texts if text in bad or (empty and text not in matched)}
        self._remember(working, tracking.read.step_id, set(texts), remembered, bad, times)
        return KeyMatch(
            step_id=tracking.read.step_id, read=len(texts), staged=len(staged), matched=len(matched),
            remembered=len(remembered), null_keys=sum(comparison.source_text(row) is None for row in rows),
            read_samples=tuple(sorted(texts)[:SAMPLES]), staged_samples=tuple(sorted(samples)[:SAMPLES]),
        )  # fmt: skip

    def _remember(
        self, working: Tables, step_id: str, read: set[str], kept: set[str], bad: set[str | None],
        times: dict[str, list[Any]],
    ) -> None:  # fmt: skip
        spec, table = self._spec, find(working, PROCESSED_KEYS.ref)
        owner = (spec.job_id, step_id)
        table.rows = [
            row for row in table.rows if (row["job_id"], row["step_id"]) != owner or row["key"] not in read
        ]
        for text in sorted(kept):
            latest = max((moment(time) for time in times[text] if time is not None), default=None)
            table.rows.append(
                {
                    "job_id": spec.job_id, "step_id": step_id, "key": text,
                    "reason": "quarantined" if text in bad else "empty",
                    "source_ts": latest if hasattr(latest, "tzinfo") else None,
                    "run_id": spec.run_id, "recorded_at": spec.stamp,
                }
            )  # fmt: skip

    def _has_marker(self, batch: int) -> bool:
        return any(
            row["job_run_id"] == self._spec.job_run_id and row["batch"] == batch
            for row in find(self._tables, LANDINGS.ref).rows
        )


def check_staged(target: WriteTarget, batch: pa.RecordBatch) -> None:
    """Raise `ValueError` when a batch has other columns than agreed, or NULL in a key: bad rows are
    refused upstream.
    """
    if tuple(batch.schema.names) != target.given:
        raise ValueError(f"staged columns are {batch.schema.names}, expected {list(target.given)}")
    for name in target.key if target.mode != "append" else ():
        if name in batch.schema.names and batch.column(name).null_count:
            raise ValueError(f"staged rows for {target.table.ref} have NULL in the key column {name}")


def _refuse_nulls(table: MemoryTable, target: WriteTarget, rows: list[Row]) -> None:
    for name in table.required:
        if any(row[name] is None for row in rows):
            raise WarehouseError(ENGINE, f"NOT NULL constraint failed: {target.table.ref}.{name}")


def _key(row: Row, key: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(comparable(row[name]) for name in key)


def _outcome(
    target: WriteTarget, *, staged: int, written: int = 0, duplicates: int = 0, deleted: int = 0
) -> TargetLanding:
    return TargetLanding(
        step_id=target.step_id, table=target.table.ref, staged=staged, written=written, duplicates=duplicates,
        deleted=deleted,
    )  # fmt: skip
