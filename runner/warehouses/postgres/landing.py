"""One landing: everything that is staged and the job's own statements and checks, in one transaction, marker last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from runner.clock import monotonic_ns, utc_now
from runner.ddl import QUARANTINE
from runner.landings import (
    KeyRelations,
    TrackedKeys,
    marker_query,
    marker_statement,
    match_of,
    quarantine_statement,
    quarantine_table,
    temporary_statement,
)
from runner.landings.actions import perform
from runner.landings.staging import StagedBatches
from runner.ports import ActionLanding, BadRow, KeyMatch, LandingResult, LandingSpec, Statement, TargetLanding
from runner.sql import POSTGRES, Parameters
from runner.warehouses.postgres.actions import InTransaction
from runner.warehouses.postgres.copying import copy_in, relation, types_of, without_nul
from runner.warehouses.postgres.session import Session
from runner.warehouses.postgres.upserts import Upsert, take_turns

BAD_ROWS = "bad_rows"
DROPPED = "ON COMMIT DROP"


class Landing:
    """Lands once. Blocks; runs in a worker thread, on a session that nobody else uses.

    `stages` holds a stage for every target, `keys` one for every tracked read that brought keys, by its number.
    `result` is set when everything has been done but the commit.
    """

    def __init__(
        self,
        session: Session,
        spec: LandingSpec,
        batch: int,
        stages: Sequence[StagedBatches],
        keys: Mapping[int, StagedBatches],
        bad_rows: Sequence[BadRow],
    ) -> None:
        self._session = session
        self._spec = spec
        self._batch = batch
        self._stages = stages
        self._keys = keys
        self._bad_rows = bad_rows
        self._upserts = [
            Upsert(session, target, stage, spec.stamp)
            for target, stage in zip(spec.targets, stages, strict=True)
        ]
        self._tracked = {
            number: TrackedKeys(spec.tracking[number], _relations(number), POSTGRES) for number in keys
        }
        self._asked = InTransaction(session)
        self.result: LandingResult | None = None

    def run(self) -> LandingResult:
        """Commit and return what was done. On any error the transaction is rolled back and the stages are kept.

        Another transaction may still be committing this very landing: one whose connection was lost before the answer.
        So the marker is looked for after waiting for its end.
        """
        started = monotonic_ns()
        with self._session.transaction():
            if _is_there(self._session, self._spec.job_run_id, self._batch):
                return self._repeated()
            matches = self._prepare()
            self._lock()
            result = self._change(matches)
            self.result = replace(result, duration_ms=(monotonic_ns() - started) / 1e6)
        return replace(result, duration_ms=(monotonic_ns() - started) / 1e6)

    def _prepare(self) -> dict[int, KeyMatch]:
        """Send what is staged, and work out the keys: before anything is locked."""
        if self._bad_rows or self._tracked:
            self._send_bad_rows()
        for upsert in self._upserts:
            upsert.prepare()
        return {number: self._match(number, tracked) for number, tracked in self._tracked.items()}

    def _match(self, number: int, tracked: TrackedKeys) -> KeyMatch:
        names, keys = _relations(number), self._keys[number]
        times = tracked.read.spec.source_ts
        copy_in(self._session, keys.name, types_of(keys.schema), keys.reader())
        temporal = times is not None and pa.types.is_temporal(keys.schema.field(times).type)
        self._keep(names.read, tracked.read_keys(Parameters(POSTGRES), times=temporal))
        target = self._spec.tracking[number].target
        staged = target is not None and self._stages[target].rows > 0
        rows = self._upserts[target].rows if staged and target is not None else None
        self._keep(names.landed, tracked.landed_keys(rows))
        found = self._session.fetch(tracked.match(Parameters(POSTGRES)))
        return match_of(tracked.read.step_id, found)

    def _lock(self) -> None:
        """Lock the tables that are written, in one order for everybody."""
        for ref in self._spec.writes:
            take_turns(self._session, ref)
        for upsert in sorted(self._upserts, key=lambda upsert: upsert.rows.target.table.ref):
            upsert.lock()

    def _change(self, matches: Mapping[int, KeyMatch]) -> LandingResult:
        deleted = {number: self._delete_released(tracked) for number, tracked in self._tracked.items()}
        targets, actions = self._in_order(deleted)
        if self._bad_rows:
            self._send(quarantine_statement(relation(BAD_ROWS), POSTGRES))
        remembered = tuple(
            replace(match, remembered=self._remember(self._tracked[number], match))
            for number, match in matches.items()
        )
        rows = sum(target.written for target in targets) + sum(action.rows or 0 for action in actions)
        self._send(marker_statement(self._spec, self._batch, rows, utc_now(), Parameters(POSTGRES)))
        return LandingResult(
            batch=self._batch,
            targets=targets,
            actions=actions,
            matches=remembered,
            quarantined=len(self._bad_rows),
        )

    def _delete_released(self, tracked: TrackedKeys) -> int:
        statement = tracked.delete_released(Parameters(POSTGRES))
        return 0 if statement is None else self._send(statement)

    def _remember(self, tracked: TrackedKeys, match: KeyMatch) -> int:
        self._send(tracked.forget(Parameters(POSTGRES)))
        return self._send(tracked.remember(self._spec, Parameters(POSTGRES), ineffective=match.ineffective))

    def _in_order(
        self, deleted: Mapping[int, int]
    ) -> tuple[tuple[TargetLanding, ...], tuple[ActionLanding, ...]]:
        """Upsert the targets and perform the actions, in the order of their steps."""
        targets: list[TargetLanding] = []
        actions: list[ActionLanding] = []
        for number in range(len(self._stages) + 1):
            due = [action for action in self._spec.actions if action.after_targets == number]
            actions += [perform(action, POSTGRES, self._asked) for action in due]
            if number < len(self._stages):
                targets.append(self._land(number, deleted))
        return tuple(targets), tuple(actions)

    def _land(self, number: int, deleted: Mapping[int, int]) -> TargetLanding:
        started = monotonic_ns()
        target, upsert = self._spec.targets[number], self._upserts[number]
        written = upsert.run()
        released = sum(count for n, count in deleted.items() if self._spec.tracking[n].target == number)
        return TargetLanding(
            step_id=target.step_id,
            table=target.table.ref,
            staged=self._stages[number].rows,
            written=written,
            duplicates=upsert.duplicates,
            deleted=upsert.deleted + released,
            duration_ms=(monotonic_ns() - started) / 1e6,
        )

    def _repeated(self) -> LandingResult:
        """Report a landing that happened before: nothing is written twice."""
        targets = tuple(
            TargetLanding(step_id=t.step_id, table=t.table.ref, staged=s.rows, written=0, duplicates=0)
            for t, s in zip(self._spec.targets, self._stages, strict=True)
        )
        return LandingResult(batch=self._batch, targets=targets, details={"already_landed": True})

    def _send_bad_rows(self) -> None:
        rows = quarantine_table(self._spec, self._bad_rows)
        arrays = [without_nul(column.combine_chunks()) for column in rows.columns]
        batch = pa.RecordBatch.from_arrays(arrays, schema=rows.schema)
        types = {column.name: POSTGRES.types[column.type] for column in QUARANTINE.columns}
        copy_in(self._session, BAD_ROWS, types, [batch])

    def _keep(self, name: str, rows: Statement) -> None:
        self._send(temporary_statement(name, rows, options=DROPPED))

    def _send(self, statement: Statement) -> int:
        return self._session.execute(statement.text, statement.values).rowcount


def has_landed(session: Session, job_run_id: str, batch: int) -> bool:
    """Tell whether a landing is in the warehouse, once no other transaction is at it. Blocks."""
    with session.transaction():
        return _is_there(session, job_run_id, batch)


def _is_there(session: Session, job_run_id: str, batch: int) -> bool:
    """Look for the marker when it is this transaction's turn: no other lands this before its end."""
    take_turns(session, f"landing {job_run_id}")
    return bool(session.fetch(marker_query(job_run_id, batch, Parameters(POSTGRES))))


def _relations(number: int) -> KeyRelations:
    return KeyRelations(
        staged=relation(f"keys_{number}"),
        read=relation(f"read_{number}"),
        landed=relation(f"landed_{number}"),
        bad=relation(BAD_ROWS),
    )
