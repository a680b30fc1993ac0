"""Every call that blocks: in a thread, with cancelled jobs, a time limit, and errors of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio

from runner.cancellation import run_in_thread
from runner.clock import monotonic_ns
from runner.errors import TimeLimitExceeded
from runner.ports import QueryScope
from runner.warehouses.bigquery.jobs import Jobs
from runner.warehouses.bigquery.leftovers import Leftovers
from runner.warehouses.bigquery.names import JobNames
from runner.warehouses.bigquery.service import Service
from runner.warehouses.bigquery.stopping import Stop

T = TypeVar("T")


class Calls:
    """Runs blocking work of one scope (None: of nobody in particular) against the service."""

    def __init__(
        self,
        service: Service,
        limiter: anyio.CapacityLimiter,
        scope: QueryScope | None = None,
        leftovers: Leftovers | None = None,
    ) -> None:
        self.service = service
        self.limiter = limiter
        self.names = JobNames(scope, service.numbers)
        self._leftovers = leftovers or Leftovers()

    def scoped(self, scope: QueryScope) -> Calls:
        """Return the same for another scope."""
        return Calls(self.service, self.limiter, scope, self._leftovers)

    async def on(self, work: Callable[[Jobs], T], *, budget: Budget | None = None) -> T:
        """Run work in a thread and return its value. It sends its jobs through the `Jobs` that it is given.

        Raises errors of `runner.errors`. Cancellation and the time limit cancel the job on the server, and end the wait
        only when it is done there.
        """
        limit = self.service.query_timeout if budget is None else budget.left()
        stop = Stop(self.service.cancel)
        jobs = Jobs(self.service, self.names, stop)

        def run() -> T:
            try:
                self._leftovers.wait(jobs)
                return work(jobs)
            finally:
                stop.close()

        started = monotonic_ns()
        try:
            return await run_in_thread(
                run, stop.interrupt, limiter=self.limiter, subject="query", time_limit=limit
            )
        except TimeLimitExceeded as error:
            raise TimeLimitExceeded("query", self.service.query_timeout or error.limit) from error.__cause__
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
