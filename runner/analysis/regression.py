"""Which steps of a run got slower beyond their noise, by comparison with the runs before.

A step is compared with itself in earlier successful runs of the same name, of similar size (rows within `SIMILAR`) and
with the same cap on workers. It counts as slower when each of its latest `LATEST` times, this run's among them, is
above the median of the `BASELINE` times before those: `LEAST` times at least, and by `SIGMAS` standard deviations,
which the median absolute deviation estimates. One slow run is an accident; the third in a row is named.

Simulated with log-normal noise and every fiftieth time 1.5 to 4 times as long: with noise of 8 % a step that is made
1.5 times slower is named by the third run in 99 of 100 cases, and of 100 steps one is named without reason in 500 runs;
with 10 % in 94 of 100, and 6 of 100.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple, Self

from runner.analysis.quantiles import MAD_TO_SIGMA, mad, median
from runner.records import Status, StepRegression

BASELINE = 20
"""Times of a step that it is compared with."""

LATEST = 3
"""Times of a step that must all be slow: that of this run, and of those just before it."""

ENOUGH = 8
"""With fewer times to compare with, nothing is said: their noise is not known."""

LOOK_BACK = 100
"""Runs that are looked at, at most, to find enough of similar size."""

SIMILAR = 1.25
"""Rows of similar runs differ by this factor at most."""

LEAST = 1.2
"""Below so many times the usual, nobody would look for the reason."""

LEAST_MS = 20
"""The same in milliseconds: short steps are at the mercy of what else the machine does."""

SIGMAS = 2

StepKey = tuple[str, str]
"""Ids of job and step."""


class StepTime(NamedTuple):
    """How long a step took, in milliseconds, for how many rows."""

    duration_ms: float
    rows: int

    def resembles(self, other: StepTime) -> bool:
        """Tell whether both had about as many rows. None are like none only."""
        few, many = sorted((self.rows, other.rows))
        return few > 0 and many <= few * SIMILAR if many else True


@dataclass(frozen=True, slots=True)
class RunTimes:
    """The times of the steps of one run that went well at the first attempt. `max_workers`: the cap on the run."""

    max_workers: int | None
    steps: Mapping[StepKey, StepTime]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, of: Collection[StepKey] | None = None) -> Self:
        """Read them from the JSON-ready form of a `PipelineRun` with its jobs; `of`: no others than of these steps.

        Raises `LookupError`, `TypeError`, `AttributeError` for other data.
        """
        return cls(data.get("max_workers"), dict(_times(data["jobs"], of)))

    def long_enough(self) -> Self:
        """Return the times of the steps that are long enough to be named."""
        long = {key: time for key, time in self.steps.items() if time.duration_ms > LEAST_MS}
        return replace(self, steps=long)


def _times(
    jobs: Iterable[Mapping[str, Any]], of: Collection[StepKey] | None
) -> Iterator[tuple[StepKey, StepTime]]:
    """Plain data, since this is done for many runs at the end of each: records would cost four times as much."""
    for job in jobs:
        if job["status"] == Status.SUCCESS:
            for step in job.get("step_timings", ()):
                if of is not None and (job["job_id"], step["step_id"]) not in of:
                    continue
                if step["status"] == Status.SUCCESS and step.get("attempts", 1) == 1:
                    read, written = step.get("rows_read") or 0, step.get("rows_written") or 0
                    rows = max(read, written, step.get("rows_in", 0), step.get("rows_out", 0))
                    yield (job["job_id"], step["step_id"]), StepTime(step["duration_ms"], rows)


def regressions(run: RunTimes, before: Iterable[RunTimes]) -> tuple[StepRegression, ...]:
    """Return the steps of a run that got slower, the most first. `before` are the runs before it, newest first; no more
    of them are taken than are needed, and none for a run without steps.
    """
    similar: dict[StepKey, list[float]] = {key: [] for key in run.steps}
    open_keys = set(similar)
    for other in islice(before, LOOK_BACK) if open_keys else ():
        if other.max_workers == run.max_workers:
            open_keys -= set(_gather(similar, open_keys, run, other))
        if not open_keys:
            break
    found = (_compared(key, run.steps[key].duration_ms, times) for key, times in similar.items())
    return tuple(sorted(filter(None, found), key=lambda regression: -regression.ratio))


def _gather(
    similar: Mapping[StepKey, list[float]], open_keys: set[StepKey], run: RunTimes, other: RunTimes
) -> Iterator[StepKey]:
    """Take the times of similar steps from another run; yield the keys that then have enough."""
    for key in open_keys:
        time = other.steps.get(key)
        if time is not None and time.resembles(run.steps[key]):
            similar[key].append(time.duration_ms)
            if len(similar[key]) == LATEST - 1 + BASELINE:
                yield key


def _compared(key: StepKey, duration_ms: float, before: list[float]) -> StepRegression | None:
    """Compare a time with those before it, newest first."""
    latest, usual = [duration_ms, *before[: LATEST - 1]], before[LATEST - 1 :]
    if len(usual) < ENOUGH:
        return None
    was_ms = median(usual)
    noise_ms = max(was_ms * (LEAST - 1), LEAST_MS, SIGMAS * MAD_TO_SIGMA * mad(usual))
    if min(latest) <= was_ms + noise_ms:
        return None
    return StepRegression(
        job_id=key[0],
        step_id=key[1],
        was_ms=round(was_ms, 3),
        is_ms=duration_ms,
        ratio=round(duration_ms / was_ms, 2) if was_ms else 0.0,
        runs=len(usual),
    )
