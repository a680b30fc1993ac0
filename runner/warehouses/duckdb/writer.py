"""The writer of one job run: stages rows, keys and bad rows, and lands them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import anyio
import anyio.to_thread
import pyarrow as pa

from runner.ports import BadRow, LandingResult, LandingSpec, TargetLanding, WriteTarget
from runner.specs import TableRef
from runner.warehouses.duckdb.actions import perform_all
from runner.warehouses.duckdb.arrow import arrow_schema
from runner.warehouses.duckdb.calls import Calls, Cursor
from runner.warehouses.duckdb.landing import Landing, has_marker
from runner.warehouses.duckdb.staging import WRITE_BYTES, Stage

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
        self._stage_bytes = stage_bytes
        self._stages = [
            Stage(f"staged_{number}", arrow_schema(target.table, target.given), calls.database.temp_directory)
            for number, target in enumerate(spec.targets)
        ]
        self._keys: dict[int, Stage] = {}
        self._bad_rows: list[BadRow] = []

    async def stage(self, target: int, batch: pa.RecordBatch) -> None:
        """Add rows for one target; beyond `stage_bytes` in memory everything moves to files.

        Raises `ValueError` for other columns than agreed, or NULL in a key: bad rows are refused upstream, and a
        MERGE would insert NULL keys again and again.
        """
        _refuse_null_keys(self._spec.targets[target], batch)
        self._stages[target].add(batch)
        await self._spill_if_large()

    async def stage_keys(self, tracked: int, keys: pa.RecordBatch) -> None:
        """Add keys of a tracked read."""
        if tracked not in self._keys:
            self._keys[tracked] = Stage(f"keys_{tracked}", keys.schema, self._calls.database.temp_directory)
        self._keys[tracked].add(keys)
        await self._spill_if_large()

    async def stage_bad_rows(self, rows: Sequence[BadRow]) -> None:
        """Add refused rows."""
        self._bad_rows.extend(rows)

    async def land(self, batch: int = 0) -> LandingResult:
        """Commit what is staged, one writer a table at a time. What is staged survives any error."""
        staged = self._bad_rows or any(stage.rows for stage in self._all_stages())
        if not staged and not self._spec.always_lands:
            return await self._nothing(batch)
        landing = Landing(
            self._calls.database, self._cursor, self._spec, batch, self._stages, self._keys, self._bad_rows
        )
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
        self._clear()
        self._bad_rows.clear()
        return result

    def _all_stages(self) -> list[Stage]:
        return [*self._stages, *self._keys.values()]

    async def _nothing(self, batch: int) -> LandingResult:
        """Land nothing, but check what is there: without statements, checks are all that there is to perform."""
        checks = self._spec.actions
        work = partial(perform_all, self._cursor, checks)
        actions = await self._calls.on(self._cursor, work, "check") if checks else ()
        targets = tuple(
            TargetLanding(step_id=target.step_id, table=target.table.ref, staged=0, written=0, duplicates=0)
            for target in self._spec.targets
        )
        return LandingResult(batch=batch, targets=targets, actions=actions)

    async def _spill_if_large(self) -> None:
        spilling = any(stage.spilled for stage in self._all_stages())
        limit = min(self._stage_bytes, WRITE_BYTES) if spilling else self._stage_bytes
        if sum(stage.memory for stage in self._all_stages()) > limit:
            await self._calls.on(self._cursor, self._spill, "staging")

    def _spill(self) -> None:
        for stage in self._all_stages():
            if stage.memory:
                stage.spill()

    async def close(self) -> None:
        """Forget what has not landed. Files are removed in a thread."""
        if any(stage.spilled for stage in self._all_stages()):
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._clear, limiter=self._calls.limiter)
        self._cursor.close()

    def _clear(self) -> None:
        for stage in self._all_stages():
            stage.clear()


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


def _refuse_null_keys(target: WriteTarget, batch: pa.RecordBatch) -> None:
    for name in target.key if target.mode != "append" else ():
        if name in batch.schema.names and batch.column(name).null_count:
            raise ValueError(f"staged rows for {target.table.ref} have NULL in the key column {name}")
