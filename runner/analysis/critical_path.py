"""What made a run as long as it was: one chain of jobs and waits from its start to its end.

It is followed backwards from the job that ended last. A job that waited for a slot follows the job whose end set one
free (`Link.SLOT`): had that been shorter, or had there been one slot more, the run had been shorter. Any other
follows the last end among those it waits for (`Link.ORDER`), or the start of the run. What lies between is the
engine's own time. So the segments cover the run from 0 to its end, each moment once.

Older records do not tell what a job waited for. A job becomes ready in the moment in which another ends:
then that is taken which ended last before it was ready.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

from runner.analysis.timeline import Bar, Timeline, timeline
from runner.records import PipelineRun

WAIT_MS = 5.0
"""A shorter wait for a slot is the engine's own time: jobs that start together start one after the other."""
CLOCK_MS = 5.0
"""By so much an end may seem to lie after what followed from it: places are wall time, lengths monotonic."""

WORTH = 0.02
"""The part of a run that its jobs on the path wait for slots, from which on more workers are worth a word."""


class Link(StrEnum):
    """Why a segment stands where it does: the run began, what it waits for ended, or a slot became free."""

    START = "start"
    ORDER = "order"
    SLOT = "slot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A piece of the path. `kind`: `job` (it ran), `queue` (it waited for a slot, and nothing tells who had it), or
    `engine` (nothing of the path ran; `job_id` is the job that came next, "" at the end of the run).

    `link` says how a job came to follow what stands before it, `waited_ms` how long it had waited for its slots.
    """

    kind: str
    job_id: str
    start_ms: float
    end_ms: float
    link: Link = Link.ORDER
    waited_ms: float = 0

    @property
    def duration_ms(self) -> float:
        """The length of the segment."""
        return self.end_ms - self.start_ms

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "kind": self.kind,
            "job_id": self.job_id,
            "start_ms": self.start_ms,
            "end_ms": self.end_ms,
            "duration_ms": self.duration_ms,
            "link": self.link.value,
            "waited_ms": self.waited_ms,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalPath:
    """Segments in the order of time, without gap or overlap, from 0 to the end of the run."""

    segments: tuple[Segment, ...] = ()

    @property
    def jobs(self) -> tuple[str, ...]:
        """Ids of the jobs on the path, in the order in which they ran."""
        return tuple(segment.job_id for segment in self.segments if segment.kind == "job")

    @property
    def duration_ms(self) -> float:
        """The length of the whole path: that of the run."""
        return sum(segment.duration_ms for segment in self.segments)

    def time_of(self, kind: str) -> float:
        """Return the milliseconds of all segments of a kind."""
        return sum(segment.duration_ms for segment in self.segments if segment.kind == kind)

    @property
    def behind_slots_ms(self) -> float:
        """How long a job of the path was ready while the one before it on the path had the slot, and waits of which
        nothing tells who had it: what more workers (or slots of a queue) can shorten.
        """
        jobs = [segment for segment in self.segments if segment.kind == "job"]
        behind = sum(
            min(following.waited_ms, segment.duration_ms)
            for segment, following in pairwise(jobs)
            if following.link is Link.SLOT
        )
        return behind + self.time_of("queue")

    @property
    def worth_workers(self) -> bool:
        """Whether the run was so much longer for want of slots that it is worth a word."""
        behind = self.behind_slots_ms
        return behind >= WAIT_MS and behind >= WORTH * self.duration_ms

    def shares(self) -> Mapping[str, float]:
        """Return for each job on the path the part (0 to 1) of the run that it ran on the path."""
        whole = self.duration_ms
        if whole <= 0:
            return {}
        return {each.job_id: each.duration_ms / whole for each in self.segments if each.kind == "job"}

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "duration_ms": self.duration_ms,
            "jobs_ms": self.time_of("job"),
            "queue_ms": self.time_of("queue"),
            "engine_ms": self.time_of("engine"),
            "behind_slots_ms": self.behind_slots_ms,
            "jobs": list(self.jobs),
            "segments": [segment.to_dict() for segment in self.segments],
        }


def critical_path(run: PipelineRun, bars: Timeline | None = None) -> CriticalPath:
    """Return the critical path of a run. `bars`: its timeline, where it has been made already."""
    return path_of(bars or timeline(run, steps=False), waits_of(run))


def waits_of(run: PipelineRun) -> dict[str, Sequence[str]]:
    """Return what each job and barrier of a run waits for. Jobs of old records, which do not tell, are left out."""
    waits: dict[str, Sequence[str]] = dict(run.barriers)
    # A record that tells what it waits for has a queue, too, also where it waits for nothing.
    waits.update((job.job_id, job.waits_for) for job in run.jobs if job.queue)
    return waits


def path_of(bars: Timeline, waits_for: Mapping[str, Sequence[str]]) -> CriticalPath:
    """Return the critical path through bars. `waits_for`: what each job or barrier waits for, where it is known: ids of
    jobs and barriers. A job that never began passes on what it waited for.
    """
    backwards = list(_Walk(bars, waits_for).segments())
    return CriticalPath(segments=tuple(reversed(backwards)))


class _Walk:
    """The way back from the end of a run."""

    def __init__(self, bars: Timeline, waits_for: Mapping[str, Sequence[str]]) -> None:
        self._end_ms = bars.duration_ms
        self._bars = {bar.job_id: bar for bar in bars.bars}
        self._by_end = sorted(bars.bars, key=lambda bar: bar.end_ms)
        self._ends = [bar.end_ms for bar in self._by_end]
        self._waits_for = waits_for
        self._last_end: dict[str, Bar | None] = {}
        self._seen: set[str] = set()

    def segments(self) -> Iterator[Segment]:
        """Yield the path from its end to its start."""
        at, following, link = self._end_ms, "", Link.ORDER
        bar = self._by_end[-1] if self._by_end else None
        while bar is not None:
            self._seen.add(bar.job_id)
            yield from _between(bar.end_ms, at, following, link)
            at = min(at, bar.end_ms)
            before, link = self._before(bar)
            if at > bar.start_ms:
                yield Segment(
                    kind="job", job_id=bar.job_id, start_ms=bar.start_ms, end_ms=at,
                    link=link, waited_ms=bar.queue_ms,
                )  # fmt: skip
            at, following = min(at, bar.start_ms), bar.job_id
            if link is not Link.SLOT and bar.queue_ms >= WAIT_MS and at > bar.ready_ms:
                yield Segment(kind="queue", job_id=bar.job_id, start_ms=bar.ready_ms, end_ms=at, link=link)
                at = bar.ready_ms
            bar = before
        yield from _between(0.0, at, following, link)

    def _before(self, bar: Bar) -> tuple[Bar | None, Link]:
        """What a job followed, and why."""
        if bar.queue_ms >= WAIT_MS:
            holder = self._gave_way(bar.start_ms)
            if holder is not None and holder.end_ms > bar.ready_ms:
                return holder, Link.SLOT
        if bar.job_id in self._waits_for:
            before = self._last_of(bar.job_id)
            if before is not None and (before.job_id in self._seen or before.start_ms > bar.start_ms):
                before = None
        else:
            before = self._ended_last(bar.ready_ms + CLOCK_MS)
        return before, Link.ORDER if before is not None else Link.START

    def _gave_way(self, start_ms: float) -> Bar | None:
        """The job whose end set free the slot that was taken at a moment: of the last before it and the last within
        `CLOCK_MS` after it the nearer one.
        """
        before, around = self._ended_last(start_ms), self._ended_last(start_ms + CLOCK_MS)
        if before is None or around is None:
            return around
        return before if start_ms - before.end_ms <= abs(around.end_ms - start_ms) else around

    def _ended_last(self, limit_ms: float) -> Bar | None:
        """The job that ended last up to a moment, of those that are not on the path yet."""
        for place in range(bisect_right(self._ends, limit_ms) - 1, -1, -1):
            bar = self._by_end[place]
            if bar.job_id not in self._seen and not bar.open:
                return bar
        return None

    def _last_of(self, node: str) -> Bar | None:
        """The job that ended last among those that a job or barrier waits for, through barriers and jobs that never
        began. Each node is worked out once, and without recursion: a pipeline may have thousands of stages.
        """
        waiting = [node]
        while waiting:
            current = waiting[-1]
            self._last_end.setdefault(current, None)  # a cycle, which only a damaged record has, ends here
            through = [each for each in self._waits_for.get(current, ()) if each not in self._bars]
            open_ones = [each for each in through if each not in self._last_end]
            if open_ones:
                waiting += open_ones
                continue
            waiting.pop()
            found = [self._bars[each] for each in self._waits_for.get(current, ()) if each in self._bars]
            found += [bar for each in through if (bar := self._last_end[each]) is not None]
            self._last_end[current] = max(found, key=lambda bar: bar.end_ms, default=None)
        return self._last_end[node]


def _between(start_ms: float, end_ms: float, following: str, link: Link) -> Iterator[Segment]:
    """What lies between two jobs: the engine's own time, or the rest of a wait for a slot."""
    if end_ms > start_ms:
        waits = link is Link.SLOT and end_ms - start_ms >= WAIT_MS
        kind = "queue" if waits else "engine"
        yield Segment(kind=kind, job_id=following, start_ms=start_ms, end_ms=end_ms)
