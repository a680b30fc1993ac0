"""`BigQueryWarehouse`: the port `Warehouse` on Google BigQuery, or a server that speaks its API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import gettempdir
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.to_thread
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
from runner.retry import Backoff
from runner.settings import BigQuerySettings
from runner.specs import Filter, TableRef, TableSpec
from runner.sql import BIGQUERY
from runner.types import arrow_schema
from runner.warehouses.bigquery import event_rows, measures, shapes
from runner.warehouses.bigquery.calls import Calls
from runner.warehouses.bigquery.layouts import BigQueryLayouts
from runner.warehouses.bigquery.profiling import profile
from runner.warehouses.bigquery.reading import reading
from runner.warehouses.bigquery.service import Service
from runner.warehouses.bigquery.writer import writing


class BigQueryWarehouse:
    """One project of BigQuery, open between `async with` and its end.

    `query_timeout` in seconds bounds each job; `backoff`: how long to wait before a request is sent again;
    `stage_bytes` what a writer keeps in memory; beyond it staged rows go to files in `stage_folder` (None: the system's
    folder for temporary files).
    """

    def __init__(
        self,
        settings: BigQuerySettings,
        *,
        query_timeout: float | None = None,
        stage_bytes: int = 64_000_000,
        stage_folder: Path | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        service = Service(settings, query_timeout, backoff)
        self._shared = _Shared(service, stage_bytes, stage_folder or Path(gettempdir()))
        self._scope: QueryScope | None = None

    async def __aenter__(self) -> Self:
        """Find the credentials, in a thread. Nothing is sent yet.

        Raises `AuthenticationFailed` without credentials, `ConfigurationError` without a project.
        """
        shared = self._shared
        limiter = anyio.CapacityLimiter(shared.service.settings.max_connections)
        await anyio.to_thread.run_sync(shared.service.open, limiter=limiter)
        shared.calls = Calls(shared.service, limiter)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        shared, self._shared.calls = self._shared, None
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(shared.service.close)

    @property
    def engine(self) -> str:
        """`bigquery`."""
        return BIGQUERY.name

    @property
    def layouts(self) -> BigQueryLayouts:
        """The partitions and clustering of tables."""
        return BigQueryLayouts(self._calls)

    def scoped(self, scope: QueryScope) -> BigQueryWarehouse:
        """Return the same warehouse, whose jobs bear the scope's names and are reported to it."""
        view = object.__new__(BigQueryWarehouse)
        view._shared = self._shared
        view._scope = scope
        return view

    async def inspect(self, tables: Sequence[TableRef]) -> Mapping[TableRef, TableShape]:
        """Return the shapes of those tables that exist, with one query."""
        found = await self._calls.on(lambda jobs: shapes.inspect(jobs, tables))
        self._shared.known.update({ref: ref in found for ref in tables})
        return found

    async def apply(self, changes: Sequence[TableChange]) -> None:
        """Carry out DDL, one caller at a time: the service bounds how often one table is changed."""
        if not changes:
            return
        async with self._shared.changing:
            await self._calls.on(lambda jobs: shapes.apply(jobs, changes))
            self._shared.known.update({change.table.ref: True for change in changes})

    def statement(self, query: ReadQuery) -> str:
        """Return the SQL of a read, with `@name` for values."""
        return read_statement(query, BIGQUERY).text

    def query(
        self, statement: Statement, *, batch_rows: int = 10_000
    ) -> AbstractAsyncContextManager[AsyncIterator[pa.RecordBatch]]:
        """Stream the rows of a query of the project's own. Anything but a SELECT is refused."""
        return reading(self._calls, statement, None, batch_rows)

    @asynccontextmanager
    async def read(self, query: ReadQuery) -> AsyncIterator[AsyncIterator[pa.RecordBatch]]:
        """Stream the rows of a query."""
        remembered = query.incremental is not None and await self._has_memory()
        statement = read_statement(query, BIGQUERY, remembered=remembered)
        schema = arrow_schema([query.source.column(name) for name in query_columns(query)])
        async with reading(self._calls, statement, schema, query.batch_rows) as batches:
            yield batches

    async def missing_keys(self, read: IncrementalRead, keys: pa.RecordBatch) -> list[bool]:
        """Tell for each key whether it is new."""
        remembered = await self._has_memory()
        return await self._calls.on(lambda jobs: measures.missing(jobs, read, keys, remembered=remembered))

    async def greatest(self, table: TableSpec, column: str, filters: Sequence[Filter]) -> Any:
        """Return the greatest value of a column among the rows that match, or None."""
        return await self._calls.on(lambda jobs: measures.greatest(jobs, table, column, filters))

    async def greatest_by(
        self, table: TableSpec, column: str, by: str, filters: Sequence[Filter]
    ) -> Mapping[Any, Any]:
        """Return the greatest value of a column for each value of the column `by`."""
        return await self._calls.on(lambda jobs: measures.greatest_by(jobs, table, column, by, filters))

    async def count(self, query: ReadQuery) -> IncrementalCounts:
        """Count what an incremental query would find new, present, remembered, without key."""
        remembered = await self._has_memory()
        return await self._calls.on(lambda jobs: measures.count(jobs, query, remembered=remembered))

    async def profile(self, query: ReadQuery) -> KeyProfile:
        """Measure both sides of an incremental query."""
        return await self._calls.on(lambda jobs: profile(jobs, query))

    async def count_matching(self, table: TableSpec, filters: Sequence[Filter]) -> int:
        """Count the rows of a table that match."""
        return await self._calls.on(lambda jobs: measures.count_matching(jobs, table, filters))

    async def check(self, check: TableCheck) -> tuple[Finding, ...]:
        """Return what is against the expectations of a table."""
        return await self._calls.on(lambda jobs: table_findings(check, BIGQUERY, jobs.table))

    async def count_quarantined(self, job_id: str) -> int:
        """Count the distinct keys of a job that are remembered as quarantined."""
        if not await self._has_memory():
            return 0
        return await self._calls.on(lambda jobs: measures.count_quarantined(jobs, job_id))

    def writer(self, landing: LandingSpec) -> AbstractAsyncContextManager[Writer]:
        """Open a staging area."""
        shared = self._shared
        return writing(self._calls, landing, shared.lock, shared.stage_bytes, shared.stage_folder)

    async def merge_events(self, rows: Sequence[Row]) -> int:
        """Insert events that are not there yet; return how many."""
        if not rows:
            return 0
        return await self._calls.on(lambda jobs: event_rows.merge(jobs, rows))

    async def _has_memory(self) -> bool:
        """Tell whether `ops.processed_keys` exists; asked once, unless `inspect` or `apply` has told already."""
        ref = PROCESSED_KEYS.ref
        known = self._shared.known
        if ref not in known:
            known[ref] = await self._calls.on(lambda jobs: shapes.exists(jobs, ref))
        return known[ref]

    @property
    def _calls(self) -> Calls:
        calls = self._shared.calls
        if calls is None:
            raise RuntimeError("the warehouse is not open; use it as an async context manager")
        return calls if self._scope is None else calls.scoped(self._scope)


class _Shared:
    """What a warehouse and its scoped views have in common."""

    def __init__(self, service: Service, stage_bytes: int, stage_folder: Path) -> None:
        self.service = service
        self.stage_bytes = stage_bytes
        self.stage_folder = stage_folder
        self.calls: Calls | None = None
        self.changing = anyio.Lock()
        self.known: dict[TableRef, bool] = {}
        self._locks: dict[TableRef, anyio.Lock] = {}

    def lock(self, ref: TableRef) -> anyio.Lock:
        """Return the lock of a table's writers."""
        return self._locks.setdefault(ref, anyio.Lock())
