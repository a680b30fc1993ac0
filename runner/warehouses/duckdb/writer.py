"""The writer of one job run: stages rows, keys and bad rows, and lands them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pyarrow as pa

from runner.landings import nothing_landed
from runner.landings.actions import perform_all
from runner.landings.area import StagingArea
from runner.ports import BadRow, LandingResult, LandingSpec
from runner.specs import TableRef
from runner.sql import DUCKDB
from runner.warehouses.duckdb.actions import InTransaction
from runner.warehouses.duckdb.calls import Calls, Cursor
from runner.warehouses.duckdb.landing import Landing, has_marker

TableLock = Callable[[TableRef], anyio.Lock]


class DuckDBWriter:
    """Implements `runner.ports.Writer` on a cursor of its own. One task at a time uses it."""

    def __init__(
        self, calls: Calls, cursor: Cursor, spec: LandingSpec, lock: TableLock, stage_bytes: int
    ) -> None:
        self._calls = calls
        self._cursor = cursor
        self._spec = spec
        self._lock = lock
        self._staged = StagingArea(spec, calls.database.temp_directory, stage_bytes, self._spill)

    async def stage(self, target: int, batch: pa.RecordBatch) -> None:
        """Add rows for one target. Raises `ValueError` for other columns than agreed, or NULL in a key."""
        await self._staged.stage(target, batch)

    async def stage_keys(self, tracked: int, keys: pa.RecordBatch) -> None:
        """Add keys of a tracked read."""
        await self._staged.stage_keys(tracked, keys)

    async def stage_bad_rows(self, rows: Sequence[BadRow]) -> None:
        """Add refused rows."""
        self._staged.stage_bad_rows(rows)

    async def land(self, batch: int = 0) -> LandingResult:
        """Commit what is staged, one writer a table at a time. What is staged survives any error."""
        if self._staged.is_empty and not self._spec.always_lands:
            return await self._nothing(batch)
        landing = Landing(self._calls.database, self._cursor, self._spec, batch, self._staged)
        async with AsyncExitStack() as locks:
            for ref in self._spec.writes:
                await locks.enter_async_context(self._lock(ref))
            return await self._calls.on(self._cursor, lambda: self._land(landing), "landing")

    async def has_landed(self, batch: int = 0) -> bool:
        """Look for the marker."""
        return await self._calls.once(lambda cursor: has_marker(cursor, self._spec.job_run_id, batch))

    def _land(self, landing: Landing) -> LandingResult:
        """Land and, since that committed, forget what was staged: in the same thread call, so that a cancellation
        cannot come between the two.
        """
        result = landing.run()
        self._staged.clear()
        return result

    async def _nothing(self, batch: int) -> LandingResult:
        """Land nothing, but check what is there: without statements, checks are all that there is to perform."""
        checks, asked = self._spec.actions, InTransaction(self._cursor)
        actions = (
            await self._calls.on(self._cursor, lambda: perform_all(checks, DUCKDB, asked), "check")
            if checks
            else ()
        )
        return nothing_landed(self._spec, batch, actions)

    async def _spill(self, work: Callable[[], None]) -> None:
        await self._calls.on(self._cursor, work, "staging")

    async def close(self) -> None:
        """Forget what has not landed."""
        await self._staged.close()
        self._cursor.close()


@asynccontextmanager
async def writing(
    calls: Calls, spec: LandingSpec, lock: TableLock, stage_bytes: int
) -> AsyncIterator[DuckDBWriter]:
    """Open a writer on a cursor of its own; closing the cursor drops its temporary tables."""
    cursor = await calls.take()
    writer = DuckDBWriter(calls, cursor, spec, lock, stage_bytes)
    try:
        yield writer
    finally:
        await writer.close()
