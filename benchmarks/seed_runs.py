"""A run store as a year or so of work leaves it: four pipelines, failures, noise, and one step that got slower.

    python benchmarks/seed_runs.py FOLDER [COUNT]

25 runs a day up to now: `shop` (12 jobs in 3 stages, every two hours), `mail` (4 jobs, every four), `orders` (1 job,
every four), `nightly` (30 jobs). Each has the files that the engine writes: events, summary, jobs. One run in 30 fails.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from runner.events import JobFinished
from runner.fold import fold_run
from runner.records import ErrorInfo
from runner.run_store import FileRunStore
from runner.testing.timed_history import TimedJob, timed_history

SLOWER_DAYS = 12
"""Since so many days the step `score` of `shop_job_07` takes 1.6 times as long."""
CAUSES = ("unavailable", "function", "quota", "timeout")


def seed(runs_dir: Path, count: int = 10_000, *, now: datetime | None = None) -> None:
    """Write `count` runs, the newest a minute before `now`."""
    end = now or datetime.now(UTC)
    store = FileRunStore(runs_dir)
    random_ = random.Random(7)
    for number, (name, moment) in enumerate(_moments(end, count)):
        jobs = list(_jobs(name, moment, end, random_))
        events = timed_history(name, jobs, started_at=moment, max_workers=4)
        run_id = events[0].run_id
        writer = store.create(run_id, name, moment)
        writer.append(events)
        for event in events:
            if isinstance(event, JobFinished):
                writer.write_job(event.record)
        writer.write_run(fold_run(events, run_id=run_id, alive=False))
        writer.close()
        if number % 1000 == 999:
            print(f"{number + 1} runs", file=sys.stderr)


def _moments(end: datetime, count: int) -> Iterator[tuple[str, datetime]]:
    """Names and times of the runs, newest first."""
    made, day = 0, 0
    while True:
        last = end - timedelta(days=day, minutes=1)
        plan: list[tuple[str, float]] = [("nightly", 3)]
        plan += [("shop", hour) for hour in range(0, 24, 2)]
        plan += [(name, hour + 1) for name in ("mail", "orders") for hour in range(0, 24, 4)]
        for name, hours in sorted(plan, key=lambda each: each[1]):
            if made == count:
                return
            made += 1
            yield name, last - timedelta(hours=hours, seconds=made % 7)
        day += 1


def _jobs(name: str, moment: datetime, end: datetime, random_: random.Random) -> Sequence[TimedJob]:
    numbers = {"shop": 12, "mail": 4, "orders": 1, "nightly": 30}[name]
    failing = random_.randrange(numbers) if random_.random() < 1 / 30 else -1
    slower = moment > end - timedelta(days=SLOWER_DAYS)
    jobs = []
    for number in range(numbers):
        job_id = f"{name}_job_{number:02}"
        factor = 1.6 if slower and job_id == "shop_job_07" else 1.0
        noise = [random_.lognormvariate(0, 0.08) for _ in range(3)]
        error = None
        if number == failing:
            cause = random_.choice(CAUSES)
            error = ErrorInfo(category=cause, message=f"the {cause} of a benchmark", step_id="write")
        jobs.append(
            TimedJob(
                job_id=job_id,
                stage=number * 3 // numbers,
                steps={
                    "read": round(300 * noise[0] * (1 + number % 3), 3),
                    "score": round(900 * noise[1] * (1 + number % 4) * factor, 3),
                    "write": round(200 * noise[2], 3),
                },
                rows=200 + random_.randrange(200),
                error=error,
            )
        )
    return jobs


if __name__ == "__main__":
    seed(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10_000)
