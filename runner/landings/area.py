"""What one writer has staged: rows by target, keys by tracked read, refused rows. In memory up to a limit, then in
files.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from runner.landings.outcomes import refuse_null_keys
from runner.landings.room import needing_room
from runner.landings.staging import WRITE_BYTES, StagedBatches, remove_leftovers
from runner.ports import BadRow, LandingSpec
from runner.types.schema import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

InThread = Callable[[Callable[[], None]], Awaitable[None]]
"""Runs work that blocks, and waits for it."""


class StagingArea:
    """The staged rows of one job run, which stay until they are cleared. One task at a time uses it.

    `targets` holds a stage for every target of the landing, `keys` one for every tracked read that brought keys, by its
    number. `limit`: bytes in memory, of all of them, beyond which everything moves to files in `folder`; `in_thread` is
    how these are written.
    """

    def __init__(self, landing: LandingSpec, folder: Path, limit: int, in_thread: InThread) -> None:
        self._landing = landing
        self._folder = folder
        self._limit = limit
        self._in_thread = in_thread
        self.targets = [
            StagedBatches(
                f"staged_{number}",
                arrow_schema([target.table.column(name) for name in target.given]),
                folder,
            )
            for number, target in enumerate(landing.targets)
        ]
        self.keys: dict[int, StagedBatches] = {}
        self.bad_rows: list[BadRow] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing is staged."""
        return not self.bad_rows and not any(stage.rows for stage in self._stages())

    @property
    def rows(self) -> list[int]:
        """How many rows are staged, by target."""
        return [stage.rows for stage in self.targets]

    async def stage(self, target: int, batch: pa.RecordBatch) -> None:
        """Add rows for one target. Raises `ValueError` for other columns than agreed or NULL in a key; `DiskFull`."""
        refuse_null_keys(self._landing.targets[target], batch)
        self.targets[target].add(batch)
        await self._spill_if_large()

    async def stage_keys(self, tracked: int, keys: pa.RecordBatch) -> None:
        """Add keys of a tracked read. Raises `ValueError` for other columns than its first keys had; `DiskFull`."""
        if tracked not in self.keys:
            self.keys[tracked] = StagedBatches(f"keys_{tracked}", keys.schema, self._folder)
        self.keys[tracked].add(keys)
        await self._spill_if_large()

    def stage_bad_rows(self, rows: Sequence[BadRow]) -> None:
        """Add refused rows."""
        self.bad_rows.extend(rows)

    def clear(self) -> None:
        """Forget everything that is staged, and remove the files. Blocks."""
        for stage in self._stages():
            stage.clear()
        self.bad_rows.clear()

    async def close(self) -> None:
        """Remove the files of what has not landed, also when cancelled."""
        if self._spilled:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self.clear)

    @property
    def _spilled(self) -> bool:
        return any(stage.spilled for stage in self._stages())

    def _stages(self) -> list[StagedBatches]:
        return [*self.targets, *self.keys.values()]

    async def _spill_if_large(self) -> None:
        limit = min(self._limit, WRITE_BYTES) if self._spilled else self._limit
        if sum(stage.memory for stage in self._stages()) > limit:
            await self._in_thread(self._spill)

    def _spill(self) -> None:
        if not self._spilled:
            with needing_room(self._folder):
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            remove_leftovers(self._folder)
        for stage in self._stages():
            if stage.memory:
                stage.spill()
