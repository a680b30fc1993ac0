"""Streaming reads: one query, few hops between threads, bounded memory, and streams that are always closed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pyarrow as pa

from runner.errors import RunPipelineError, WarehouseError
from runner.ports import Statement
from runner.warehouses.bigquery.calls import Budget, Calls
from runner.warehouses.bigquery.faults import ENGINE, locate
from runner.warehouses.bigquery.jobs import Jobs
from runner.warehouses.bigquery.results import Rows, sliced


class Reader:
    """One query and its rows. `schema` is what its batches are to be, as declared; None: a query of the project's own,
    whose batches are as they come.
    """

    def __init__(self, calls: Calls, statement: Statement, schema: pa.Schema | None, batch_rows: int) -> None:
        self._calls = calls
        self._statement = statement
        self._schema = schema
        self._batch_rows = batch_rows
        self._budget = Budget(calls.service.query_timeout)
        self._rows: Rows | None = None
        self._ended = False

    async def batches(self) -> AsyncGenerator[pa.RecordBatch, None]:
        """Yield the rows as they come. The first hop also runs the query."""
        while not self._ended:
            try:
                found = await self._calls.on(self._pull, budget=self._budget)
            except RunPipelineError as error:
                locate(error, self._statement)
                raise
            for batch in found:
                yield batch

    def close(self) -> None:
        """End the stream, also in the middle."""
        self._ended = True
        if self._rows is not None:
            self._rows.close()

    def _pull(self, jobs: Jobs) -> list[pa.RecordBatch]:
        """Take batches until there are `batch_rows` rows or no more. Blocks."""
        if self._rows is None:
            if self._schema is None:
                _refuse_changes(jobs, self._statement)
            self._rows = Rows(jobs.query(self._statement), self._batch_rows)
        found: list[pa.RecordBatch] = []
        rows = 0
        while rows < self._batch_rows:
            batch = self._rows.next(jobs)
            if batch is None:
                self._ended = True
                break
            rows += batch.num_rows
            found.extend(sliced(self._as_declared(batch), self._batch_rows))
        return found

    def _as_declared(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self._schema is None:
            plain = pa.schema([pa.field(field.name, field.type) for field in batch.schema])
            return pa.RecordBatch.from_arrays(batch.columns, schema=plain)
        return batch if batch.schema.equals(self._schema, check_metadata=True) else batch.cast(self._schema)


@asynccontextmanager
async def reading(
    calls: Calls, statement: Statement, schema: pa.Schema | None, batch_rows: int
) -> AsyncIterator[AsyncIterator[pa.RecordBatch]]:
    """Open a reader and close it whatever happens. `schema` as for `Reader`."""
    reader = Reader(calls, statement, schema, batch_rows)
    batches = reader.batches()
    try:
        yield batches
    finally:
        await batches.aclose()
        reader.close()


def _refuse_changes(jobs: Jobs, statement: Statement) -> None:
    """Let only a SELECT through: what a dry run says that a statement is, it is."""
    kind = jobs.statement_type(statement)
    if kind != "SELECT":
        message = f"the statement is {kind or 'no query'}, and what is read must be read-only"
        raise WarehouseError(ENGINE, message, statement=statement.text[:500], hint="only a SELECT is sent")
