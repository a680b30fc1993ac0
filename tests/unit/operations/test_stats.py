"""Statistics of many runs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from runner.fold import fold_run
from runner.operations.stats import sum_up
from runner.records import ErrorInfo, PipelineRun, RunRecord
from runner.testing.timed_history import TimedJob, timed_history

START = datetime(2026, 2, 12, 6, tzinfo=UTC)
BROKEN = ErrorInfo(category="quota", message="too much")


def run(day: int, op: str = "read") -> PipelineRun:
    """A run of ten jobs that took longer by a millisecond each day, and failed on each seventh."""
    jobs = [
        TimedJob(
            job_id=f"job_{number}", steps={op: 100.0 + day}, error=BROKEN if number + day % 7 == 0 else None
        )
        for number in range(10)
    ]
    events = timed_history("daily", jobs, started_at=START + timedelta(days=day))
    return fold_run(events, run_id=events[0].run_id, alive=False)


def test_no_more_runs_are_held_than_one_or_two() -> None:
    """Of ten thousand runs of twenty jobs, all records took half a gigabyte."""
    held: list[int] = []

    def newest_first() -> Iterator[PipelineRun]:
        for day in range(6, 0, -1):
            yield run(day)
            held.append(sum(isinstance(each, RunRecord) for each in gc.get_objects()))

    found = sum_up("daily", newest_first())
    assert max(held) - held[0] <= 20
    assert found.runs == 6


def test_the_newest_run_comes_first_and_times_are_told_from_the_oldest_on() -> None:
    runs = [run(day, "fetch" if day > 25 else "read") for day in range(30, 0, -1)]
    runs[3] = replace(runs[3], retry_of=runs[4].pipeline_run_id)
    found = sum_up("daily", iter(runs))

    assert (found.first, found.last) == (START + timedelta(days=1), START + timedelta(days=30))
    assert dict(found.statuses) == {"success": 26, "partial": 4}
    assert (found.partial_work, found.causes) == (1, {"quota": 4})
    assert (found.times.count, found.times.trend.word) == (25, "slower")
    assert found.times.since in [each.started_at for each in runs[5:-5]]
    jobs = [part.job_id for part in found.parts if not part.step_id]
    assert jobs == sorted(jobs)
    steps = {
        part.step_id: part.times.count for part in found.parts if part.job_id == "job_5" and part.step_id
    }
    assert steps == {"fetch": 4, "read": 25}
