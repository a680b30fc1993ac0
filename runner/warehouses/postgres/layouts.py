"""`PostgresLayouts`: the declared indexes, built while others read and write. Order and partitions mean nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar

from runner.clock import monotonic_ns
from runner.ddl import PROCESSED_KEYS
from runner.errors import HeldByAnother
from runner.incremental import read_statement
from runner.layouts import backup_ref, backups_among, counting, drop_statement, index_name, is_own_index
from runner.ports import Backup, LayoutChange, LayoutReport, QueryCost, ReadQuery, Statement
from runner.specs import TableRef, TableSpec
from runner.sql import POSTGRES
from runner.warehouses.postgres.calls import Calls
from runner.warehouses.postgres.indexes import (
    Index,
    create_statement,
    drop_index_statement,
    existing,
    meanings,
    undeclared,
)
from runner.warehouses.postgres.session import Session
from runner.warehouses.postgres.shapes import inspect

T = TypeVar("T")

LOCK = 0x52504C59
"""The first key of the advisory locks of layouts (`RPLY` in ASCII); the second is the table's number."""
PAUSE = 0.1
PATIENCE = 5.0
"""Seconds that somebody else's work on a table is waited for, on top of the server's interval of looking for clients:
the server ends what a killed optimize has left there, but only when it notices.
"""

_TRY = "SELECT pg_catalog.pg_try_advisory_lock(:lock, CAST(CAST(:table AS pg_catalog.regclass) AS integer))"
_UNLOCK = "SELECT pg_catalog.pg_advisory_unlock(:lock, CAST(CAST(:table AS pg_catalog.regclass) AS integer))"
_HOLDER = """
SELECT l.pid, a.application_name FROM pg_catalog.pg_locks AS l
JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.classid = CAST(:lock AS oid) AND l.granted
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND l.objid = CAST(CAST(:table AS pg_catalog.regclass) AS oid)
"""
_TABLES = """
SELECT c.relname, c.relkind, c.reltuples FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = :schema AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""


class PostgresLayouts:
    """The layouts of one database. What it builds has no time limit; the project's own queries have theirs."""

    def __init__(self, calls: Calls) -> None:
        self._limited = calls
        self._calls = Calls(calls.connections, None, calls.application)
        settings = calls.connections.server.settings
        self._patience = PATIENCE + (settings.check_interval or 0)

    async def settle(self, table: TableSpec) -> None:
        """Wait until nobody works on the layout of the table: the server needs a moment to notice a killed client."""

        def work(session: Session) -> None:
            if table.ref in inspect(session, [table.ref]):
                with self._locked(session, table.ref):
                    return

        await self._calls.once(work)

    async def report(self, table: TableSpec, *, rewrite: bool = False) -> LayoutReport:
        """Compare the indexes with their declarations. A rewriting has no meaning here."""
        return await self._calls.once(lambda session: _report(session, table, rewrite=rewrite))

    async def back_up(self, table: TableSpec, stamp: datetime) -> Backup:
        """Copy a table's rows."""
        ref = backup_ref(table.ref, stamp, POSTGRES)
        text = f"CREATE TABLE {POSTGRES.qualified(ref)} AS TABLE {POSTGRES.qualified(table.ref)}"
        await self._calls.once(
            lambda session: self._in_peace(session, table.ref, lambda: session.execute(text))
        )
        return Backup(table=ref, statement=drop_statement(ref, POSTGRES))

    async def change(self, change: LayoutChange, stamp: datetime) -> Backup | None:
        """Build or remove an index, or remove a backup. What has been done meanwhile is not done again."""

        ref, backup = change.table.ref, TableRef(change.table.dataset, change.subject)

        def work(session: Session) -> None:
            if not change.statements[0].startswith("DROP TABLE"):
                self._in_peace(session, ref, lambda: _carry_out(session, change))
            elif backup in inspect(session, [backup]):
                session.execute(change.statements[0])

        await self._calls.once(work, change.statements[-1])
        return None

    async def measure(self, query: ReadQuery) -> QueryCost:
        """Send a read as a run does."""
        return await self._limited.once(lambda session: _measure(session, query))

    def _in_peace(self, session: Session, ref: TableRef, work: Callable[[], object]) -> None:
        """Do work on a table with its lock and without a time limit of the server's."""
        with self._locked(session, ref), _unlimited(session):
            work()

    @contextmanager
    def _locked(self, session: Session, ref: TableRef) -> Iterator[None]:
        """Hold the lock of a table's layout. It is asked for again and again rather than waited for on the server:
        there the wait would be a transaction, which an index that is being built waits for.
        """
        values = {"lock": LOCK, "table": POSTGRES.qualified(ref)}
        give_up = time.monotonic() + self._patience
        while not session.execute(_TRY, values).fetchall()[0][0]:
            if session.interrupts.sent or time.monotonic() > give_up:
                raise HeldByAnother(f"the layout of table {ref}", _holder(session, values))
            time.sleep(PAUSE)
        try:
            yield
        finally:
            if _goes_on(session):
                session.execute(_UNLOCK, values)


def _holder(session: Session, values: dict[str, object]) -> str:
    rows = session.fetch(Statement(text=_HOLDER, values=values))
    return ", ".join(f"{application} (backend {pid})" for pid, application in rows) or "another session"


@contextmanager
def _unlimited(session: Session) -> Iterator[None]:
    """Lift the time limit of statements for a while: an index takes as long as it takes."""
    text = "SELECT pg_catalog.set_config('statement_timeout', :limit, false)"
    before = session.execute("SELECT pg_catalog.current_setting('statement_timeout')").fetchall()[0][0]
    session.execute(text, {"limit": "0"})
    try:
        yield
    finally:
        if _goes_on(session):
            session.execute(text, {"limit": before})


