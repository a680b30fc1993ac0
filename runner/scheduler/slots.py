"""Who gets the free slots: the first job in line that can have all it needs.

The line is the order of the plan, but in the places that the jobs of one queue have there the greatest priority
stands first: priority decides within a queue, and how the queues follow each other stays as it was.

A job takes a slot of its queue, of each worker limit it names and of the run's cap, all together or none.
Slots are plain counters: only the dispatcher takes and returns them, between two awaits of one event loop,
and nothing ever waits for one. `anyio.CapacityLimiter` can only be asked limiter by limiter (a chain that can
deadlock, or a retreat through exceptions) and knows no order among those who wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush

from runner.errors import ConfigurationError, Problem
from runner.specs.plan import PlannedJob


class _Slots:
    """The free slots of one limit, and the buckets that found none."""

    __slots__ = ("free", "parked")

    def __init__(self, size: int) -> None:
        self.free = size
        self.parked: list[tuple[int, _Bucket]] = []


class _Bucket:
    """Ready jobs that take slots of the same limits, by their place in line. `place`: the heap it stands in."""

    __slots__ = ("jobs", "place", "slots")

    def __init__(self, slots: tuple[_Slots, ...], place: list[tuple[int, _Bucket]]) -> None:
        self.slots = slots
        self.jobs: list[int] = []
        self.place = place

    def __lt__(self, other: _Bucket) -> bool:
        return False  # heap entries of equal number are the same bucket twice


class WaitingJobs:
    """Ready jobs that wait for slots.

    Jobs with the same limits share a bucket. A bucket that meets a full limit is parked there, and a freed
    slot wakes the first bucket parked at it: neither a full limit nor a thousand limits cost a look at every
    waiting job.
    """

    def __init__(
        self,
        jobs: Sequence[PlannedJob],
        limits: Mapping[str, int],
        queues: Mapping[str, int],
        max_workers: int | None,
    ) -> None:
        self._jobs = in_line(jobs)
        self._number = {job.job_id: number for number, job in enumerate(self._jobs)}
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


def in_line(jobs: Sequence[PlannedJob]) -> Sequence[PlannedJob]:
    """Return jobs, given in plan order, in the order in which they get slots."""
    if not any(job.spec.priority for job in jobs):
        return jobs
    queues: dict[str, list[int]] = {}
    for number, job in enumerate(jobs):
        queues.setdefault(job.spec.queue, []).append(number)
    line = list(jobs)
    for places in queues.values():
        first = sorted(
            (jobs[place] for place in places), key=lambda job: -job.spec.priority
        )  # sorting is stable
        for place, job in zip(places, first, strict=True):
            line[place] = job
    return line


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
