"""Streaming reads: bounded memory, few hops between threads, and readers that are always closed.

A read is a transaction that can write nothing: its values as settings, then the query, whose rows come by COPY. The
server's own time limits are off meanwhile: COPY lasts as long as the rows are read, and who reads may take all the
time, also after the server has sent the last row. Only the time spent here counts (`Budget`). If the client dies, the
server ends it (`check_interval`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
import pyarrow as pa

from runner.clock import monotonic_ns
from runner.errors import RunPipelineError, WarehouseError, WarehouseUnavailable
from runner.ports import Statement
from runner.statement_log import log_statement
from runner.warehouses.postgres.arrow_session import ArrowSession, Rows
from runner.warehouses.postgres.calls import Budget, Calls
from runner.warehouses.postgres.columns import as_declared, as_found
from runner.warehouses.postgres.faults import ENGINE, locate
from runner.warehouses.postgres.placeholders import (
    as_settings,
    names_of,
    numbered,
    refuse_nul,
    setting,
    setting_text,
    types_of,
)

BATCH_BYTES = 2_000_000
"""What ADBC gathers before it gives a batch: with 1 to 16 MB the rows come equally fast."""

PULL_BYTES = 16_000_000
"""Rows that are wider than usual come in smaller batches than were asked for, before they fill memory."""

_PREPARED = "run_pipeline_query"


class Reader:
    """One open query on one connection. `schema` is what its batches are to be, as declared; None: a query of the
    project's own, whose batches are as they come.
    """

    def __init__(
        self,
        calls: Calls,
        session: ArrowSession,
        statement: Statement,
        schema: pa.Schema | None,
        batch_rows: int,
    ) -> None:
        self._calls = calls
        self._session = session
        self._statement = statement
        self._schema = schema
        self._batch_rows = batch_rows
        self._budget = Budget(calls.time_limit)
        self._rows: Rows | None = None
        self._waiting: list[pa.RecordBatch] = []
        self._count = 0
        self._begun = 0
        self.ended = False
        self._error: RunPipelineError | None = None

    async def next(self) -> list[pa.RecordBatch]:
        """Return the next batches; the first hop also opens the query, the last ends it."""
        try:
            return await self._calls.on(self._session, self._pull, self._statement.text, budget=self._budget)
        except RunPipelineError as error:
            self._error = error
            locate(error, self._statement)
            raise

    async def close(self) -> None:
        """End the query, also in the middle: then it is cancelled, and its connection with it, since what the server
        has already sent would have to be read first.
        """
        if self._begun and not self.ended:
            self._session.broken = True
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._abandon, limiter=self._calls.connections.threads)

    def _abandon(self) -> None:
        if self._rows is not None:
            self._session.interrupts()
            self._session.interrupts.join()
            self._rows.close()
        self._log()

    def _pull(self) -> list[pa.RecordBatch]:
        """Take batches until there are `batch_rows` rows or no more. Blocks."""
        if self._rows is None:
            self._begun = monotonic_ns()
            self._rows = self._open()
        missing, room = self._batch_rows - sum(batch.num_rows for batch in self._waiting), PULL_BYTES
        while missing > 0 and room > 0:
            batch = self._rows.next()
            if batch is None:
                self._end()
                break
            self._waiting.append(self._as_wanted(batch))
            missing -= batch.num_rows
            room -= batch.nbytes
        found, self._waiting = _cut(self._waiting, self._batch_rows, everything=self.ended or room <= 0)
        return found

    def _open(self) -> Rows:
        session, statement = self._session, self._statement
        refuse_nul(statement.values)
        session.execute("BEGIN TRANSACTION READ ONLY")
        names = names_of(statement.text, statement.values)
        types: Mapping[str, str] = types_of(names, statement.values)
        if self._schema is None and any(isinstance(statement.values[name], str) for name in names):
            types = self._told_types(names)
        self._set(names)
        rows = session.open(as_settings(statement.text, types), batch_bytes=BATCH_BYTES)
        _refuse_equal_names(rows.schema.names)
        return rows

    def _set(self, names: Sequence[str]) -> None:
        """Hand over the values, and who reads, for this transaction."""
        settings = {
            "statement_timeout": "0",
            "idle_in_transaction_session_timeout": "0",
            "application_name": self._calls.application,
        }
        settings |= {setting(name): setting_text(self._statement.values[name]) for name in names}
        calls = [f"pg_catalog.set_config('{name}', :v{number}, true)" for number, name in enumerate(settings)]
        values = {f"v{number}": value for number, value in enumerate(settings.values())}
        self._session.execute(f"SELECT {', '.join(calls)}", values)

    def _told_types(self, names: Sequence[str]) -> Mapping[str, str]:
        """Return the type that the server finds for each value of a query of the project's own: a text may stand for a
        date, as a literal does.
        """
        values = self._statement.values
        types = types_of(names, values)
        given = ", ".join("unknown" if isinstance(values[name], str) else types[name] for name in names)
        text, _ = numbered(self._statement.text, values)
        self._session.execute(f"PREPARE {_PREPARED} ({given}) AS {text}")
        found = self._session.rows(
            f"SELECT CAST(parameter_types AS text[]) FROM pg_catalog.pg_prepared_statements WHERE name = '{_PREPARED}'"
        )
        self._session.execute(f"DEALLOCATE {_PREPARED}")
        return dict(zip(names, found[0][0], strict=True))

    def _end(self) -> None:
        """End the query that has given all its rows."""
        if self._rows is not None:
            self._rows.close()
        self._session.execute("COMMIT")
        self.ended = True
        self._log()

    def _log(self) -> None:
        milliseconds = (monotonic_ns() - self._begun) / 1e6
        log_statement(
            ENGINE, self._statement.text, duration_ms=milliseconds, rows=self._count, error=self._error
        )

    def _as_wanted(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self._count += batch.num_rows
        return as_found(batch) if self._schema is None else as_declared(batch, self._schema)


@asynccontextmanager
async def reading(
    calls: Calls, statement: Statement, schema: pa.Schema | None, batch_rows: int
) -> AsyncIterator[AsyncIterator[pa.RecordBatch]]:
    """Open a reader on a connection of its own, and close it whatever happens. `schema` as for `Reader`."""
    batches = _batches(calls, statement, schema, batch_rows)
    try:
        yield batches
    finally:
        await batches.aclose()


async def _batches(
    calls: Calls, statement: Statement, schema: pa.Schema | None, batch_rows: int
) -> AsyncGenerator[pa.RecordBatch, None]:
    """Yield the rows as they come. On an idle connection that has died meanwhile nothing can be sent: then the query is
    sent on another.
    """
    while True:
        async with calls.arrow_session() as session:
            reader = Reader(calls, session, statement, schema, batch_rows)
            try:
                found = await reader.next()
                while True:
                    for batch in found:
                        yield batch
                    if reader.ended:
                        return
                    found = await reader.next()
            except WarehouseUnavailable:
                if not session.reused or session.answered:
                    raise
            finally:
                await reader.close()


def _cut(
    batches: Sequence[pa.RecordBatch], rows: int, *, everything: bool
) -> tuple[list[pa.RecordBatch], list[pa.RecordBatch]]:
    """Return batches of exactly `rows` rows, and those that are left; `everything`: the last batch may be shorter."""
    filled = [batch for batch in batches if batch.num_rows]
    if not filled:
        return [], []
    joined = pa.concat_batches(filled) if len(filled) > 1 else filled[0]
    whole = joined.num_rows if everything else joined.num_rows - joined.num_rows % rows
    found = [joined.slice(start, min(rows, whole - start)) for start in range(0, whole, rows)]
    return found, [joined.slice(whole)] if whole < joined.num_rows else []


def _refuse_equal_names(columns: Sequence[str]) -> None:
    """Rows are known by the names of their columns, so each needs one of its own."""
    for number, name in enumerate(columns):
        if name in columns[:number]:
            raise WarehouseError(
                ENGINE, f"two columns of the result are named {name!r}", hint="name one with AS"
            )
