"""Asking the file store for many runs: by name, time and status, whatever state their files are in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner.errors import RunNotFound
from runner.fold import fold_run
from runner.records import ErrorInfo, Status
from runner.run_store import FileRunStore
from runner.testing.timed_history import TimedJob, timed_history

START = datetime(2026, 2, 12, 6, tzinfo=UTC)
BROKEN = ErrorInfo(category="quota", message="too much")


def put(
    store: FileRunStore, hours: int, name: str = "daily", *, failing: int = 0, lines: int | None = None
) -> Path:
    """Write a run of two jobs so many hours after the start; `lines`: only its first events, and no summary."""
    jobs = [
        TimedJob(job_id=f"j{number}", steps={"read": 10.0}, error=BROKEN if number < failing else None)
        for number in range(2)
    ]
    events = timed_history(name, jobs, started_at=START + timedelta(hours=hours))
    writer = store.create(events[0].run_id, name, events[0].timestamp)
    writer.append(events[:lines])
    if lines is None:
        writer.write_run(fold_run(events, run_id=events[0].run_id, alive=False))
    writer.close()
    return writer.path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileRunStore]:
    """Runs in every state: ended in three ways, alive, crashed, damaged, and of an old version."""
    store = FileRunStore(tmp_path)
    put(store, 0)
    put(store, 1, failing=1)
    put(store, 2, failing=2)
    put(store, 3, lines=3)
    (put(store, 4, lines=3) / "events.jsonl").write_bytes(b"no event\n{}\n")
    old = put(store, 5, failing=2) / "run.json"
    old.write_text(old.read_text().replace('\n  "status": "failure"', '\n  "status": "failed"'))
    (put(store, 6) / "run.json").write_bytes(b'\n  "status": "success", and then nothing')
    put(store, 30, "weekly")
    events = timed_history("daily", [TimedJob(job_id="a", steps={})], started_at=START + timedelta(hours=40))
    writer = store.create(events[0].run_id, "daily", events[0].timestamp)
    writer.append(events[:1])
    writer.write_run(fold_run(events[:1], run_id=events[0].run_id))
    yield store
    writer.close()


def test_a_status_finds_just_the_runs_that_have_it(store: FileRunStore) -> None:
    runs = list(store.scan())
    assert [run.status.value for run in runs] == [
        "running", "success", "success", "failure", "crashed", "crashed", "failure", "partial", "success",
    ]  # fmt: skip
    for status in Status:
        found = [run.pipeline_run_id for run in store.scan(status=status)]
        assert found == [run.pipeline_run_id for run in runs if run.status is status]


def test_jobs_come_along_when_they_are_asked_for(store: FileRunStore) -> None:
    whole = list(store.scan(jobs=True))
    told = [(run.pipeline_run_id, run.status, run.rows_written) for run in store.scan()]
    assert [(run.pipeline_run_id, run.status, run.rows_written) for run in whole] == told
    assert [len(run.jobs) for run in whole] == [0, 2, 2, 2, 0, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("since", "name", "hours"),
    [
        (START + timedelta(hours=6), None, [40, 30, 6]),
        (START + timedelta(hours=6, milliseconds=1), None, [40, 30]),
        (START + timedelta(hours=31), "daily", [40]),
        (START + timedelta(hours=41), None, []),
        (START - timedelta(days=9), "weekly", [30]),
    ],
)
def test_a_time_is_where_runs_begin(
    since: datetime, name: str | None, hours: list[int], store: FileRunStore
) -> None:
    found = [run.started_at - START for run in store.scan(since=since, name=name)]
    assert found == [timedelta(hours=number) for number in hours]


def test_a_run_that_was_removed_meanwhile_is_none_and_the_list_goes_on(tmp_path: Path) -> None:
    """Whoever lists runs may be overtaken by `prune`."""
    store = FileRunStore(tmp_path)
    for hours in range(3):
        put(store, hours)
    listing = store.ids()
    newest, _ = next(listing)
    removed, _ = list(FileRunStore(tmp_path).ids())[1]
    FileRunStore(tmp_path).remove(removed)

    seen = [newest, *(run_id for run_id, _ in listing)]
    found = [store.one(run_id, jobs=False) for run_id in seen]

    assert [run.pipeline_run_id if run else None for run in found] == [seen[0], None, seen[2]]
    with pytest.raises(RunNotFound):
        store.load(removed)


def test_a_run_that_is_found_where_it_was_seen_may_have_moved(tmp_path: Path) -> None:
    """A folder of a day that was put elsewhere and back under another day is found all the same."""
    store = FileRunStore(tmp_path)
    path = put(store, 0)
    ((run_id, _),) = store.ids()
    path.parent.rename(tmp_path / "2026-02-13")

    assert store.path(run_id) == tmp_path / "2026-02-13" / path.name


@pytest.mark.parametrize("since", [datetime.min.replace(tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC), START])
def test_all_runs_are_since_the_beginning_of_time(since: datetime, tmp_path: Path) -> None:
    store = FileRunStore(tmp_path)
    put(store, 0)
    assert len(list(store.scan(since=since))) == 1


def test_a_run_under_way_has_lasted_until_now(tmp_path: Path) -> None:
    """Also where its job says nothing for an hour: what its events tell ends with the last of them."""
    store = FileRunStore(tmp_path)
    begun = datetime.now(UTC) - timedelta(hours=1)
    events = timed_history("daily", [TimedJob(job_id="a", steps={"read": 5e6})], started_at=begun)
    writer = store.create(events[0].run_id, "daily", begun)
    try:
        writer.append(events[:2])
        listed, whole = next(store.scan()), store.load(events[0].run_id)
    finally:
        writer.close()

    assert [run.status for run in (listed, whole, whole.jobs[0])] == [Status.RUNNING] * 3
    assert [run.duration_ms for run in (listed, whole, whole.jobs[0])] == pytest.approx([3.6e6] * 3, abs=6e4)
    crashed = store.load(events[0].run_id)
    assert (crashed.status, crashed.duration_ms) == (Status.CRASHED, 0)


def test_whether_a_run_has_events_of_a_kind_is_seen_without_decoding_them(tmp_path: Path) -> None:
    """Also in a file that is damaged: who reads it then will say so."""
    store = FileRunStore(tmp_path)
    path = put(store, 0)
    run_id = next(store.ids())[0]
    assert store.may_have(run_id, ["job.retrying", "job.finished"])
    assert not store.may_have(run_id, ["job.retrying", "finished", "job.finished "])
    (path / "events.jsonl").write_bytes(b'no "job.retrying"\n')
    assert store.may_have(run_id, ["job.retrying"])
    (path / "events.jsonl").unlink()
    assert not store.may_have(run_id, ["job.retrying"])
