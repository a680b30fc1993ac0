"""Streaming reads: bounded memory, few hops between threads, and readers that are always closed.

A query of the project's own runs in a read-only transaction: whatever a function in it may do, it changes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import duckdb
import pyarrow as pa

from runner.clock import monotonic_ns
from runner.errors import RunPipelineError, WarehouseError
from runner.ports import Statement
from runner.statement_log import log_statement
from runner.warehouses.duckdb.calls import Budget, Calls, Cursor
from runner.warehouses.duckdb.database import rollback
from runner.warehouses.duckdb.faults import ENGINE, locate

PULL_BYTES = 2_000_000
"""Batches that are brought by one hop between threads, which takes as long as a small batch: about so many bytes, after
the first hop, which brings one batch so that work on it begins.
"""

PULL_NS = 10_000_000
"""No batch waits longer than these nanoseconds for another of the same hop to be made, and that one being made."""


class Reader:
    """One open query on one cursor. `schema` is what its batches are to be, as declared; None: a query of the
    project's own, whose batches are as they come.
    """

    def __init__(
        self, calls: Calls, cursor: Cursor, statement: Statement, schema: pa.Schema | None, batch_rows: int
    ) -> None:
        self._calls = calls
        self._cursor = cursor
        self._statement = statement
        self._schema = schema
        self._batch_rows = batch_rows
        self._budget = Budget(calls.time_limit)
        self._reader: pa.RecordBatchReader | None = None
        self._rows = 0
        self._begun = False
        self._begun_ns: int | None = None
        self._ended = False
        self._error: RunPipelineError | None = None

    async def batches(self) -> AsyncGenerator[pa.RecordBatch, None]:
        """Yield the rows as they come. The first hop also opens the query; the end costs no hop of its own unless
        the last batch is a full one.
        """
        while not self._ended:
            found = await self._next()
            found.reverse()
            while found:
                yield found.pop()  # and keep none that has been given away

    async def _next(self) -> list[pa.RecordBatch]:
        try:
            return await self._calls.on(self._cursor, self._pull, self._statement.text, budget=self._budget)
        except RunPipelineError as error:
            self._error = error
            locate(error, self._statement)
            raise

    async def close(self) -> None:
        """End the query, also in the middle. A cursor with an open reader refuses everything else."""
        if self._ended and self._schema is not None:
            self._close()
        elif self._begun:
            with anyio.CancelScope(shield=True):
                await self._calls.on(self._cursor, self._close, self._statement.text)

    def _close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
            duration_ms = self._budget.spent * 1000
            log_statement(
                ENGINE,
                self._statement.text,
                duration_ms=duration_ms,
                rows=self._rows,
                begun_ns=self._begun_ns,
                error=self._error,
            )
        if self._schema is None:
            rollback(self._cursor)

    def _open(self) -> pa.RecordBatchReader:
        self._begun = True
        self._begun_ns = monotonic_ns()
        if self._schema is None:
            self._cursor.execute("BEGIN TRANSACTION READ ONLY")
        # `sql(...)` streams (93 MB for 8M rows); `execute(...)` copies the whole result first (470 MB).
        values = self._statement.values or None
        try:
            relation = self._cursor.sql(self._statement.text, params=values)
        except (duckdb.BinderException, duckdb.CatalogException):
            if self._statement.file:  # `sql(...)` does not tell the line, `execute(...)` does
                self._cursor.execute(f"EXPLAIN {self._statement.text}", values)
            raise
        _refuse_equal_names(relation.columns)
        return relation.to_arrow_reader(self._batch_rows)

    def _pull(self) -> list[pa.RecordBatch]:
        """Take batches until there are `batch_rows` rows, and as many more as come quickly. Blocks."""
        is_first, until = self._reader is None, monotonic_ns() + PULL_NS
        if self._reader is None:
            self._reader = self._open()
        found: list[pa.RecordBatch] = []
        rows = size = 0
        while rows < self._batch_rows or not (is_first or size >= PULL_BYTES or monotonic_ns() >= until):
            try:
                batch = self._reader.read_next_batch()
            except StopIteration:
                self._ended = True
                break
            rows += batch.num_rows
            self._rows += batch.num_rows
            size += batch.get_total_buffer_size()
            if batch.num_rows:
                found.append(self._as_declared(batch))
        return found

    def _as_declared(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        schema = self._schema
        return batch if schema is None or batch.schema.equals(schema) else batch.cast(schema)


@asynccontextmanager
async def reading(
    calls: Calls, statement: Statement, schema: pa.Schema | None, batch_rows: int
) -> AsyncIterator[AsyncIterator[pa.RecordBatch]]:
    """Open a reader on a cursor of its own, and close both whatever happens. `schema` as for `Reader`."""
    cursor = await calls.take()
    reader = Reader(calls, cursor, statement, schema, batch_rows)
    batches = reader.batches()
    try:
        yield batches
    finally:
        await batches.aclose()
        await reader.close()
        calls.database.give(cursor)


def _refuse_equal_names(columns: Sequence[str]) -> None:
    """Rows are known by the names of their columns, so each needs one of its own."""
    for number, name in enumerate(columns):
        if name in columns[:number]:
            raise WarehouseError(
                ENGINE, f"two columns of the result are named {name!r}", hint="name one with AS"
            )
