"""The writer of one job run: stages rows, keys and bad rows, and lands them.

It holds no connection while rows come: all connections of the process are counted, and a job that reads with one and
waits for another to stage would wait for ever once all jobs do. What is staged survives any loss of a connection.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.to_thread
import pyarrow as pa
import pyarrow.compute as pc

from runner.errors import RunPipelineError, WarehouseUnavailable
from runner.landings import nothing_landed
from runner.landings.actions import perform_all
from runner.landings.area import StagingArea
from runner.ports import BadRow, LandingResult, LandingSpec
from runner.specs import TableRef
from runner.sql import POSTGRES
from runner.warehouses.postgres.actions import InTransaction
from runner.warehouses.postgres.calls import Calls
from runner.warehouses.postgres.landing import Landing, has_landed
from runner.warehouses.postgres.session import Session

TableLock = Callable[[TableRef], anyio.Lock]


class PostgresWriter:
    """Implements `runner.ports.Writer`. One task at a time uses it."""

    def __init__(
        self, calls: Calls, spec: LandingSpec, lock: TableLock, stage_bytes: int, stage_folder: Path
    ) -> None:
        self._calls = calls
        self._spec = spec
        self._lock = lock
        self._staged = StagingArea(spec, stage_folder, stage_bytes, anyio.to_thread.run_sync)
        self._landing: Landing | None = None

    async def stage(self, target: int, batch: pa.RecordBatch) -> None:
        """Add rows for one target. Raises `ValueError` for other columns than agreed, or NULL in a key."""
        await self._staged.stage(target, batch)

    async def stage_keys(self, tracked: int, keys: pa.RecordBatch) -> None:
        """Add keys of a tracked read. A text that PostgreSQL cannot hold is no key: as NULL, it matches nothing."""
        keys = pa.RecordBatch.from_arrays([_without_nul(array) for array in keys.columns], schema=keys.schema)
        await self._staged.stage_keys(tracked, keys)

    async def stage_bad_rows(self, rows: Sequence[BadRow]) -> None:
        """Add refused rows."""
        self._staged.stage_bad_rows(rows)

    async def land(self, batch: int = 0) -> LandingResult:
        """Commit what is staged, one writer a table at a time. What is staged survives any error.

        Where the connection is lost before COMMIT was answered, the marker tells what became of it.
        """
        if self._staged.is_empty and not self._spec.always_lands:
            return await self._nothing(batch)
        async with AsyncExitStack() as locks:
            for ref in self._spec.writes:
                await locks.enter_async_context(self._lock(ref))
            try:
                return await self._calls.once(lambda session: self._land(session, batch), "landing")
            except WarehouseUnavailable:
                if (result := await self._committed(batch)) is None:
                    raise
                return result
            finally:
                self._landing = None

    async def has_landed(self, batch: int = 0) -> bool:
        """Look for the marker, once no transaction is landing it any more."""
        return await self._calls.once(lambda session: has_landed(session, self._spec.job_run_id, batch))

    def _land(self, session: Session, batch: int) -> LandingResult:
        """Land and, since that committed, forget what was staged: in the same thread call, so that a cancellation
        cannot come between the two.
        """
        self._landing = Landing(session, self._spec, batch, self._staged)
        result = self._landing.run()
        self._staged.clear()
        return result

    async def _committed(self, batch: int) -> LandingResult | None:
        """Return what the landing did if it was committed although nobody said so."""
        result = self._landing.result if self._landing else None
        if result is None:
            return None
        with suppress(RunPipelineError):  # nobody is there to tell: the first error is raised
            if await self.has_landed(batch):
                await anyio.to_thread.run_sync(self._staged.clear)
                return result
        return None

    async def _nothing(self, batch: int) -> LandingResult:
        """Land nothing, but check what is there: without statements, checks are all that there is to perform."""
        checks = self._spec.actions
        actions = (
            await self._calls.once(
                lambda session: perform_all(checks, POSTGRES, InTransaction(session)), "check"
            )
            if checks
            else ()
        )
        return nothing_landed(self._spec, batch, actions)

    async def close(self) -> None:
        """Forget what has not landed."""
        await self._staged.close()


@asynccontextmanager
async def writing(
    calls: Calls, spec: LandingSpec, lock: TableLock, stage_bytes: int, stage_folder: Path
) -> AsyncIterator[PostgresWriter]:
    """Open a writer."""
    writer = PostgresWriter(calls, spec, lock, stage_bytes, stage_folder)
    try:
        yield writer
    finally:
        await writer.close()


def _without_nul(array: pa.Array) -> pa.Array:
    if not pa.types.is_string(array.type):
        return array
    bad = pc.match_substring(array, "\x00")
    return pc.if_else(bad, pa.scalar(None, array.type), array) if pc.any(bad).as_py() else array
