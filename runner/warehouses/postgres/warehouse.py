"""`PostgresWarehouse`: the port `runner.ports.Warehouse` on a PostgreSQL server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import pyarrow as pa

from runner.ddl import PROCESSED_KEYS
from runner.expectations import table_findings
from runner.incremental import query_columns, read_statement
from runner.ports import (
    Finding,
    IncrementalCounts,
    IncrementalRead,
    KeyProfile,
    LandingSpec,
    QueryScope,
    ReadQuery,
    Row,
    Statement,
    TableChange,
    TableCheck,
    TableShape,
    Writer,
)
from runner.settings import PostgresSettings
from runner.specs import Filter, TableRef, TableSpec
from runner.sql import POSTGRES
from runner.types import arrow_schema
from runner.warehouses.postgres import event_rows, measures, shapes
from runner.warehouses.postgres.calls import Calls
from runner.warehouses.postgres.connections import Connections
from runner.warehouses.postgres.layouts import PostgresLayouts
from runner.warehouses.postgres.reading import reading
from runner.warehouses.postgres.server import APPLICATION, application_name
from runner.warehouses.postgres.writer import writing


class _Opened:
    """What all scopes of one open warehouse share."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.locks: dict[TableRef, anyio.Lock] = {}
        self.known: dict[TableRef, TableShape | None] = {}

    def lock(self, ref: TableRef) -> anyio.Lock:
        """Return the lock of a table: one writer at a time."""
        return self.locks.setdefault(ref, anyio.Lock())


class PostgresWarehouse:
    """One PostgreSQL database, in use between `async with` and its end. Entering it connects to nothing: that is done
    by the first call.

    `query_timeout` in seconds bounds each query; `stage_bytes` what a writer keeps in memory, beyond which it writes to
    files in `stage_folder`.
    """

    def __init__(
        self,
        settings: PostgresSettings,
        *,
        stage_folder: Path,
        query_timeout: float | None = None,
        stage_bytes: int = 64_000_000,
    ) -> None:
        self._settings = settings
        self._stage_folder = stage_folder
        self._query_timeout = query_timeout
        self._stage_bytes = stage_bytes
        self._application = APPLICATION
        self._opened: _Opened | None = None

    async def __aenter__(self) -> Self:
        """Raises `ConfigurationError` for a `dsn` that cannot be read."""
        connections = Connections(self._settings, self._query_timeout)
        connections.server.parameters()
        self._opened = _Opened(connections)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        opened, self._opened = self._open, None
        with anyio.CancelScope(shield=True):
            await opened.connections.close()

    @property
    def engine(self) -> str:
        """`postgres`."""
        return POSTGRES.name

    @property
    def layouts(self) -> PostgresLayouts:
        """The indexes of tables."""
        return PostgresLayouts(self._calls)

    def scoped(self, scope: QueryScope) -> Self:
        """Return the same warehouse, whose connections bear the names of job and step in `pg_stat_activity`."""
        scoped = copy(self)
        scoped._application = application_name(scope.job_id, scope.step_id)
        return scoped

    async def inspect(self, tables: Sequence[TableRef]) -> Mapping[TableRef, TableShape]:
        """Return the shapes of those tables that exist, with one query."""
        found = await self._calls.once(lambda session: shapes.inspect(session, tables))
        self._open.known.update({ref: found.get(ref) for ref in tables})
        return found

    async def apply(self, changes: Sequence[TableChange]) -> None:
        """Carry out DDL."""
        if not changes:
            return
        await self._calls.once(lambda session: shapes.apply(session, changes))
        for change in changes:
            self._open.known.pop(change.table.ref, None)

    def statement(self, query: ReadQuery) -> str:
        """Return the SQL of a read, with `:name` for values. The warehouse need not be open."""
        return read_statement(query, POSTGRES).text

    def query(
        self, statement: Statement, *, batch_rows: int = 10_000
    ) -> AbstractAsyncContextManager[AsyncIterator[pa.RecordBatch]]:
        """Stream the rows of a query of the project's own, in a read-only transaction."""
        return reading(self._calls, statement, None, batch_rows)

    @asynccontextmanager
    async def read(self, query: ReadQuery) -> AsyncIterator[AsyncIterator[pa.RecordBatch]]:
        """Stream the rows of a query."""
        remembered = query.incremental is not None and await self._has_memory()
        statement = read_statement(query, POSTGRES, remembered=remembered)
        schema = arrow_schema([query.source.column(name) for name in query_columns(query)])
        async with reading(self._calls, statement, schema, query.batch_rows) as batches:
            yield batches

    async def missing_keys(self, read: IncrementalRead, keys: pa.RecordBatch) -> list[bool]:
        """Tell for each key whether it is new."""
        remembered = await self._has_memory()
        return await self._calls.once(
            lambda session: measures.missing(session, read, keys, remembered=remembered)
        )

    async def greatest(self, table: TableSpec, column: str, filters: Sequence[Filter]) -> Any:
        """Return the greatest value of a column among the rows that match, or None."""
        return await self._calls.once(lambda session: measures.greatest(session, table, column, filters))

    async def greatest_by(
        self, table: TableSpec, column: str, by: str, filters: Sequence[Filter]
    ) -> Mapping[Any, Any]:
        """Return the greatest value of a column for each value of the column `by`."""
        return await self._calls.once(
            lambda session: measures.greatest_by(session, table, column, by, filters)
        )

    async def count(self, query: ReadQuery) -> IncrementalCounts:
        """Count what an incremental query would find new, present, remembered, without key."""
        remembered = await self._has_memory()
        return await self._calls.once(lambda session: measures.count(session, query, remembered=remembered))

    async def profile(self, query: ReadQuery) -> KeyProfile:
        """Measure both sides of an incremental query."""
        return await self._calls.once(lambda session: measures.profile(session, query))

    async def count_matching(self, table: TableSpec, filters: Sequence[Filter]) -> int:
        """Count the rows of a table that match."""
        return await self._calls.once(lambda session: measures.count_matching(session, table, filters))

    async def check(self, check: TableCheck) -> tuple[Finding, ...]:
        """Return what is against the expectations of a table."""
        return await self._calls.once(lambda session: table_findings(check, POSTGRES, session.table))

    async def count_quarantined(self, job_id: str) -> int:
        """Count the distinct keys of a job that are remembered as quarantined."""
        if not await self._has_memory():
            return 0
        return await self._calls.once(lambda session: measures.count_quarantined(session, job_id))

    def writer(self, landing: LandingSpec) -> AbstractAsyncContextManager[Writer]:
        """Open a staging area."""
        return writing(self._calls, landing, self._open.lock, self._stage_bytes, self._stage_folder)

    async def merge_events(self, rows: Sequence[Row]) -> int:
        """Insert events that are not there yet; return how many."""
        if not rows:
            return 0
        return await self._calls.once(lambda session: event_rows.merge(session, rows))

    async def _has_memory(self) -> bool:
        """Tell whether `ops.processed_keys` exists; asked once, unless `inspect` has told already."""
        if PROCESSED_KEYS.ref not in self._open.known:
            await self.inspect([PROCESSED_KEYS.ref])
        return self._open.known[PROCESSED_KEYS.ref] is not None

    @property
    def _open(self) -> _Opened:
        if self._opened is None:
            raise RuntimeError("the warehouse is not open; use it as an async context manager")
        return self._opened

    @property
    def _calls(self) -> Calls:
        return Calls(self._open.connections, self._query_timeout, self._application)
