"""Every call that blocks: in a thread, with an interrupt that is repeated, a time limit, and errors of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
import duckdb

from runner.cancellation import run_in_thread
from runner.clock import monotonic_ns
from runner.warehouses.duckdb.database import Database
from runner.warehouses.duckdb.faults import DRIVER_ERRORS, is_invalidated, translate

T = TypeVar("T")
Cursor = duckdb.DuckDBPyConnection


class Calls:
    """Runs blocking work on cursors of one database. `time_limit` in seconds bounds each query; None: unbounded."""

    def __init__(self, database: Database, limiter: anyio.CapacityLimiter, time_limit: float | None) -> None:
        self.database = database
        self.limiter = limiter
        self.time_limit = time_limit

    async def once(self, work: Callable[[Cursor], T], statement: str = "") -> T:
        """Run work on a cursor of its own and give the cursor back."""
        cursor = await self.take()
        try:
            return await self.on(cursor, lambda: work(cursor), statement)
        finally:
            self.database.give(cursor)

    async def take(self) -> Cursor:
        """Return a cursor. Opening an invalidated file again blocks, so then it is done in a thread."""
        if not self.database.invalidated:
            return self.database.take()
        return await anyio.to_thread.run_sync(self.database.take, limiter=self.limiter)

    async def on(
        self, cursor: Cursor, work: Callable[[], T], statement: str = "", *, budget: Budget | None = None
    ) -> T:
        """Run work on a cursor that the caller holds. `statement` is what an error will show.

        Raises errors of `runner.errors`; cancellation and the time limit stop the query first.
        """
        limit = self.time_limit if budget is None else budget.left()
        started = monotonic_ns()
        try:
            return await run_in_thread(
                work, cursor.interrupt, limiter=self.limiter, subject="query", time_limit=limit
            )
        except DRIVER_ERRORS as error:
            if is_invalidated(error):
                self.database.invalidated = True
            raise translate(error, statement) from error
        finally:
            if budget is not None:
                budget.spent += (monotonic_ns() - started) / 1e9


class Budget:
    """The time that one streaming query may take inside the warehouse, over all its pulls, in seconds."""

    def __init__(self, limit: float | None) -> None:
        self.limit = limit
        self.spent = 0.0

    def left(self) -> float | None:
        """Return the seconds that are left, at least a millisecond; None: unbounded."""
        return None if self.limit is None else max(0.001, self.limit - self.spent)