def _goes_on(session: Session) -> bool:
    """Tell whether the connection will be used again; else it is closed, and what it holds goes with it."""
    return session.is_usable() and not session.interrupts.sent


def _carry_out(session: Session, change: LayoutChange) -> None:
    """Send the statements that are still due. Between the report and the lock somebody else may have done the work."""
    before = {index.name: index for index in existing(session, change.table.ref)}.get(change.subject)
    done = change.kind == "index" and before is not None and before.valid
    for text in change.statements:
        drops_nothing = text.startswith("DROP INDEX") and before is None
        if not drops_nothing and not (done and text.startswith(("DROP INDEX", "CREATE INDEX"))):
            session.execute(text)


def _report(session: Session, table: TableSpec, *, rewrite: bool) -> LayoutReport:
    found = session.fetch(Statement(text=_TABLES, values={"schema": table.dataset}))
    tables = {name: (kind, estimate) for name, kind, estimate in found}
    spare = [
        LayoutChange(
            kind="remove",
            table=table,
            why="a backup",
            statements=(drop_statement(ref, POSTGRES),),
            subject=ref.table,
        )
        for ref in backups_among(tables, table.ref, POSTGRES)
    ]
    if table.table not in tables:
        return LayoutReport(table=table, exists=False, spare=tuple(spare))
    kind, estimate = tables[table.table]
    if kind != "r":
        notes = ("is no plain table (a view, or partitioned by somebody): nothing is changed",)
        return LayoutReport(table=table, exists=True, spare=tuple(spare), notes=notes)
    indexes, wanted = existing(session, table.ref), meanings(session, table)
    missing = list(_missing(table, indexes, wanted))
    changes = [*_leftovers(table, indexes, {change.subject for change in missing}), *missing]
    if changes:
        changes[-1] = _analysed(changes[-1])
    spare += _no_longer_declared(table, undeclared(indexes, wanted))
    return LayoutReport(
        table=table,
        exists=True,
        rows=int(estimate) if estimate >= 0 else None,
        estimated=True,
        changes=tuple(changes),
        spare=tuple(spare),
        notes=tuple(_notes(table, indexes, rewrite=rewrite)),
    )


def _leftovers(table: TableSpec, indexes: list[Index], rebuilt: set[str]) -> Iterator[LayoutChange]:
    """Yield the removal of indexes that were never finished and are not `rebuilt` under the same name."""
    for index in indexes:
        if not index.valid and is_own_index(index.name) and index.name not in rebuilt:
            yield LayoutChange(
                kind="remove",
                table=table,
                why="it was never finished, and is not needed any more",
                statements=(drop_index_statement(table.ref, index.name),),
                subject=index.name,
            )


def _missing(table: TableSpec, indexes: list[Index], wanted: list[str]) -> Iterator[LayoutChange]:
    """Yield what builds the declared indexes that are not there, or were never finished."""
    usable = {index.meaning for index in indexes if index.valid}
    names = {index.name: index for index in indexes}
    seen = set()
    for spec, meaning in zip(table.indexes, wanted, strict=True):
        if meaning in usable or meaning in seen:
            continue
        seen.add(meaning)
        name, create = index_name(table.ref, spec, POSTGRES), create_statement(table, spec)
        broken = name in names
        yield LayoutChange(
            kind="index",
            table=table,
            why="its building was interrupted" if broken else "it is not there",
            statements=(drop_index_statement(table.ref, name), create) if broken else (create,),
            subject=name,
        )


def _analysed(change: LayoutChange) -> LayoutChange:
    """Return the last change, followed by the statement that tells the planner what the table holds."""
    analyse = f"ANALYZE {POSTGRES.qualified(change.table.ref)}"
    return LayoutChange(
        kind=change.kind, table=change.table, why=change.why, subject=change.subject,
        statements=(*change.statements, analyse),
    )  # fmt: skip


def _no_longer_declared(table: TableSpec, indexes: list[Index]) -> Iterator[LayoutChange]:
    """Yield the removal of finished indexes that were made here and that no declaration asks for any more."""
    for index in indexes:
        if index.valid and is_own_index(index.name):
            yield LayoutChange(
                kind="remove",
                table=table,
                why="an index that was made here and is no longer declared",
                statements=(drop_index_statement(table.ref, index.name),),
                subject=index.name,
            )


def _notes(table: TableSpec, indexes: list[Index], *, rewrite: bool) -> Iterator[str]:
    for index in indexes:
        if not index.valid and not is_own_index(index.name):
            yield f"index {index.name} is invalid; it was not made here and is left alone"
    if table.cluster_by:
        yield f"cluster_by {', '.join(table.cluster_by)}: PostgreSQL keeps rows as they come; declare indexes"
    if table.partition_by:
        yield f"partition_by {table.partition_by.column}: PostgreSQL cannot partition a table in place; declare indexes"
    if rewrite:
        yield "--rewrite: nothing to write anew here"


def _measure(session: Session, query: ReadQuery) -> QueryCost:
    remembered = query.incremental is not None and PROCESSED_KEYS.ref in inspect(
        session, [PROCESSED_KEYS.ref]
    )
    statement = counting(read_statement(query, POSTGRES, remembered=remembered))
    started = monotonic_ns()
    session.fetch(statement)
    return QueryCost(duration_ms=(monotonic_ns() - started) / 1e6)
