"""What the pages keep of a run store: runs that are over, as they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from runner.cli.page.reading import Reading
from runner.fold import fold_run
from runner.ids import new_ulid
from runner.records import Status
from runner.run_store import FileRunStore
from runner.testing.run_history import run_history

START = datetime(2026, 2, 12, 6, tzinfo=UTC)


def put(store: FileRunStore) -> Path:
    """Write a run that succeeded."""
    events = run_history(started_at=START)
    writer = store.create(events[0].run_id, "daily", START)
    writer.append(events)
    writer.write_run(fold_run(events, run_id=events[0].run_id))
    writer.close()
    return writer.path


def test_a_run_that_could_not_be_read_is_read_again(tmp_path: Path) -> None:
    """A server may be out of descriptors for a moment, and goes on for weeks."""
    store = FileRunStore(tmp_path)
    path = put(store)
    reading = Reading(store)
    summary, events = path / "run.json", path / "events.jsonl"
    was = summary.read_bytes(), events.read_bytes()

    def told() -> list[Status]:
        by_name, latest = reading.latest(each=5, overall=5)
        return [run.status for run in (*by_name["daily"], *latest)]

    summary.unlink()
    events.write_bytes(b"no event\n{}\n")
    assert told() == [Status.CRASHED] * 2
    summary.write_bytes(was[0])
    events.write_bytes(was[1])
    assert told() == [Status.SUCCESS] * 2

    summary.unlink()
    events.unlink()
    assert told() == [Status.SUCCESS] * 2, "it is over, and is not read again"


def test_the_newest_run_of_a_name_is_one_that_has_begun(tmp_path: Path) -> None:
    """One that was killed before has nothing to show, and one that is about to begin not yet."""
    store = FileRunStore(tmp_path)
    put(store)
    (begun,) = store.latest()
    store.create(new_ulid(), "daily", START + timedelta(hours=1)).close()

    assert Reading(store).run_id_of("daily") == begun.pipeline_run_id
