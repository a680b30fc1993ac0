"""Runs the jobs of a graph, as many at once as their limits allow, and accounts for every one of them.

A job takes a slot of its queue, of each worker limit it names and of the run's cap, all together or none.
Slots are plain counters: only the dispatcher takes and returns them, between two awaits of one event loop,
and nothing ever waits for one. `anyio.CapacityLimiter` can only be asked limiter by limiter (a chain that can
deadlock, or a retreat through exceptions) and knows no order among those who wait.

The scheduler knows neither executor nor steps: it is given `run_job`. It runs on asyncio and trio.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from heapq import heappop, heappush

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from runner.clock import monotonic_ns
from runner.errors import ConfigurationError, Problem
from runner.graph import Change, JobGraph
from runner.records import Status
from runner.specs.plan import PlannedJob

RunJob = Callable[[PlannedJob, float], Awaitable[Status]]
"""Runs one job that waited `queue_ms` for its slots, and returns how it ended: `success`, `partial`,
`failure`, `skipped` or `cancelled`. A partial job that carries errors returns `failure`: it stops what needs
it. Failures are values; when cancelled, it records itself and lets the cancellation go on. An exception is a
bug and ends the run.
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
        self._waiting = _Waiting(graph, limits, queues, max_workers)
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
            status = Status.FAILURE
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
        self._end(f"the run was ended by an error of the engine at job {job.job_id}")

    def _skip_rest(self) -> None:
        reason = self._ending or "the run ended before it could start"
        for job in self._graph.skip_rest(reason):
            self._on_skipped(job, reason)


class _Slots:
    """The free slots of one limit, and the buckets that found none."""

    __slots__ = ("free", "parked")

    def __init__(self, size: int) -> None:
        self.free = size
        self.parked: list[tuple[int, _Bucket]] = []


class _Bucket:
    """Ready jobs that take slots of the same limits, by plan order. `place`: the heap it stands in."""

    __slots__ = ("jobs", "place", "slots")

    def __init__(self, slots: tuple[_Slots, ...], place: list[tuple[int, _Bucket]]) -> None:
        self.slots = slots
        self.jobs: list[int] = []
        self.place = place

    def __lt__(self, other: _Bucket) -> bool:
        return False


class _Waiting:
    """Ready jobs that wait for slots. `take` gives the first in plan order of those that can have all of
    theirs.

    Jobs with the same limits share a bucket. A bucket that meets a full limit is parked there, and a freed
    slot wakes the first bucket parked at it: neither a full limit nor a thousand limits cost a look at every
    waiting job.
    """

    def __init__(
        self,
        graph: JobGraph,
        limits: Mapping[str, int],
        queues: Mapping[str, int],
        max_workers: int | None,
    ) -> None:
        self._jobs = graph.jobs
        self._number = {job.job_id: number for number, job in enumerate(graph.jobs)}
        self._awake: list[tuple[int, _Bucket]] = []
        self._dropped: set[int] = set()
        self._bucket_of = self._buckets(limits, queues, max_workers)

    def _buckets(
        self, limits: Mapping[str, int], queues: Mapping[str, int], max_workers: int | None
    ) -> list[_Bucket]:
        queue_slots = {name: _Slots(size) for name, size in queues.items()}
        limit_slots = {name: _Slots(size) for name, size in limits.items()}
        cap = () if max_workers is None else (_Slots(max_workers),)
        buckets: dict[tuple[str, ...], _Bucket] = {}
        found = []
        for job in self._jobs:
            kind = (job.spec.queue, *dict.fromkeys(job.limits))
            if kind not in buckets:
                queue = _known(queue_slots, kind[0], "queue", job)
                workers = (_known(limit_slots, name, "limit", job) for name in kind[1:])
                buckets[kind] = _Bucket((queue, *workers, *cap), self._awake)
            found.append(buckets[kind])
        return found

    def add(self, job: PlannedJob) -> None:
        """Let a ready job wait."""
        number = self._number[job.job_id]
        bucket = self._bucket_of[number]
        if not bucket.jobs:
            bucket.place = self._awake  # it may have been emptied by `discard` where it was parked
        heappush(bucket.jobs, number)
        if bucket.jobs[0] == number:
            heappush(bucket.place, (number, bucket))

    def discard(self, job: PlannedJob) -> None:
        """Let a job wait no longer, if it does."""
        self._dropped.add(self._number[job.job_id])

    def take(self) -> PlannedJob | None:
        """Give the next job its slots and return it; None when no waiting job can have all of its own."""
        while (bucket := self._first(self._awake)) is not None:
            full = next((slots for slots in bucket.slots if not slots.free), None)
            number = bucket.jobs[0]
            if full is None:
                heappop(bucket.jobs)
                for slots in bucket.slots:
                    slots.free -= 1
                self._place(bucket, self._awake)
            else:
                self._place(bucket, full.parked)
            self._wake(bucket)
            if full is None:
                return self._jobs[number]
        return None

    def release(self, job: PlannedJob) -> None:
        """Return the slots of a job."""
        bucket = self._bucket_of[self._number[job.job_id]]
        for slots in bucket.slots:
            slots.free += 1
        self._wake(bucket)

    def _wake(self, bucket: _Bucket) -> None:
        """Wake the first bucket parked at each limit of `bucket` that has a slot free. It wakes the next in
        turn.
        """
        for slots in bucket.slots:
            if slots.free and (parked := self._first(slots.parked)) is not None:
                self._place(parked, self._awake)

    def _place(self, bucket: _Bucket, heap: list[tuple[int, _Bucket]]) -> None:
        bucket.place = heap
        if bucket.jobs:
            heappush(heap, (bucket.jobs[0], bucket))

    def _first(self, heap: list[tuple[int, _Bucket]]) -> _Bucket | None:
        """Take the bucket with the first job out of a heap. Entries that are no longer true are dropped on
        the way: the bucket is elsewhere, or its first job is another.
        """
        while heap:
            number, bucket = heappop(heap)
            if bucket.place is not heap or not bucket.jobs or bucket.jobs[0] != number:
                continue
            if number not in self._dropped:
                return bucket
            heappop(bucket.jobs)
            self._place(bucket, heap)
        return None


def _known(slots: Mapping[str, _Slots], name: str, kind: str, job: PlannedJob) -> _Slots:
    if name not in slots:
        expected = "one of " + ", ".join(slots) if slots else f"a {kind} to be declared"
        problem = Problem(
            file=str(job.file),
            path=f"{job.job_id}.{kind}",
            message=f"unknown {kind} {name!r}",
            expected=expected,
        )
        raise ConfigurationError([problem])
    return slots[name]
