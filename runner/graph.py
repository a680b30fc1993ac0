"""The order of a run as a plain data structure: which jobs are ready, what an ending job sets free or skips.

Pure: no clock, no I/O, no await. Every edge is looked at once when the graph is built and once when its first
end is reached, so a whole run costs O(jobs + edges). Rules:

- `after` edges only order: they are satisfied by any end of the job they name.
- `needs` edges want the job to have landed: `success`, or `partial` (rows in quarantine within its limit,
  which leaves the run a success, see `records.run_status`). `failure`, `skipped` and `cancelled` skip what
  needs them, and so on downwards. A partial job with errors has failed, and whoever calls `finish` says so.
- A job is decided, ready or skipped, once everything it waits for has ended; a skip is never early. So order
  is transitive: what comes after a skipped job still comes after all that the skipped job came after.
- A barrier ends when its last member ends. It succeeded if all of them did, or if it only keeps order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from runner.errors import ConfigurationError, Problem
from runner.records import Status
from runner.specs.plan import Barrier, PlannedJob

_LANDED = (Status.SUCCESS, Status.PARTIAL)
_SPOILT = {Status.FAILURE: "failed", Status.SKIPPED: "was skipped", Status.CANCELLED: "was cancelled"}
"""The ends that satisfy `needs`, and how a reason words those that do not; other statuses are no ends."""


@dataclass(slots=True)
class Change:
    """What one event did to the graph: jobs that became ready and jobs that were skipped, both in plan order.

    `skipped` pairs each job with the reason, a sentence for people.
    """

    ready: list[PlannedJob] = field(default_factory=list)
    skipped: list[tuple[PlannedJob, str]] = field(default_factory=list)

    def add(self, other: Change) -> None:
        """Append what another event did."""
        self.ready += other.ready
        self.skipped += other.skipped


class JobGraph:
    """Jobs and barriers of one run, and how far each has come. Nodes are numbers: jobs first, by the plan."""

    def __init__(self, jobs: Sequence[PlannedJob], barriers: Sequence[Barrier] = ()) -> None:
        """Build the graph. Raises `ConfigurationError` for a repeated id, an unknown reference or a cycle."""
        self.jobs = tuple(jobs)
        self._barriers = tuple(barriers)
        self._names = [
            *(job.job_id for job in self.jobs),
            *(barrier.barrier_id for barrier in self._barriers),
        ]
        self._number = _numbered(self._names, self.jobs)
        needs, waits = self._edges()
        self._pending = [len(before) for before in waits]
        self._followers: list[list[int]] = [[] for _ in self._names]
        self._needed_by: list[list[int]] = [[] for _ in self._names]
        for node, before in enumerate(waits):
            for other in before:
                self._followers[other].append(node)
        for node, before in enumerate(needs):
            for other in before:
                self._needed_by[other].append(node)
        self._refuse_cycles(waits)
        self._status: list[Status | None] = [None] * len(self._names)
        self._started = [False] * len(self.jobs)
        self._ready = [False] * len(self.jobs)
        self._blamed: dict[int, int] = {}
        self._stopped: dict[str, str] = {}
        self._members: dict[str, list[int]] = {}
        for node, job in enumerate(self.jobs):
            for group in job.stops:
                self._members.setdefault(group, []).append(node)
        self._open = len(self.jobs)

    @property
    def done(self) -> bool:
        """True when every job has ended."""
        return self._open == 0

    @property
    def ready(self) -> list[PlannedJob]:
        """Jobs that may start and have not, in plan order. Looks at all jobs: for people and tests."""
        return [job for node, job in enumerate(self.jobs) if self._ready[node]]

    @property
    def outcomes(self) -> Mapping[str, Status]:
        """Status by job id of all jobs that have ended, in plan order."""
        return {
            job.job_id: status
            for job, status in zip(self.jobs, self._status, strict=False)
            if status is not None
        }

    def begin(self) -> Change:
        """Return what is ready before anything has run. To be called once, first."""
        return self._decide([node for node, count in enumerate(self._pending) if count == 0])

    def start(self, job_id: str) -> None:
        """Note that a ready job was started. Raises `ValueError` for a job that is not ready."""
        node = self._number[job_id]
        if not self._ready[node]:
            raise ValueError(f"job {job_id!r} is not ready, so it cannot be started")
        self._ready[node] = False
        self._started[node] = True

    def finish(self, job_id: str, status: Status) -> Change:
        """Note the end of a started job, return what follows. Raises `ValueError` when it was not running."""
        node = self._number[job_id]
        if not self._started[node] or self._status[node] is not None:
            raise ValueError(f"job {job_id!r} is not running, so it cannot be finished")
        if status not in _LANDED and status not in _SPOILT:
            raise ValueError(f"job {job_id!r} cannot end as {status.value!r}")
        return self._decide(self._end(node, status))

    def stop_group(self, group: str, culprit: str) -> Change:
        """Skip every job of `group` that has not started, because the job `culprit` failed.

        Those that still wait are skipped when their turn comes. Stopping twice changes nothing.
        """
        if group in self._stopped:
            return Change()
        self._stopped[group] = f"{group} stops on failure, and {culprit} failed"
        change = Change()
        freed: list[int] = []
        for node in self._members.get(group, ()):
            if self._ready[node]:
                freed += self._skip(node, self._stopped[group], change)
        return self._decide(freed, change)

    def skip_rest(self, reason: str) -> list[PlannedJob]:
        """Skip every job that has not started, whatever it waits for, and return them in plan order."""
        rest = [
            node for node, started in enumerate(self._started) if not started and self._status[node] is None
        ]
        for node in rest:
            self._ready[node] = False
            self._status[node] = Status.SKIPPED
        self._open -= len(rest)
        self._stopped = dict.fromkeys(self._members, reason)
        return [self.jobs[node] for node in rest]

    # --- how an end spreads ---------------------------------------------------------------------------------

    def _end(self, node: int, status: Status) -> list[int]:
        """Note an end and return the nodes that now wait for nothing."""
        self._status[node] = status
        if node < len(self.jobs):
            self._open -= 1
        if status not in _LANDED:
            for other in self._needed_by[node]:
                self._blamed.setdefault(other, node)
        freed = []
        for other in self._followers[node]:
            self._pending[other] -= 1
            if self._pending[other] == 0:
                freed.append(other)
        return freed

    def _decide(self, freed: list[int], change: Change | None = None) -> Change:
        """Make nodes that wait for nothing ready, skipped or (barriers) ended, until nothing more follows."""
        change = change or Change()
        ready: list[int] = []
        while freed:
            node = freed.pop()
            if node >= len(self.jobs):
                freed += self._end(node, Status.FAILURE if node in self._blamed else Status.SUCCESS)
            elif self._status[node] is not None:
                continue
            elif reason := self._reason_to_skip(node):
                freed += self._skip(node, reason, change)
            else:
                self._ready[node] = True
                ready.append(node)
        change.ready += [self.jobs[node] for node in sorted(ready)]
        change.skipped.sort(key=lambda item: self._number[item[0].job_id])
        return change

    def _skip(self, node: int, reason: str, change: Change) -> list[int]:
        self._ready[node] = False
        change.skipped.append((self.jobs[node], reason))
        return self._end(node, Status.SKIPPED)

    def _reason_to_skip(self, node: int) -> str:
        if node in self._blamed:
            return f"needs {self._failing(self._blamed[node])}"
        for group in self.jobs[node].stops:
            if group in self._stopped:
                return self._stopped[group]
        return ""

    def _failing(self, node: int) -> str:
        """Word why a node that was needed did not succeed; for a barrier, name the job that spoilt it."""
        name = self._names[node]
        culprit = node
        while culprit >= len(self.jobs):
            culprit = self._blamed[culprit]
        ended = _SPOILT[self._status[culprit] or Status.FAILURE]
        return (
            f"{name}, which {ended}"
            if culprit == node
            else f"{name}, in which {self._names[culprit]} {ended}"
        )

    # --- building -------------------------------------------------------------------------------------------

    def _edges(self) -> tuple[list[list[int]], list[list[int]]]:
        """Return for each node the nodes it needs, and all it waits for; each without repetition."""
        problems: list[Problem] = []
        needs, waits = [], []
        for job in self.jobs:
            needed = self._numbers(job.needs, job, "needs", problems)
            after = self._numbers(job.after, job, "after", problems)
            needs.append(needed)
            waits.append(list(dict.fromkeys((*needed, *after))))
        for barrier in self._barriers:
            members = self._numbers(barrier.members, None, barrier.barrier_id, problems)
            needs.append([] if barrier.order_only else members)
            waits.append(members)
        if problems:
            raise ConfigurationError(problems)
        return needs, waits

    def _numbers(
        self, names: Iterable[str], job: PlannedJob | None, where: str, problems: list[Problem]
    ) -> list[int]:
        numbers = dict.fromkeys(self._number.get(name, -1) for name in names)
        if -1 in numbers:
            unknown = [name for name in names if name not in self._number]
            path = f"{job.job_id}.{where}" if job else where
            problems += [
                Problem(
                    file=str(job.file) if job else "", path=path, message=f"{name!r} is no job of this run"
                )
                for name in unknown
            ]
        return list(numbers)

    def _refuse_cycles(self, waits: list[list[int]]) -> None:
        pending = list(self._pending)
        free = [node for node, count in enumerate(pending) if count == 0]
        for node in free:
            for other in self._followers[node]:
                pending[other] -= 1
                if pending[other] == 0:
                    free.append(other)
        if len(free) == len(pending):
            return
        cycle = _cycle(waits, {node for node, count in enumerate(pending) if count})
        jobs = [self.jobs[node] for node in cycle if node < len(self.jobs)]
        names = " -> ".join(self._names[node] for node in (*cycle, cycle[0]))
        file = str(jobs[0].file) if jobs else ""
        raise ConfigurationError([Problem(file=file, message=f"a cycle, each waits for the next: {names}")])


def _numbered(names: Sequence[str], jobs: Sequence[PlannedJob]) -> dict[str, int]:
    number = {name: node for node, name in enumerate(names)}
    if len(number) == len(names):
        return number
    repeated = next(name for node, name in enumerate(names) if number[name] != node)
    file = next((str(job.file) for job in jobs if job.job_id == repeated), "")
    raise ConfigurationError(
        [Problem(file=file, message=f"id {repeated!r} occurs more than once in this run")]
    )


def _cycle(waits: list[list[int]], stuck: set[int]) -> list[int]:
    """Return one cycle among `stuck` nodes, each of which waits for another of them; smallest first."""
    path: list[int] = []
    place: dict[int, int] = {}
    node = min(stuck)
    while node not in place:
        place[node] = len(path)
        path.append(node)
        node = next(other for other in waits[node] if other in stuck)
    cycle = path[place[node] :]
    first = cycle.index(min(cycle))
    return cycle[first:] + cycle[:first]
