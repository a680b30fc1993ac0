"""Every call that blocks: in a thread, with a cancel that is repeated, a time limit, and errors of ours."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from runner.cancellation import run_in_thread
from runner.clock import monotonic_ns
from runner.errors import TimeLimitExceeded, WarehouseUnavailable
from runner.warehouses.postgres.arrow_session import ArrowSession
from runner.warehouses.postgres.connections import Connections
from runner.warehouses.postgres.faults import CANCELLED, DRIVER_ERRORS, sqlstate, translate
from runner.warehouses.postgres.server import APPLICATION
from runner.warehouses.postgres.session import Session

T = TypeVar("T")

NEARLY = 0.95
"""A query that the server cancelled after this share of its limit has met the limit, not somebody's cancel."""


class Calls:
    """Runs blocking work on connections of one server, for `application`. `time_limit` in seconds bounds each query;
    None: unbounded.
    """

    def __init__(
        self, connections: Connections, time_limit: float | None, application: str = APPLICATION
    ) -> None:
        self.connections = connections
        self.time_limit = time_limit
        self.application = application

    def session(self) -> AbstractAsyncContextManager[Session]:
        """Lend a psycopg connection, for short work."""
        return self.connections.session(self.application)

    def arrow_session(self) -> AbstractAsyncContextManager[ArrowSession]:
        """Lend an ADBC connection, for as long as somebody reads from it."""
        return self.connections.arrow_session()

    async def once(self, work: Callable[[Session], T], statement: str = "") -> T:
        """Run work on a psycopg connection. Its first statement must change nothing by itself (a query, BEGIN): on an
        idle connection that has died meanwhile it fails, and the work is done again on another.
        """
        while True:
            async with self.session() as session:
                try:
                    return await self.on(session, lambda: _named(session, work, self.application), statement)
                except WarehouseUnavailable:
                    if not session.reused or session.answered:
                        raise

    async def on(
        self,
        session: Session | ArrowSession,
        work: Callable[[], T],
        statement: str = "",
        *,
        budget: Budget | None = None,
    ) -> T:
        """Run work on a connection that the caller holds. `statement` is what an error will show.

        Raises errors of `runner.errors`; cancellation and the time limit stop the query first.
        """
        limit = self.time_limit if budget is None else budget.left()
        started = monotonic_ns()
        try:
            return await run_in_thread(
                work, session.interrupts, limiter=self.connections.threads, subject="query", time_limit=limit
            )
        except DRIVER_ERRORS as error:
            seconds = (monotonic_ns() - started) / 1e9
            if sqlstate(error) == CANCELLED and limit is not None and seconds >= limit * NEARLY:
                raise TimeLimitExceeded("query", self.time_limit or limit) from error
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


def _named(session: Session, work: Callable[[Session], T], application: str) -> T:
    session.name(application)
    return work(session)
