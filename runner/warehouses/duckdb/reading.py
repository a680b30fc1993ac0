"""Streaming reads: bounded memory, few hops between threads, and readers that are always closed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pyarrow as pa

from runner.incremental import Statement
from runner.warehouses.duckdb.calls import Budget, Calls, Cursor


class Reader:
    """One open query on one cursor. `schema` is what its batches are to be, as declared."""

    def __init__(
        self, calls: Calls, cursor: Cursor, statement: Statement, schema: pa.Schema, batch_rows: int
    ) -> None:
        self._calls = calls
        self._cursor = cursor
        self._statement = statement
        self._schema = schema
        self._batch_rows = batch_rows
        self._budget = Budget(calls.time_limit)
        self._reader: pa.RecordBatchReader | None = None
        self._ended = False

    async def batches(self) -> AsyncGenerator[pa.RecordBatch, None]:
        """Yield the rows as they come. The first hop also opens the query; the end costs no hop of its own unless
        the last batch is a full one.
        """
        while not self._ended:
            for batch in await self._calls.on(
                self._cursor, self._pull, self._statement.text, budget=self._budget
            ):
                yield batch

    async def close(self) -> None:
        """End the query, also in the middle. A cursor with an open reader refuses everything else."""
        if self._reader is None:
            return
        reader, self._reader = self._reader, None
        if self._ended:
            reader.close()
            return
        with anyio.CancelScope(shield=True):
            await self._calls.on(self._cursor, reader.close, self._statement.text)

    def _pull(self) -> list[pa.RecordBatch]:
        """Take batches until there are `batch_rows` rows or no more. Blocks."""
        if self._reader is None:
            # `sql(...)` streams (93 MB for 8M rows); `execute(...)` copies the whole result first (470 MB).
            relation = self._cursor.sql(self._statement.text, params=self._statement.values or None)
            self._reader = relation.to_arrow_reader(self._batch_rows)
        found: list[pa.RecordBatch] = []
        rows = 0
        while rows < self._batch_rows:
            try:
                batch = self._reader.read_next_batch()
            except StopIteration:
                self._ended = True
                break
            rows += batch.num_rows
            if batch.num_rows:
                found.append(batch if batch.schema.equals(self._schema) else batch.cast(self._schema))
        return found


@asynccontextmanager
async def reading(
    calls: Calls, statement: Statement, schema: pa.Schema, batch_rows: int
) -> AsyncIterator[AsyncIterator[pa.RecordBatch]]:
    """Open a reader on a cursor of its own, and close both whatever happens."""
    cursor = await calls.take()
    reader = Reader(calls, cursor, statement, schema, batch_rows)
    batches = reader.batches()
    try:
        yield batches
    finally:
        await batches.aclose()
        await reader.close()
        calls.database.give(cursor)
