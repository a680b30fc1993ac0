"""Runs to look at, written into a run store as the engine writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from runner.events import Event, RunStarted
from runner.fold import fold_run
from runner.ids import new_ulid
from runner.records import ErrorInfo
from runner.run_store import FileRunStore
from runner.testing.timed_history import TimedJob, timed_history

START = datetime(2026, 2, 12, 6, tzinfo=UTC)
HOSTILE = (
    "<img src=x onerror=window.__x=1>",
    "</script><script>window.__x=1</script>",
    "\"'><svg onload=window.__x=1>",
    "</title></style><iframe srcdoc='<script>parent.__x=1</script>'>",
    "javascript:window.__x=1//&lt;b&gt;",
    "\u202egnp.exe\u2066 \x1b[31m\x00\x07\u2028 end",
)
"""What a name may hold that is to be seen as text."""
USAGE = {"queries": 2, "bytes_processed": 1_234_567_890, "bytes_billed": 1_243_611_136, "slot_ms": 4_021}


def put(runs_dir: Path, events: Sequence[Event], *, over: bool = True) -> str:
    """Write a run and return its id; not `over`: without an end and without a lock, as a crash leaves it."""
    started = events[0]
    name = getattr(started, "name", "")
    with_writer = FileRunStore(runs_dir).create(started.run_id, name, started.timestamp)
    kept = events if over else events[:-3]
    with_writer.append(kept)
    if over:
        with_writer.write_run(fold_run(kept, run_id=started.run_id, alive=False))
    with_writer.close()
    return started.run_id


def jobs(count: int, *, slower: float = 1.0, failing: int = -1, usage: bool = False) -> Iterator[TimedJob]:
    """Yield jobs of different lengths in three stages; one of them may fail, and its stage is not the last."""
    for number in range(count):
        error = ErrorInfo(
            category="function",
            message="jobs.scoring.sf36:score raised KeyError: 'item_7'\nrow 12 of batch 3\n  in item()",
            step_id="write",
            type="KeyError",
        )
        yield TimedJob(
            job_id=f"form_obs_{number:02}",
            stage=number * 3 // count,
            steps={
                "read": 80.0 + 35 * (number * 7 % 5),
                "score": (310.0 + 90 * (number * 3 % 7)) * (slower if number == 1 else 1),
                "write": 60.0 + 20 * (number % 3),
            },
            rows=60 + 17 * number,
            error=error if number == failing else None,
            usage=USAGE if usage else {},
        )


def series(
    runs_dir: Path,
    name: str,
    count: int,
    *,
    of: int = 9,
    failing: Sequence[int] = (),
    slower_since: int = 10_000,
    usage: bool = False,
    workers: int = 2,
) -> list[str]:
    """Write `count` runs of `of` jobs, an hour apart, and return their ids, oldest first."""
    ids = []
    for number in range(count):
        noise = 1 + 0.03 * ((number * 5) % 7 - 3) / 3
        made = jobs(
            of,
            slower=noise * (1.6 if number >= slower_since else 1),
            failing=4 % of if number in failing else -1,
            usage=usage,
        )
        events = timed_history(
            name, list(made), started_at=START + timedelta(hours=number), max_workers=workers,
            run_id=new_ulid(),
        )  # fmt: skip
        ids.append(put(runs_dir, events))
    return ids


def hostile(runs_dir: Path) -> str:
    """Write two runs in which every text is hostile; return the id of the last."""
    made = [
        TimedJob(
            job_id=text,
            stage=number,
            steps={"read": 100.0, f"{text} step": 200.0},
            error=ErrorInfo(category="bug", message=f"{text}\n{text}", step_id=text),
            usage=USAGE,
        )
        for number, text in enumerate(HOSTILE)
    ]
    ids = [
        put(runs_dir, timed_history("hostile", made, started_at=START + timedelta(hours=each)))
        for each in range(2)
    ]
    return ids[-1]


def retries(runs_dir: Path, count: int) -> None:
    """Put runs after those of `series` that did only a part of the work again."""
    for number in range(count):
        short = timed_history("daily", list(jobs(1)), started_at=START + timedelta(days=1, hours=number))
        started = short[0]
        assert isinstance(started, RunStarted)
        put(runs_dir, [replace(started, retry_of="01KH4SATJ00000000000000000"), *short[1:]])
