"""What every run store keeps, whatever it keeps it in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner.errors import RunNotFound, UsageError
from runner.events import Event, JobFinished, JobStarted, RunFinished, RunStarted, StepFinished
from runner.fold import fold_run
from runner.ids import new_ulid
from runner.ports import RunStore, RunWriter
from runner.records import PipelineRun, Status, StepTiming
from runner.run_store import FileRunStore
from runner.testing.memory_run_store import MemoryRunStore
from runner.testing.run_history import run_history

AT = datetime(2026, 2, 12, 6, tzinfo=UTC)

STORES: dict[str, Callable[[Path], RunStore]] = {
    "files": lambda folder: FileRunStore(folder / "runs"),
    "memory": lambda folder: MemoryRunStore(),
}


@pytest.fixture(params=list(STORES.values()), ids=list(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RunStore:
    """An empty store of each kind."""
    made: RunStore = request.param(tmp_path)
    return made


def begin(store: RunStore, events: list[Event]) -> RunWriter:
    """Make the place of a run and write nothing yet."""
    started = events[0]
    assert isinstance(started, RunStarted)
    return store.create(started.run_id, started.name, started.timestamp)


def keep(store: RunStore, events: list[Event], *, summary: bool = True) -> str:
    """Write a whole run as the recorder does, and let go of it."""
    writer = begin(store, events)
    run_id = events[0].run_id
    for event in events:
        writer.append([event])
        if isinstance(event, JobFinished):
            writer.write_job(event.record)
        elif isinstance(event, RunStarted) or (summary and isinstance(event, RunFinished)):
            writer.write_run(fold(events[: events.index(event) + 1]))
    writer.sync()
    writer.close()
    return run_id


def fold(events: list[Event], *, alive: bool = True) -> PipelineRun:
    """The run that these events tell of."""
    return fold_run(events, run_id=events[0].run_id, alive=alive)


def test_a_finished_run_comes_back(store: RunStore) -> None:
    """With its jobs and events, and no longer alive."""
    events = run_history(failing=["scores"], started_at=AT)
    run_id = keep(store, events)
    assert store.load(run_id) == fold(events)
    assert list(store.events(run_id)) == events
    assert store.load(run_id).status is Status.PARTIAL
    assert not store.is_alive(run_id)


def test_a_living_run_is_running_and_shows_what_it_has_done(store: RunStore) -> None:
    """Also to others, while it is written."""
    events = run_history(started_at=AT)
    writer = begin(store, events)
    writer.append(events[:3])
    writer.append(events[3:6])
    run = store.load(events[0].run_id)
    assert store.is_alive(run.pipeline_run_id)
    told = fold(events[:6])
    assert told.duration_ms < 1e6 < run.duration_ms  # it has lasted from 2026 until now
    assert replace(run, duration_ms=told.duration_ms) == told
    assert run.status is Status.RUNNING
    assert [listed.status for listed in store.latest()] == [Status.RUNNING]
    writer.close()


def test_what_a_crashed_run_took_is_told_to_the_microsecond(store: RunStore) -> None:
    """As everywhere: a sum of fractions has many more digits."""
    started, begun, *_ = run_history(jobs=["a"], started_at=AT)
    assert isinstance(begun, JobStarted)
    steps = [
        StepFinished(
            run_id=begun.run_id, job_run_id=begun.job_run_id, job_id="a",
            timestamp=AT + timedelta(microseconds=387_294),
            timing=StepTiming(step_id=step_id, duration_ms=0.1),
        )
        for step_id in "xyz"
    ]  # fmt: skip
    run = store.load(keep(store, [started, begun, *steps]))

    assert (run.status, run.duration_ms, run.jobs[0].duration_ms) == (Status.CRASHED, 387.294, 0.3)


def test_a_run_whose_writer_is_gone_has_crashed(store: RunStore) -> None:
    """What had begun is crashed and keeps its landed rows, what had not is skipped."""
    events = run_history(jobs=["a", "b", "c"], started_at=AT)
    cut = [event.event_type for event in events].index("job.finished") + 4
    run_id = keep(store, events[:cut])
    run = store.load(run_id)
    assert run == fold(events[:cut], alive=False)
    assert run.status is Status.CRASHED
    assert [job.status for job in run.jobs] == [Status.SUCCESS, Status.CRASHED, Status.SKIPPED]
    assert [job.rows_written for job in run.jobs] == [60, 60, 0]
    assert store.latest()[0] == run.without_jobs()


def test_an_end_without_a_summary_is_an_end(store: RunStore) -> None:
    """Killed between its last event and the summary: the events count."""
    events = run_history(started_at=AT)
    run_id = keep(store, events, summary=False)
    assert store.load(run_id) == fold(events)
    assert store.latest()[0].status is Status.SUCCESS


def test_a_run_without_events_never_began(store: RunStore) -> None:
    """Killed before its first event, it did nothing; while its writer is open it is about to begin."""
    events = run_history(started_at=AT)
    writer = begin(store, events)
    run_id = events[0].run_id
    assert store.is_alive(run_id)
    assert store.load(run_id).status is Status.RUNNING
    writer.close()
    assert list(store.latest()) == []
    assert list(store.events(run_id)) == []
    with pytest.raises(RunNotFound, match="before it began"):
        store.load(run_id)


def test_runs_are_listed_newest_first(store: RunStore) -> None:
    """Without jobs but with their rows, as many as asked for, of one name if asked for."""
    kept = [
        keep(store, run_history(name=name, rows=rows, started_at=AT + timedelta(days=days)))
        for days, (name, rows) in enumerate([("daily", 1), ("ingest", 2), ("daily", 3)])
    ]
    runs = store.latest()
    assert [run.pipeline_run_id for run in runs] == kept[::-1]
    assert [(run.jobs, run.rows_read, run.rows_written) for run in runs] == [
        ((), 6, 6),
        ((), 4, 4),
        ((), 2, 2),
    ]
    assert [run.pipeline_run_id for run in store.latest(limit=2)] == kept[:0:-1]
    assert [run.pipeline_run_id for run in store.latest(name="daily")] == [kept[2], kept[0]]
    assert [run.pipeline_run_id for run in store.latest(limit=1, name="ingest")] == [kept[1]]
    assert list(store.latest(limit=0)) == []
    assert list(store.latest(name="dail")) == []


def test_references_are_resolved(store: RunStore) -> None:
    """An id, the unique beginning of one in either case, two words, and the name of a pipeline or job."""
    failed = keep(store, run_history(failing=["intake", "scores"], started_at=AT))
    fine = keep(store, run_history(started_at=AT + timedelta(hours=1)))
    assert store.resolve(fine) == fine
    assert store.resolve(fine.lower()) == fine
    assert store.resolve("last") == fine
    assert store.resolve("last-failed") == failed
    unique = next(n for n in range(1, 27) if not failed.startswith(fine[:n]))
    assert store.resolve(fine[:unique]) == fine
    with pytest.raises(UsageError, match=f"fits 2 runs.*{fine}") as ambiguous:
        store.resolve(fine[: unique - 1])
    assert failed in str(ambiguous.value)


def test_a_name_is_its_newest_run_and_one_that_is_near_is_named(store: RunStore) -> None:
    keep(store, run_history(name="daily", started_at=AT))
    daily = keep(store, run_history(name="daily", started_at=AT + timedelta(hours=1)))
    keep(store, run_history(name="ingest", started_at=AT + timedelta(hours=2)))
    assert store.resolve("daily") == daily
    with pytest.raises(RunNotFound, match=r"no run 'dayly' in the run store \(did you mean 'daily'\?\)"):
        store.resolve("dayly")
    with pytest.raises(RunNotFound, match="run-pipeline runs lists them"):
        store.resolve("01ZZ")


def test_a_name_passes_over_runs_that_were_killed_before_they_began(store: RunStore) -> None:
    """As `last` does: nothing can be told of them. Where there is no other, it is found, and why it is none."""
    store.create(new_ulid(), "ingest", AT).close()
    daily = keep(store, run_history(name="daily", started_at=AT + timedelta(hours=1)))
    store.create(new_ulid(), "daily", AT + timedelta(hours=2)).close()
    assert store.resolve("last") == store.resolve("daily") == daily
    with pytest.raises(RunNotFound, match="before it began"):
        store.load(store.resolve("ingest"))


@pytest.mark.parametrize(
    "reference", ["last", "last-failed", "", "0", "../..", "01ZZZZZZZZZZZZZZZZZZZZZZZZ", "*"]
)
def test_what_is_not_there_is_not_found(store: RunStore, reference: str) -> None:
    """In an empty store, by any reference."""
    with pytest.raises(RunNotFound):
        store.resolve(reference)
    for question in (store.load, store.events, store.is_alive):
        with pytest.raises(RunNotFound):
            question(reference)


def test_last_failed_passes_over_what_was_cancelled(store: RunStore) -> None:
    """Someone wanted that; a crash nobody wanted."""
    crashed = keep(store, run_history(started_at=AT)[:3])
    events = run_history(jobs=[], started_at=AT + timedelta(days=1))
    end = RunFinished(run_id=events[0].run_id, status=Status.CANCELLED, duration_ms=1)
    cancelled = keep(store, [events[0], end])
    assert store.resolve("last") == cancelled
    assert store.resolve("last-failed") == crashed


def test_a_run_id_is_a_ulid_and_is_used_once(store: RunStore) -> None:
    """It orders the runs, and is part of a path."""
    run_id = new_ulid()
    store.create(run_id, "daily", AT).close()
    with pytest.raises(FileExistsError, match=run_id):
        store.create(run_id, "daily", AT)
    for wrong in ("", "R", "../../x", run_id.lower(), run_id + "\n"):
        with pytest.raises(ValueError, match="is not a ULID"):
            store.create(wrong, "daily", AT)


def test_a_record_may_be_written_again(store: RunStore) -> None:
    """The recorder repeats what a full disk refused."""
    events = run_history(started_at=AT)
    writer = begin(store, events)
    finished = next(event for event in events if isinstance(event, JobFinished))
    writer.append(events)
    writer.write_job(finished.record)
    writer.write_job(finished.record)
    writer.write_run(fold(events))
    writer.write_run(fold(events))
    writer.close()
    writer.close()
    assert store.load(events[0].run_id) == fold(events)


def test_a_run_that_began_before_midnight_or_whose_clock_was_set_is_found(store: RunStore) -> None:
    """Its id and its start may tell different days."""
    for days in (-400, -1, 0, 1):
        started_at = datetime.now(UTC) + timedelta(days=days)
        run_id = keep(store, run_history(started_at=started_at))
        assert store.load(run_id).started_at == started_at
        assert store.resolve(run_id) == run_id
