"""Runs the jobs of a graph, as many at once as their limits allow, and accounts for every one of them.

The scheduler knows neither executor nor steps: it is given `run_job`. It runs on asyncio and trio.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from runner.clock import monotonic_ns
from runner.errors import UncleanCancel
from runner.graph import Change, JobGraph
from runner.records import Status
from runner.scheduler.slots import WaitingJobs
from runner.specs.plan import PlannedJob

RunJob = Callable[[PlannedJob, float], Awaitable[Status]]
"""Runs one job that waited `queue_ms` for its slots, and returns how it ended: `success`, `partial`,
`failure`, `skipped` or `cancelled`. A partial job that carries errors returns `failure`: it stops what needs
it. Failures are values; when cancelled, it records itself and lets the cancellation go on. An exception ends
the run: `UncleanCancel`, or a bug.
"""

OnSkipped = Callable[[PlannedJob, str], None]
"""Is told of each job that never starts, with the reason; must not block."""

CANCELLED = "the run was cancelled"
"""The reason of jobs that a cancellation from outside kept from starting."""


class Scheduler:
    """One run of one graph. Not reusable."""

    def __init__(
        self,
        graph: JobGraph,
        *,
        run_job: RunJob,
        on_skipped: OnSkipped,
        limits: Mapping[str, int],
        queues: Mapping[str, int],
        max_workers: int | None = 1,
        fail_fast: bool = False,
        monotonic_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        """Prepare a run. `limits` and `queues` are slots by name; `max_workers` caps the run (None: no cap).

        `fail_fast`: the first failure cancels what runs and skips the rest. Raises `ConfigurationError` for a
        job that names an unknown queue or limit.
        """
        self._graph = graph
        self._run_job = run_job
        self._on_skipped = on_skipped
        self._fail_fast = fail_fast
        self._now = monotonic_ns
        self._waiting = WaitingJobs(graph.jobs, limits, queues, max_workers)
        self._ready_at: dict[str, int] = {}
        self._ending = ""
        self._bug: Exception | None = None
        self._tasks: TaskGroup

    async def run(self) -> Mapping[str, Status]:
        """Run to the end and return the outcome of every job, in plan order.

        When cancelled from outside: running jobs are cancelled and waited for, the others skipped, and the
        cancellation goes on. An exception of `run_job` or `on_skipped` does the same and is raised as it is.
        """
        try:
            async with anyio.create_task_group() as self._tasks:
                self._follow(self._graph.begin())
        except anyio.get_cancelled_exc_class():
            self._ending = self._ending or CANCELLED
            if self._bug is None:
                raise
        finally:
            self._skip_rest()
        if self._bug is not None:
            raise self._bug
        await anyio.lowlevel.checkpoint_if_cancelled()  # also when no task was left to feel it
        return self._graph.outcomes

    async def _run_one(self, job: PlannedJob) -> None:
        """Run a job that holds its slots, and what follows from its end."""
        try:
            queue_ms = (self._now() - self._ready_at.pop(job.job_id)) / 1e6
            status = await self._run_job(job, queue_ms)
        except anyio.get_cancelled_exc_class():
            self._ending = self._ending or CANCELLED
            self._finish(job, Status.CANCELLED)
            raise
        except Exception as error:  # noqa: BLE001 - a bug; raised by run() as it is, not in a group
            self._crash(error, job)
            status = Status.CANCELLED if isinstance(error, UncleanCancel) else Status.FAILURE
        self._finish(job, status)

    def _finish(self, job: PlannedJob, status: Status) -> None:
        """Note the end of a job; a failure stops its groups first, so that nothing of them becomes ready."""
        self._waiting.release(job)
        change = Change()
        try:
            if status is Status.FAILURE:
                for group in job.stops:
                    change.add(self._graph.stop_group(group, job.job_id))
                if self._fail_fast:
                    self._end(f"the run stops at the first failure, and {job.job_id} failed")
            change.add(self._graph.finish(job.job_id, status))
            self._follow(change)
        except Exception as error:  # noqa: BLE001 - a bug as well
            self._crash(error, job)

    def _follow(self, change: Change) -> None:
        """Report skipped jobs, queue ready ones, and start what has slots."""
        for job, reason in change.skipped:
            self._waiting.discard(job)
            self._on_skipped(job, reason)
        now = self._now()
        for job in change.ready:
            self._ready_at[job.job_id] = now
            self._waiting.add(job)
        if not self._ending and anyio.current_effective_deadline() == -math.inf:
            self._ending = CANCELLED
        while not self._ending and (started := self._waiting.take()) is not None:
            self._graph.start(started.job_id)
            self._tasks.start_soon(self._run_one, started, name=f"job {started.job_id}")

    def _end(self, reason: str) -> None:
        """Start nothing more and cancel what runs."""
        self._ending = self._ending or reason
        self._tasks.cancel_scope.cancel()

    def _crash(self, error: Exception, job: PlannedJob) -> None:
        if self._bug is None:
            self._bug = error
        else:
            self._bug.add_note(f"and at job {job.job_id}: {type(error).__name__}: {error}")
        deaf = isinstance(error, UncleanCancel)
        why = f"job {job.job_id} could not be stopped" if deaf else f"of an engine error at job {job.job_id}"
        self._end(f"the run was ended because {why}")

    def _skip_rest(self) -> None:
        reason = self._ending or "the run ended before it could start"
        for job in self._graph.skip_rest(reason):
            self._on_skipped(job, reason)
