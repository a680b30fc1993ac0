"""A run as bars: when each job was ready, when it began and ended, and what its steps took.

A job's place is its wall time, its length monotonic, so that a clock which was set moves bars, but never stretches
them. A job without an end (it runs, or its runner died) reaches to the last that is known, and is `open`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from runner.records import PipelineRun, RunRecord, Status, StepTiming

_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBar:
    """One step within its job's bar.

    Steps of a job work in turn, batch by batch; here each has its whole time in one piece, in the order of the job:
    lengths are true, places are a convention.
    """

    step_id: str
    op: str
    status: Status
    start_ms: float
    duration_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "step_id": self.step_id,
            "op": self.op,
            "status": self.status.value,
            "start_ms": self.start_ms,
            "duration_ms": self.duration_ms,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One job that began. It was ready at `ready_ms`, waited for its slots until `start_ms`, and ended at `end_ms`.

    `lane`: a number from 0; bars of one lane do not overlap, and there are no more lanes than jobs ran at once.
    `open`: it has no end, and reaches to the last that is known.
    """

    job_id: str
    group: str
    status: Status
    ready_ms: float
    start_ms: float
    end_ms: float
    lane: int
    open: bool = False
    steps: tuple[StepBar, ...] = ()

    @property
    def queue_ms(self) -> float:
        """How long it was ready but waited for its slots."""
        return self.start_ms - self.ready_ms

    @property
    def duration_ms(self) -> float:
        """How long it ran."""
        return self.end_ms - self.start_ms

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "job_id": self.job_id,
            "group": self.group,
            "status": self.status.value,
            "ready_ms": self.ready_ms,
            "start_ms": self.start_ms,
            "end_ms": self.end_ms,
            "queue_ms": self.queue_ms,
            "duration_ms": self.duration_ms,
            "lane": self.lane,
            "open": self.open,
            "steps": [step.to_dict() for step in self.steps],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The bars of a run in the order of the plan, and the ids of its jobs that never began.

    `duration_ms` is the run's length, and at least as long as its bars reach.
    """

    duration_ms: float
    bars: tuple[Bar, ...] = ()
    not_begun: tuple[str, ...] = ()

    @property
    def lanes(self) -> int:
        """How many jobs ran at once, at most."""
        return max((bar.lane for bar in self.bars), default=-1) + 1

    @property
    def busy_ms(self) -> float:
        """How long all jobs ran, added up: what the run would have taken with one worker."""
        return sum(bar.duration_ms for bar in self.bars)

    @property
    def speedup(self) -> float:
        """How many times shorter the run was than its jobs added up; 0 where nothing ran."""
        return self.busy_ms / self.duration_ms if self.duration_ms > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "duration_ms": self.duration_ms,
            "busy_ms": self.busy_ms,
            "lanes": self.lanes,
            "speedup": self.speedup,
            "bars": [bar.to_dict() for bar in self.bars],
            "not_begun": list(self.not_begun),
        }


def timeline(run: PipelineRun, *, now: datetime | None = None, steps: bool = True) -> Timeline:
    """Return the bars of a run, without those of `steps` where nobody looks at them.

    `now` (aware UTC) is how far a run that goes on reaches, instead of its last event.
    """
    elapsed = run.duration_ms
    if now is not None and run.status is Status.RUNNING:
        elapsed = max(elapsed, _ms_between(run.started_at, now))
    begun = [job for job in run.jobs if job.started_at is not None]
    spans = [_span(job, run.started_at, elapsed) for job in begun]
    lanes = _lanes(spans)
    bars = tuple(
        Bar(
            job_id=job.job_id,
            group=job.group,
            status=job.status,
            ready_ms=max(0.0, start - max(0.0, job.queue_ms)),
            start_ms=start,
            end_ms=end,
            lane=lane,
            open=_is_open(job),
            steps=tuple(_steps(job.step_timings, start, end)) if steps else (),
        )
        for job, (start, end), lane in zip(begun, spans, lanes, strict=True)
    )
    return Timeline(
        duration_ms=max(elapsed, *(end for _, end in spans), 0.0),
        bars=bars,
        not_begun=tuple(job.job_id for job in run.jobs if job.started_at is None),
    )


def _is_open(job: RunRecord) -> bool:
    return job.completed_at is None and job.status in (Status.RUNNING, Status.CRASHED)


def _span(job: RunRecord, run_start: datetime, elapsed: float) -> tuple[float, float]:
    start = _ms_between(run_start, job.started_at) if job.started_at else 0.0
    end = start + max(0.0, job.duration_ms)
    return start, max(end, elapsed) if _is_open(job) else end


def _ms_between(earlier: datetime, later: datetime) -> float:
    """Milliseconds from one time to another; 0 where the clock was set back in between."""
    return max(0.0, (later - earlier) / _MS)


def _steps(timings: Sequence[StepTiming], start: float, end: float) -> Iterator[StepBar]:
    for timing in timings:
        length = min(max(0.0, timing.duration_ms), end - start)
        yield StepBar(
            step_id=timing.step_id, op=timing.op, status=timing.status, start_ms=start, duration_ms=length
        )
        start = min(start + length, end)


def _lanes(spans: Sequence[tuple[float, float]]) -> list[int]:
    """Give each span the lowest lane that is free when it starts."""
    lanes = [0] * len(spans)
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    for number in sorted(range(len(spans)), key=lambda index: (spans[index], index)):
        start, end = spans[number]
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lanes[number] = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (end, lanes[number]))
    return lanes
