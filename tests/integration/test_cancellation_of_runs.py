"""A cancelled run stops at once, is recorded as cancelled, leaves nothing behind, and the next one completes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import anyio
import duckdb
import psutil
import pytest

from runner.events import Event, JobFinished, JobStarted, Noticed, StepProgress
from runner.pipeline_runner import PipelineRunner
from runner.records import PipelineRun, Status
from runner.run_store import FileRunStore
from runner.settings import Settings
from tests.projects import (
    PROCESSING,
    ThrowAwayProject,
    call,
    digests,
    job_of,
    not_exists,
    read,
    step_of,
    write,
)

ROWS = 300
When = Callable[[Event], bool]


@pytest.fixture
def copying(project: ThrowAwayProject) -> ThrowAwayProject:
    """The project of these tests."""
    return declared(project)


def declared(project: ThrowAwayProject) -> ThrowAwayProject:
    """Two jobs, one after the other, that copy 300 rows; how long a row takes is a parameter (seconds)."""
    for table in ("src.numbers", "mid.numbers", "out.numbers"):
        project.table(table, "n int64!, text string", key=["n"])
    project.functions("""
        import time

        def copy(row, *, seconds):
            if seconds:
                time.sleep(seconds)
            return row
    """)
    for name, source, target in (("first", "src", "mid"), ("second", "mid", "out")):
        project.job(
            name,
            read(f"{source}.numbers", incremental=not_exists(f"{target}.numbers", "n")),
            call("copy", arguments={"seconds": {"param": "seconds"}}),
            write(f"{target}.numbers"),
            params={"seconds": {"type": "float64", "default": 0.0}},
        )
    project.pipeline("both", stages=[{"name": "a", "jobs": ["first"]}, {"name": "b", "jobs": ["second"]}])
    project.fill("src.numbers", [{"n": n, "text": f"text {n}"} for n in range(ROWS)])
    return project


def cancelled_run(
    settings: Settings, *, when: When, seconds: str = "0", after: float = 0, by: str = "scope"
) -> tuple[PipelineRun, float] | None:
    """Start `both`, cancel it `after` seconds after the first event for which `when` holds, and return the stored
    run and how many seconds it took from the cancellation to the end; None when the run was over before.

    `by` a cancel scope of anyio, or by `Task.cancel()` of asyncio.
    """
    cancelled_at: list[float] = []
    timers: list[asyncio.TimerHandle] = []

    async def execute() -> float | None:
        task, scope = asyncio.current_task(), anyio.CancelScope()
        assert task is not None

        def cancel() -> None:
            cancelled_at.append(time.monotonic())
            (scope if by == "scope" else task).cancel()

        def on_event(event: Event) -> None:
            if when(event) and not timers:
                timers.append(asyncio.get_running_loop().call_later(after, cancel))

        async with PipelineRunner.open(settings) as pipelines:
            try:
                with scope:
                    await pipelines.run("both", params={"seconds": seconds}, on_event=on_event)
                    timers[0].cancel()
            except asyncio.CancelledError:
                task.uncancel()
            return time.monotonic() - cancelled_at[0] if cancelled_at else None

    elapsed = anyio.run(execute)
    store = FileRunStore(settings.runs_dir)
    return None if elapsed is None else (store.load(store.resolve("last")), elapsed)


def in_the_read(event: Event) -> bool:
    """Tell that the first job has just begun."""
    return isinstance(event, JobStarted)


def in_the_call(event: Event) -> bool:
    """Tell that the read has given a batch."""
    return isinstance(event, StepProgress) and event.step_id == "read"


def in_the_write(event: Event) -> bool:
    """Tell that the call has given a batch: what follows is the write and the landing."""
    return isinstance(event, StepProgress) and event.step_id == "copy"


def between_jobs(event: Event) -> bool:
    """Tell that the first job is over."""
    return isinstance(event, JobFinished)


CASES: dict[str, tuple[When, str, float]] = {
    "in the read": (in_the_read, "0.01", 0),
    "in the call": (in_the_call, "0.01", 0.1),
    "in the write": (in_the_write, "0", 0),
    "between jobs": (between_jobs, "0", 0),
}


@pytest.mark.parametrize("by", ["scope", "task"])
@pytest.mark.parametrize("case", CASES)
def test_it_is_recorded_and_the_next_run_completes(copying: ThrowAwayProject, case: str, by: str) -> None:
    when, seconds, after = CASES[case]
    settings = copying.settings(batch_rows=100)
    threads, files = set(threading.enumerate()), psutil.Process().num_fds()

    found = cancelled_run(settings, when=when, seconds=seconds, after=after, by=by)

    assert found is not None
    run, elapsed = found
    assert elapsed < 1
    assert run.status is Status.CANCELLED
    assert run.completed_at is not None
    first, second = run.jobs
    assert second.status in (Status.SKIPPED, Status.CANCELLED)
    if case == "between jobs":
        assert (first.status, first.rows_written) == (Status.SUCCESS, ROWS)
    else:
        assert (first.status, first.rows_written) == (Status.CANCELLED, 0)
        assert "failure" not in {timing.status.value for timing in first.step_timings}
        assert step_of(first, "read").status in (Status.CANCELLED, Status.SKIPPED)
    if case == "in the call":
        assert step_of(first, "copy").status is Status.CANCELLED
        assert step_of(first, "read").rows_read == 100
    for thread in set(threading.enumerate()) - threads:
        thread.join(1)
    assert set(threading.enumerate()) == threads
    assert psutil.Process().num_fds() == files

    assert copying.run("both").status is Status.SUCCESS
    copied = copying.rows("SELECT count(*) AS n, count(DISTINCT n) AS keys FROM out.numbers")
    assert copied == [{"n": ROWS, "keys": ROWS}]


def test_wherever_it_is_cancelled_the_outcome_is_that_of_an_undisturbed_run(
    copying: ThrowAwayProject, make_project: Callable[[], ThrowAwayProject]
) -> None:
    undisturbed = declared(make_project())
    undisturbed.run("both")
    settings = copying.settings(batch_rows=50)
    cancelled = 0
    for number in range(10):
        by = ("scope", "task")[number % 2]
        found = cancelled_run(settings, when=in_the_read, after=number * 0.012, by=by)
        if found is None:
            break
        cancelled += 1
        # Cancelled while its events were sent, the run itself was over.
        assert found[0].status in (Status.CANCELLED, Status.SUCCESS)

    assert cancelled > 2
    assert copying.run("both").status is Status.SUCCESS
    assert digests(settings.warehouse_path, without=PROCESSING) == digests(
        undisturbed.settings().warehouse_path, without=PROCESSING
    )


class SlowCommit:
    """A DuckDB connection that calls `before` in the thread that commits a landing, and only then commits."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, before: Callable[[], None]) -> None:
        self._connection = connection
        self._before = before
        self._marked = False

    def execute(self, query: str, *values: Any) -> SlowCommit:
        """Send a statement; the commit that follows a marker is announced."""
        if '"landings"' in query and query.startswith("INSERT"):
            self._marked = True
        if query == "COMMIT" and self._marked:
            self._before()
        self._connection.execute(query, *values)
        return self

    def cursor(self) -> SlowCommit:
        """Return a cursor of the same kind."""
        return SlowCommit(self._connection.cursor(), self._before)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def test_a_landing_that_was_being_committed_is_told(
    copying: ThrowAwayProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = copying.settings()
    seen: list[Event] = []
    scopes: list[tuple[asyncio.AbstractEventLoop, anyio.CancelScope]] = []

    def cancel_now() -> None:
        loop, scope = scopes[0]
        loop.call_soon_threadsafe(scope.cancel)
        time.sleep(0.1)

    connect = duckdb.connect
    monkeypatch.setattr(duckdb, "connect", lambda *given: SlowCommit(connect(*given), cancel_now))

    async def execute() -> None:
        async with PipelineRunner.open(settings) as pipelines:
            with anyio.CancelScope() as scope:
                scopes.append((asyncio.get_running_loop(), scope))
                await pipelines.run("both", on_event=seen.append)

    anyio.run(execute)
    monkeypatch.undo()

    assert scopes[0][1].cancelled_caught
    (notice,) = [event for event in seen if isinstance(event, Noticed) and event.code == "landing.committed"]
    assert (notice.job_id, notice.step_id) == ("first", "write")
    store = FileRunStore(settings.runs_dir)
    assert store.load(store.resolve("last")).status is Status.CANCELLED
    assert copying.rows("SELECT count(*) AS n FROM mid.numbers") == [{"n": ROWS}]
    run = copying.run("both")
    assert (job_of(run, "first").rows_read, job_of(run, "second").rows_read) == (0, ROWS)
