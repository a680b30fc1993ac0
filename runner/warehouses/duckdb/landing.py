"""One landing: everything that is staged and the job's own statements and checks, in one transaction, marker last."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import duckdb

from runner.clock import monotonic_ns
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
from runner.sql import DUCKDB, Parameters, quote
from runner.warehouses.duckdb.actions import InTransaction
from runner.warehouses.duckdb.calls import Cursor
from runner.warehouses.duckdb.database import Database
from runner.warehouses.duckdb.measures import fetch
from runner.warehouses.duckdb.staging import readable
from runner.warehouses.duckdb.upserts import Upsert

BAD_ROWS = "bad_rows"


class Landing:
    """Lands once. Blocks; runs in a worker thread, on the writer's cursor."""

    def __init__(
        self, database: Database, cursor: Cursor, spec: LandingSpec, batch: int, staged: StagingArea
    ) -> None:
        self._database = database
        self._cursor = cursor
        self._spec = spec
        self._batch = batch
        self._staged = staged
        self._sending = InTransaction(cursor)
        self._upserts = [
            Upsert(cursor, target, stage, spec.stamp)
            for target, stage in zip(spec.targets, staged.targets, strict=True)
        ]
        self._tracked = {
            number: TrackedKeys(spec.tracking[number], _relations(number), DUCKDB) for number in staged.keys
        }

    def run(self) -> LandingResult:
        """Commit and return what was done. On any error the transaction is rolled back and the stages are kept."""
        started = monotonic_ns()
        if has_marker(self._cursor, self._spec.job_run_id, self._batch):
            return landed_before(self._spec, self._batch, self._staged.rows)
        changes = Changes(self._spec, self._staged, self._upserts, self._tracked, bad=quote(BAD_ROWS))
        try:
            matches = self._prepare()
            with self._database.transaction(self._cursor):
                result = changes.make(self._sending, self._batch, matches)
        finally:
            self._tidy()
        return replace(result, duration_ms=(monotonic_ns() - started) / 1e6)

    def _prepare(self) -> dict[int, KeyMatch]:
        """Make the temporary relations, before the transaction: no DDL in it."""
        self._cursor.register(BAD_ROWS, quarantine_table(self._spec, self._staged.bad_rows))
        for upsert in self._upserts:
            upsert.prepare()
        self._drop_keys()
        return {number: self._match(number, tracked) for number, tracked in self._tracked.items()}

    def _match(self, number: int, tracked: TrackedKeys) -> KeyMatch:
        """Work out the keys of a tracked read. Its staged keys are read twice: each statement reads them once."""
        names, keys = _relations(number), self._staged.keys[number]
        with readable(self._cursor, keys):
            self._keep(
                names.read, tracked.read_keys(Parameters(DUCKDB), times=tracked.has_times(keys.schema))
            )
        target = self._spec.tracking[number].target
        if target is not None and self._staged.rows[target]:
            with readable(self._cursor, self._staged.targets[target], tracked.read.spec.target_key):
                self._keep(names.landed, tracked.landed_keys(self._upserts[target].rows))
        else:
            self._keep(names.landed, tracked.landed_keys(None))
        with readable(self._cursor, keys, tracked.read.spec.source_key):
            return match_of(tracked.read.step_id, fetch(self._cursor, tracked.match(Parameters(DUCKDB))))

    def _keep(self, name: str, rows: Statement) -> None:
        self._sending.send(temporary_statement(name, rows))

    def _drop_keys(self) -> None:
        for number in self._tracked:
            names = _relations(number)
            for name in (names.read, names.landed):
                self._cursor.execute(f"DROP TABLE IF EXISTS {name}")

    def _tidy(self) -> None:
        """Remove the temporary relations. Should that be interrupted, the next landing replaces them; and after the
        commit no error may say that nothing has landed.
        """
        with suppress(duckdb.Error):
            self._drop_keys()
            self._cursor.unregister(BAD_ROWS)


def has_marker(cursor: Cursor, job_run_id: str, batch: int) -> bool:
    """Tell whether a landing is in the warehouse. Blocks."""
    return bool(fetch(cursor, marker_query(job_run_id, batch, Parameters(DUCKDB))))


def _relations(number: int) -> KeyRelations:
    return KeyRelations(
        staged=quote(f"keys_{number}"),
        read=quote(f"read_{number}"),
        landed=quote(f"landed_{number}"),
        bad=quote(BAD_ROWS),
    )
