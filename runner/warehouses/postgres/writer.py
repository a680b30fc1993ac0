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
from runner.landings.actions import perform_all
from runner.landings.staging import WRITE_BYTES, StagedBatches, remove_leftovers
from runner.ports import BadRow, LandingResult, LandingSpec, TargetLanding, WriteTarget
from runner.specs import TableRef
from runner.sql import POSTGRES
from runner.types.schema import arrow_schema
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
        self._stage_bytes = stage_bytes
        self._stage_folder = stage_folder
        self._stages = [
            StagedBatches(f"staged_{number}", _schema(target), stage_folder)
            for number, target in enumerate(spec.targets)
        ]
        self._keys: dict[int, StagedBatches] = {}
        self._bad_rows: list[BadRow] = []
        self._landing: Landing | None = None

    async def stage(self, target: int, batch: pa.RecordBatch) -> None:
        """Add rows for one target; beyond `stage_bytes` in memory everything moves to files.

        Raises `ValueError` for other columns than agreed, or NULL in a key: bad rows are refused upstream.
        """
        _refuse_null_keys(self._spec.targets[target], batch)
        self._stages[target].add(batch)
        await self._spill_if_large()

    async def stage_keys(self, tracked: int, keys: pa.RecordBatch) -> None:
        """Add keys of a tracked read. A text that PostgreSQL cannot hold is no key: as NULL, it matches nothing."""
        keys = pa.RecordBatch.from_arrays([_without_nul(array) for array in keys.columns], schema=keys.schema)
        if tracked not in self._keys:
            self._keys[tracked] = StagedBatches(f"keys_{tracked}", keys.schema, self._stage_folder)
        self._keys[tracked].add(keys)
        await self._spill_if_large()

    async def stage_bad_rows(self, rows: Sequence[BadRow]) -> None:
        """Add refused rows."""
        self._bad_rows.extend(rows)

    async def land(self, batch: int = 0) -> LandingResult:
        """Commit what is staged, one writer a table at a time. What is staged survives any error.

        Where the connection is lost before COMMIT was answered, the marker tells what became of it.
        """
        staged = self._bad_rows or any(stage.rows for stage in self._all_stages())
        if not staged and not self._spec.always_lands:
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
        self._landing = Landing(session, self._spec, batch, self._stages, self._keys, self._bad_rows)
        result = self._landing.run()
        self._forget()
        return result

    async def _committed(self, batch: int) -> LandingResult | None:
        """Return what the landing did if it was committed although nobody said so."""
        result = self._landing.result if self._landing else None
        if result is None:
            return None
        with suppress(RunPipelineError):  # nobody is there to tell: the first error is raised
            if await self.has_landed(batch):
                await anyio.to_thread.run_sync(self._forget)
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
        targets = tuple(
            TargetLanding(step_id=target.step_id, table=target.table.ref, staged=0, written=0, duplicates=0)
            for target in self._spec.targets
        )
        return LandingResult(batch=batch, targets=targets, actions=actions)

    def _all_stages(self) -> list[StagedBatches]:
        return [*self._stages, *self._keys.values()]

    async def _spill_if_large(self) -> None:
        spilling = any(stage.spilled for stage in self._all_stages())
        limit = min(self._stage_bytes, WRITE_BYTES) if spilling else self._stage_bytes
        if sum(stage.memory for stage in self._all_stages()) > limit:
            await anyio.to_thread.run_sync(self._spill, spilling)

    def _spill(self, spilling: bool) -> None:
        if not spilling:
            self._stage_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            remove_leftovers(self._stage_folder)
        for stage in self._all_stages():
            if stage.memory:
                stage.spill()

    async def close(self) -> None:
        """Forget what has not landed. Files are removed in a thread."""
        if any(stage.spilled for stage in self._all_stages()):
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._forget)

    def _forget(self) -> None:
        for stage in self._all_stages():
            stage.clear()
        self._bad_rows.clear()


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


def _schema(target: WriteTarget) -> pa.Schema:
    return arrow_schema([target.table.column(name) for name in target.given])


def _refuse_null_keys(target: WriteTarget, batch: pa.RecordBatch) -> None:
    for name in target.key if target.mode != "append" else ():
        if name in batch.schema.names and batch.column(name).null_count:
            raise ValueError(f"staged rows for {target.table.ref} have NULL in the key column {name}")


def _without_nul(array: pa.Array) -> pa.Array:
    if not pa.types.is_string(array.type):
        return array
    bad = pc.match_substring(array, "\x00")
    return pc.if_else(bad, pa.scalar(None, array.type), array) if pc.any(bad).as_py() else array
