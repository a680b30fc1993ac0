"""`DuckDBWarehouse`: the port `runner.ports.Warehouse` on one DuckDB file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
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
from runner.settings import DuckDBSettings
from runner.specs import Filter, TableRef, TableSpec
from runner.sql import DUCKDB
from runner.types import arrow_schema
from runner.warehouses.duckdb import event_rows, measures, shapes
from runner.warehouses.duckdb.calls import Calls
from runner.warehouses.duckdb.database import Database
from runner.warehouses.duckdb.layouts import DuckDBLayouts
from runner.warehouses.duckdb.profiling import profile
from runner.warehouses.duckdb.reading import reading
from runner.warehouses.duckdb.writer import writing


class DuckDBWarehouse:
    """One DuckDB file, open between `async with` and its end.

    `path`: the file, absolute. `state_dir`: what a relative `temp_directory` is relative to (default: the file's
    folder). `query_timeout` in seconds bounds each query; `stage_bytes` what a writer keeps in memory.
    """

    def __init__(
        self,
        path: Path,
        settings: DuckDBSettings | None = None,
        *,
        state_dir: Path | None = None,
        query_timeout: float | None = None,
        stage_bytes: int = 64_000_000,
    ) -> None:
        settings = settings or DuckDBSettings()
        temp_directory = (state_dir or path.parent) / settings.temp_directory
        self._database = Database(path, settings, temp_directory)
        self._settings = settings
        self._query_timeout = query_timeout
        self._stage_bytes = stage_bytes
        self._open_calls: Calls | None = None
        self._locks: dict[TableRef, anyio.Lock] = {}
        self._changing = anyio.Lock()
        self._known: dict[TableRef, TableShape | None] = {}

    async def __aenter__(self) -> Self:
        """Open the file in a thread. Raises `HeldByAnother` when another process has it."""
        limiter = anyio.CapacityLimiter(self._settings.max_connections)
        await anyio.to_thread.run_sync(self._database.open, limiter=limiter)
        self._open_calls = Calls(self._database, limiter, self._query_timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file, which checkpoints."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._database.close, limiter=self._calls.limiter)
        self._open_calls = None

    @property
    def engine(self) -> str:
        """`duckdb`."""
        return DUCKDB.name

    @property
    def layouts(self) -> DuckDBLayouts:
        """The order of rows."""
        return DuckDBLayouts(self._calls)

    def scoped(self, scope: QueryScope) -> Self:
        """Return itself: DuckDB counts no bytes and keeps no names of queries."""
        return self

    async def inspect(self, tables: Sequence[TableRef]) -> Mapping[TableRef, TableShape]:
        """Return the shapes of those tables that exist, with one query."""
        found = await self._calls.once(lambda cursor: shapes.inspect(cursor, tables))
        self._known.update({ref: found.get(ref) for ref in tables})
        return found

    async def apply(self, changes: Sequence[TableChange]) -> None:
        """Carry out DDL, one caller at a time: two that create the same table at once would conflict."""
        if not changes:
            return
        async with self._changing:
            await self._calls.once(lambda cursor: shapes.apply(self._database, cursor, changes))
            for change in changes:
                self._known.pop(change.table.ref, None)

    def statement(self, query: ReadQuery) -> str:
        """Return the SQL of a read, with `$name` for values."""
        shape = self._known.get(query.source.ref)
        return read_statement(query, DUCKDB, row_ids=shape is None or shapes.has_row_ids(shape)).text

    def query(
        self, statement: Statement, *, batch_rows: int = 10_000
    ) -> AbstractAsyncContextManager[AsyncIterator[pa.RecordBatch]]:
        """Stream the rows of a query of the project's own, in a read-only transaction."""
        return reading(self._calls, statement, None, batch_rows)

    @asynccontextmanager
    async def read(self, query: ReadQuery) -> AsyncIterator[AsyncIterator[pa.RecordBatch]]:
        """Stream the rows of a query."""
        if query.incremental is None:
            statement = read_statement(query, DUCKDB)
        else:
            source, memory = await self._shapes(query.source.ref, PROCESSED_KEYS.ref)
            numbered = shapes.has_row_ids(source)
            statement = read_statement(query, DUCKDB, remembered=memory is not None, row_ids=numbered)
        schema = arrow_schema([query.source.column(name) for name in query_columns(query)])
        async with reading(self._calls, statement, schema, query.batch_rows) as batches:
            yield batches

    async def missing_keys(self, read: IncrementalRead, keys: pa.RecordBatch) -> list[bool]:
        """Tell for each key whether it is new."""
        remembered = await self._has_memory()
        return await self._calls.once(
            lambda cursor: measures.missing(cursor, read, keys, remembered=remembered)
        )

    async def greatest(self, table: TableSpec, column: str, filters: Sequence[Filter]) -> Any:
        """Return the greatest value of a column among the rows that match, or None."""
        return await self._calls.once(lambda cursor: measures.greatest(cursor, table, column, filters))

    async def greatest_by(
        self, table: TableSpec, column: str, by: str, filters: Sequence[Filter]
    ) -> Mapping[Any, Any]:
        """Return the greatest value of a column for each value of the column `by`."""
        return await self._calls.once(lambda cursor: measures.greatest_by(cursor, table, column, by, filters))

    async def count(self, query: ReadQuery) -> IncrementalCounts:
        """Count what an incremental query would find new, present, remembered, without key."""
        remembered = await self._has_memory()
        return await self._calls.once(lambda cursor: measures.count(cursor, query, remembered=remembered))

    async def profile(self, query: ReadQuery) -> KeyProfile:
        """Measure both sides of an incremental query."""
        return await self._calls.once(lambda cursor: profile(cursor, query))

    async def count_matching(self, table: TableSpec, filters: Sequence[Filter]) -> int:
        """Count the rows of a table that match."""
        return await self._calls.once(lambda cursor: measures.count_matching(cursor, table, filters))

    async def check(self, check: TableCheck) -> tuple[Finding, ...]:
        """Return what is against the expectations of a table."""
        return await self._calls.once(
            lambda cursor: table_findings(check, DUCKDB, lambda statement: measures.table(cursor, statement))
        )

    async def count_quarantined(self, job_id: str) -> int:
        """Count the distinct keys of a job that are remembered as quarantined."""
        if not await self._has_memory():
            return 0
        return await self._calls.once(lambda cursor: measures.count_quarantined(cursor, job_id))

    def writer(self, landing: LandingSpec) -> AbstractAsyncContextManager[Writer]:
        """Open a staging area."""
        return writing(self._calls, landing, self._lock, self._stage_bytes)

    async def merge_events(self, rows: Sequence[Row]) -> int:
        """Insert events that are not there yet; return how many."""
        if not rows:
            return 0
        return await self._calls.once(lambda cursor: event_rows.merge(self._database, cursor, rows))

    async def _has_memory(self) -> bool:
        """Tell whether `ops.processed_keys` exists."""
        return (await self._shapes(PROCESSED_KEYS.ref))[0] is not None

    async def _shapes(self, *refs: TableRef) -> list[TableShape | None]:
        """Return the shapes of tables; asked once, unless `inspect` has told already."""
        unknown = [ref for ref in refs if ref not in self._known]
        if unknown:
            await self.inspect(unknown)
        return [self._known.get(ref) for ref in refs]

    def _lock(self, ref: TableRef) -> anyio.Lock:
        return self._locks.setdefault(ref, anyio.Lock())

    @property
    def _calls(self) -> Calls:
        if self._open_calls is None:
            raise RuntimeError("the warehouse is not open; use it as an async context manager")
        return self._open_calls
