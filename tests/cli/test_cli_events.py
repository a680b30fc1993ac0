"""events: out of the warehouse, and out of the files where it cannot be asked; the same either way."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Any

import pytest

from runner.clock import format_utc, utc_now
from runner.run_store import FileRunStore
from runner.testing.run_history import run_history
from runner.testing.timed_history import TimedJob, timed_history
from tests.cli.demo_project import DemoProject
from tests.cli.test_cli_stats import put

LONG = TimedJob(job_id="dig", steps={"read": 9.9 * 3_600_000})


def events(project: DemoProject, *words: str) -> tuple[list[dict[str, Any]], str]:
    """The events as data, and what was said."""
    done = project.run("events", *words, "-o", "json")
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout)), done.stderr


def test_the_warehouse_and_the_files_have_the_same_events(loaded: DemoProject) -> None:
    stored, said = events(loaded)
    written, said_of_files = events(loaded, "--from", "files")

    assert "from ops.event_log of the warehouse" in said
    assert "from the files of the run store" in said_of_files
    assert stored == written
    assert [event["event_type"] for event in (stored[0], stored[-1])] == ["run.started", "run.finished"]
    assert len({event["event_id"] for event in stored}) == len(stored)


def test_while_the_warehouse_is_held_the_files_are_read_and_it_is_said(loaded: DemoProject) -> None:
    import duckdb

    with duckdb.connect(str(loaded.folder / "var" / "warehouse.duckdb")):
        found, said = events(loaded, "--type", "job.finished")
        refused = loaded.run("events", "--from", "warehouse")

    assert [event["producer_component"] for event in found] == ["load_people", "greet_people"]
    assert "the warehouse cannot be asked" in said
    assert "from the files of the run store" in said
    assert refused.returncode == 75


@pytest.mark.parametrize("source", ["warehouse", "files"])
def test_events_can_be_searched(source: str, loaded: DemoProject) -> None:
    run_id = FileRunStore(loaded.folder / "var" / "runs").resolve("last")
    later = format_utc(utc_now() + timedelta(hours=1))

    def types(*words: str) -> list[str]:
        return [event["event_type"] for event in events(loaded, "--from", source, *words)[0]]

    assert types("--type", "job.landed", "--type", "job.started", "--job", "load_people") == [
        "job.started", "job.landed",
    ]  # fmt: skip
    assert types("--limit", "2")[-1] == "run.finished"
    assert len(types("--limit", "2")) == 2
    assert types("--since", later) == []
    assert set(types("--run", run_id[:12], "--type", "run.started")) == {"run.started"}
    assert types("--type", "no.such") == []


def test_before_the_first_run_nothing_is_made(project: DemoProject) -> None:
    found, said = events(project)
    assert found == []
    assert "from the files of the run store" in said
    assert not (project.folder / "var" / "warehouse.duckdb").exists()


def test_a_warehouse_that_is_asked_for_by_name_answers_or_fails(project: DemoProject) -> None:
    """The files are no answer then, and to ask makes no database."""
    import duckdb

    warehouse = project.folder / "var" / "warehouse.duckdb"
    put(project, run_history("hello"), "hello")
    missing = project.run("events", "--from", "warehouse")
    assert missing.returncode == 2
    assert f"there is no {warehouse}" in missing.stderr
    assert not warehouse.exists()

    duckdb.connect(str(warehouse)).close()
    empty = project.run("events", "--from", "warehouse")
    assert empty.returncode == 2
    assert "has no ops.event_log yet" in empty.stderr
    assert (missing.stdout, empty.stdout) == ("", "")
    assert len(events(project)[0]) > 0


def test_files_whose_clock_is_a_little_behind_that_of_events_are_read(project: DemoProject) -> None:
    """The kernel tells the time of a write some milliseconds too early, the disk of another machine by more."""
    store, end = FileRunStore(project.folder / "var" / "runs"), utc_now() - timedelta(minutes=8)
    job = TimedJob(job_id="a", steps={"read": 60_000.0})
    ids = {}
    for name, ended_ms, written_ms in (("older", -2, -5), ("newer", 0, -6)):
        begun = end + timedelta(milliseconds=ended_ms - 60_000)
        ids[name] = put(project, timed_history(name, [job], started_at=begun), name)
        written = (end + timedelta(milliseconds=written_ms)).timestamp()
        os.utime(store.path(ids[name]) / "events.jsonl", (written, written))

    for words in (["--limit", "1"], ["--since", format_utc(end)]):
        found, _ = events(project, "--from", "files", *words)
        assert {event["correlation_id"] for event in found} == {ids["newer"]}


def test_files_tell_the_newest_events_also_of_a_run_that_began_before_others(project: DemoProject) -> None:
    """A run of ten hours, and one that began and ended within it."""
    now = utc_now()
    long = put(project, timed_history("long", [LONG], started_at=now - timedelta(hours=10)), "long")
    put(project, run_history("short", started_at=now - timedelta(hours=5)), "short")

    def told(*words: str) -> list[tuple[str, str]]:
        found, _ = events(project, "--from", "files", *words)
        return [(event["correlation_id"], event["event_type"]) for event in found]

    assert told("--limit", "2") == [(long, "job.finished"), (long, "run.finished")]
    assert {run_id for run_id, _ in told("--since", format_utc(now - timedelta(hours=1)))} == {long}
    assert len(told()) > len(told("--last", "6h")) > len(told("--last", "1h"))


def test_what_is_not_in_the_warehouse_yet_is_counted(loaded: DemoProject) -> None:
    history = run_history("hello")
    put(loaded, history, "hello")
    (loaded.folder / "var" / "outbox").mkdir(exist_ok=True)
    (loaded.folder / "var" / "outbox" / history[0].run_id).touch()

    _, said = events(loaded)
    assert "those of 1 run are not there yet" in said


def test_events_as_a_table(loaded: DemoProject) -> None:
    done = loaded.run("events", "--type", "run.finished")
    head, line = (each.split() for each in done.stdout.splitlines())
    assert head == ["time", "run", "component", "type", "status", "error"]
    assert line[3:] == ["pipeline.hello", "run.finished", "success"]
