"""One landing: everything that is staged and the job's own statements and checks, in one transaction, marker last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import duckdb
import pyarrow as pa

from runner.clock import monotonic_ns, utc_now
from runner.ddl import LANDINGS, QUARANTINE
from runner.ids import new_ulid
from runner.ports import ActionLanding, BadRow, KeyMatch, LandingResult, LandingSpec, TargetLanding
from runner.sql import column_list, qualified, quote
from runner.warehouses.duckdb.actions import perform
from runner.warehouses.duckdb.arrow import arrow_schema
from runner.warehouses.duckdb.calls import Cursor
from runner.warehouses.duckdb.database import Database
from runner.warehouses.duckdb.staging import Stage
from runner.warehouses.duckdb.tracking import TrackedKeys
from runner.warehouses.duckdb.upserts import Upsert

BAD_ROWS = "bad_rows"


class Landing:
    """Lands once. Blocks; runs in a worker thread, on the writer's cursor.

    `stages` holds a stage for every target, `keys` one for every tracked read that brought keys, by its number.
    """

    def __init__(
        self,
        database: Database,
        cursor: Cursor,
        spec: LandingSpec,
        batch: int,
        stages: Sequence[Stage],
        keys: Mapping[int, Stage],
        bad_rows: Sequence[BadRow],
    ) -> None:
        self._database = database
        self._cursor = cursor
        self._spec = spec
        self._batch = batch
        self._stages = stages
        self._bad_rows = bad_rows
        self._keys = keys
        self._upserts = [
            Upsert(cursor, target, stage, spec.stamp)
            for target, stage in zip(spec.targets, stages, strict=True)
        ]
        self._tracked = {
            number: TrackedKeys(cursor, spec, number, spec.tracking[number], stage, BAD_ROWS)
            for number, stage in keys.items()
        }

    def run(self) -> LandingResult:
        """Commit and return what was done. On any error the transaction is rolled back and the stages are kept."""
        started = monotonic_ns()
        if has_marker(self._cursor, self._spec.job_run_id, self._batch):
            return self._repeated()
        try:
            matches = self._prepare()
            result = self._transact(matches)
        finally:
            self._tidy()
        return replace(result, duration_ms=(monotonic_ns() - started) / 1e6)

    def _prepare(self) -> dict[int, KeyMatch]:
        """Make the temporary relations, before the transaction: no DDL in it."""
        self._cursor.register(BAD_ROWS, self._bad_table())
        for upsert in self._upserts:
            upsert.prepare()
        matches = {}
        for number, tracked in self._tracked.items():
            target = self._spec.tracking[number].target
            tracked.prepare(None if target is None else self._stages[target])
            matches[number] = tracked.match()
        return matches

    def _transact(self, matches: dict[int, KeyMatch]) -> LandingResult:
        with self._database.transaction(self._cursor):
            deleted = {number: tracked.delete_released() for number, tracked in self._tracked.items()}
            targets, actions = self._in_order(deleted)
            self._quarantine()
            remembered = tuple(
                replace(match, remembered=self._tracked[number].remember(match))
                for number, match in matches.items()
            )
            changed = sum(action.rows or 0 for action in actions)
            self._mark(sum(target.written for target in targets) + changed)
        return LandingResult(
            batch=self._batch,
            targets=targets,
            actions=actions,
            matches=remembered,
            quarantined=len(self._bad_rows),
        )

    def _in_order(
        self, deleted: Mapping[int, int]
    ) -> tuple[tuple[TargetLanding, ...], tuple[ActionLanding, ...]]:
        """Upsert the targets and perform the actions, in the order of their steps."""
        targets: list[TargetLanding] = []
        actions: list[ActionLanding] = []
        for number in range(len(self._stages) + 1):
            due = [action for action in self._spec.actions if action.after_targets == number]
            actions += [perform(self._cursor, action) for action in due]
            if number < len(self._stages):
                targets.append(self._land(number, deleted))
        return tuple(targets), tuple(actions)

    def _land(self, number: int, deleted: Mapping[int, int]) -> TargetLanding:
        started = monotonic_ns()
        target, stage = self._spec.targets[number], self._stages[number]
        upsert = self._upserts[number]
        written = upsert.run()
        return TargetLanding(
            step_id=target.step_id,
            table=target.table.ref,
            staged=stage.rows,
            written=written,
            duplicates=upsert.duplicates,
            deleted=upsert.deleted
            + sum(count for n, count in deleted.items() if self._spec.tracking[n].target == number),
            duration_ms=(monotonic_ns() - started) / 1e6,
        )

    def _quarantine(self) -> None:
        if self._bad_rows:
            columns = column_list(QUARANTINE.column_names)
            self._cursor.execute(
                f"INSERT INTO {qualified(QUARANTINE.ref)} ({columns}) SELECT {columns} FROM {quote(BAD_ROWS)}"
            )

    def _mark(self, rows: int) -> None:
        """Insert the marker. It must be the last statement: the COMMIT of an aborted transaction raises nothing
        and rolls back, any other statement in one raises.
        """
        spec = self._spec
        self._cursor.execute(
            f"INSERT INTO {qualified(LANDINGS.ref)} ({column_list(LANDINGS.column_names)}) "
            "VALUES ($job_run_id, $batch, $job_id, $run_id, $rows, $landed_at)",
            {
                "job_run_id": spec.job_run_id,
                "batch": self._batch,
                "job_id": spec.job_id,
                "run_id": spec.run_id,
                "rows": rows,
                "landed_at": utc_now(),
            },
        )

    def _tidy(self) -> None:
        """Remove the temporary relations. Should that be interrupted, the next landing replaces them; and after the
        commit no error may say that nothing has landed.
        """
        with suppress(duckdb.Error):
            for tracked in self._tracked.values():
                tracked.drop()
            self._cursor.unregister(BAD_ROWS)

    def _repeated(self) -> LandingResult:
        """Report a landing that happened before: nothing is written twice."""
        targets = tuple(
            TargetLanding(step_id=t.step_id, table=t.table.ref, staged=s.rows, written=0, duplicates=0)
            for t, s in zip(self._spec.targets, self._stages, strict=True)
        )
        return LandingResult(batch=self._batch, targets=targets, details={"already_landed": True})

    def _bad_table(self) -> pa.Table:
        spec, now = self._spec, self._spec.stamp
        rows = [
            (new_ulid(), spec.job_id, row.step_id, spec.run_id, spec.job_run_id, row.key, row.column, row.reason,
             row.content, now)
            for row in self._bad_rows
        ]  # fmt: skip
        schema = arrow_schema(QUARANTINE, QUARANTINE.column_names)
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        return pa.Table.from_arrays(arrays, schema=schema)


def has_marker(cursor: Cursor, job_run_id: str, batch: int) -> bool:
    """Tell whether a landing is in the warehouse. Blocks."""
    found = cursor.execute(
        f'SELECT 1 FROM {qualified(LANDINGS.ref)} WHERE "job_run_id" = $job_run_id AND "batch" = $batch LIMIT 1',
        {"job_run_id": job_run_id, "batch": batch},
    )
    return bool(found.fetchall())
