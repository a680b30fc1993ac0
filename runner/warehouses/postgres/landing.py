"""One landing: everything that is staged and the job's own statements and checks, in one transaction, marker last."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from runner.clock import monotonic_ns
from runner.ddl import QUARANTINE
from runner.landings import (
    KeyRelations,
    TrackedKeys,
    landed_before,
    marker_query,
    match_of,
    quarantine_table,
    temporary_statement,
)
from runner.landings.area import StagingArea
from runner.landings.changes import Changes
from runner.ports import KeyMatch, LandingResult, LandingSpec, Statement
from runner.sql import POSTGRES, Parameters
from runner.warehouses.postgres.actions import InTransaction
from runner.warehouses.postgres.copying import copy_in, relation, types_of, without_nul
from runner.warehouses.postgres.session import Session
from runner.warehouses.postgres.upserts import Upsert, take_turns

BAD_ROWS = "bad_rows"
DROPPED = "ON COMMIT DROP"


class Landing:
    """Lands once. Blocks; runs in a worker thread, on a session that nobody else uses.

    `result` is set when everything has been done but the commit.
    """

    def __init__(self, session: Session, spec: LandingSpec, batch: int, staged: StagingArea) -> None:
        self._session = session
        self._spec = spec
        self._batch = batch
        self._staged = staged
        self._sending = InTransaction(session)
        self._upserts = [
            Upsert(session, target, stage, spec.stamp)
            for target, stage in zip(spec.targets, staged.targets, strict=True)
        ]
        self._tracked = {
            number: TrackedKeys(spec.tracking[number], _relations(number), POSTGRES) for number in staged.keys
        }
        self.result: LandingResult | None = None

    def run(self) -> LandingResult:
        """Commit and return what was done. On any error the transaction is rolled back and the stages are kept.

        Another transaction may still be committing this very landing: one whose connection was lost before the answer.
        So the marker is looked for after waiting for its end.
        """
        started = monotonic_ns()
        changes = Changes(self._spec, self._staged, self._upserts, self._tracked, bad=relation(BAD_ROWS))
        with self._session.transaction():
            if _is_there(self._session, self._spec.job_run_id, self._batch):
                return landed_before(self._spec, self._batch, self._staged.rows)
            matches = self._prepare()
            self._lock()
            result = changes.make(self._sending, self._batch, matches)
            self.result = replace(result, duration_ms=(monotonic_ns() - started) / 1e6)
        return replace(result, duration_ms=(monotonic_ns() - started) / 1e6)

    def _prepare(self) -> dict[int, KeyMatch]:
        """Send what is staged, and work out the keys: before anything is locked."""
        if self._staged.bad_rows or self._tracked:
            self._send_bad_rows()
        for upsert in self._upserts:
            upsert.prepare()
        return {number: self._match(number, tracked) for number, tracked in self._tracked.items()}

    def _match(self, number: int, tracked: TrackedKeys) -> KeyMatch:
        names, keys = _relations(number), self._staged.keys[number]
        copy_in(self._session, keys.name, types_of(keys.schema), keys.reader())
        times = tracked.has_times(keys.schema)
        self._keep(names.read, tracked.read_keys(Parameters(POSTGRES), times=times))
        target = self._spec.tracking[number].target
        staged = target is not None and self._staged.rows[target] > 0
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

    def _send_bad_rows(self) -> None:
        rows = quarantine_table(self._spec, self._staged.bad_rows)
        arrays = [without_nul(column.combine_chunks()) for column in rows.columns]
        batch = pa.RecordBatch.from_arrays(arrays, schema=rows.schema)
        types = {column.name: POSTGRES.types[column.type] for column in QUARANTINE.columns}
        copy_in(self._session, BAD_ROWS, types, [batch])

    def _keep(self, name: str, rows: Statement) -> None:
        self._sending.send(temporary_statement(name, rows, options=DROPPED))


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
