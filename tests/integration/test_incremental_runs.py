"""Incremental reads over several runs: only what is new, once, and told when it cannot work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runner.events import Event, Noticed
from runner.records import Status
from tests.projects import ThrowAwayProject, call, job_of, not_exists, read, step_of, write

START = datetime(2026, 2, 1, tzinfo=UTC)


def notices(events: list[Event]) -> dict[str, Noticed]:
    """Return the notices of a run by code."""
    return {event.code: event for event in events if isinstance(event, Noticed)}


def scoring(project: ThrowAwayProject, **incremental: Any) -> None:
    """Declare events, three observations each, and the job between them."""
    project.table("src.events", "event_id string, subject string, value int64", key=["event_id"])
    project.table(
        "out.observations",
        "observation_id string!, event_id string!, value int64, created_at timestamp, processed_at timestamp",
        key=["observation_id"],
    )
    project.functions("""
        def score(row):
            for code in ("a", "b", "c"):
                yield {"observation_id": f"obs:{row['event_id']}:{code}", "event_id": row["event_id"],
                       "value": row["value"]}
    """)
    project.job(
        "score",
        read("src.events", incremental=not_exists("out.observations", "event_id", **incremental)),
        call("score"),
        write("out.observations", set_on_insert=["created_at"], set_on_write=["processed_at"]),
    )


def events(first: int, last: int) -> list[dict[str, Any]]:
    """Return rows of src.events."""
    return [{"event_id": f"e{n:04}", "subject": f"s{n % 7}", "value": n} for n in range(first, last)]


def test_each_run_reads_only_what_is_new(project: ThrowAwayProject) -> None:
    scoring(project)
    project.fill("src.events", events(0, 60))

    first = job_of(project.run("score"))
    second = job_of(project.run("score"))
    project.fill("src.events", events(60, 70))
    third = job_of(project.run("score"))

    assert [(job.rows_read, job.rows_written) for job in (first, second, third)] == [
        (60, 180),
        (0, 0),
        (10, 30),
    ]
    assert {job.status for job in (first, second, third)} == {Status.SUCCESS}
    statuses = {timing.step_id: timing.status for timing in second.step_timings}
    assert statuses == {"read": Status.SUCCESS, "score": Status.SKIPPED, "write": Status.SKIPPED}
    assert project.rows("SELECT count(*) AS n, count(DISTINCT event_id) AS e FROM out.observations") == [
        {"n": 210, "e": 70}
    ]


def test_keys_that_cannot_match_are_told_in_the_first_run(project: ThrowAwayProject) -> None:
    scoring(project)
    project.functions("""
        def score(row):
            yield {"observation_id": f"obs:{row['event_id']}", "event_id": f"co:{row['event_id']}"}
    """)
    project.fill("src.events", [{"event_id": "abc123"}, {"event_id": "abc124"}])
    seen: list[Event] = []

    run = project.run("score", on_event=seen.append)

    notice = notices(seen)["incremental.ineffective"]
    assert run.status is Status.SUCCESS
    assert (notice.level, notice.job_id, notice.step_id) == ("warning", "score", "read")
    assert "read 'abc123', 'abc124' against written 'co:abc123', 'co:abc124'" in notice.message
    assert project.rows("SELECT * FROM ops.processed_keys") == [], "remembering would hide the mismatch"
    assert job_of(project.run("score")).rows_read == 2


def test_a_key_prefix_makes_them_match(project: ThrowAwayProject) -> None:
    scoring(project, key_prefix="co:")
    project.functions("""
        def score(row):
            yield {"observation_id": f"obs:{row['event_id']}", "event_id": f"co:{row['event_id']}"}
    """)
    project.fill("src.events", [{"event_id": "abc123"}, {"event_id": "abc124"}])
    seen: list[Event] = []

    assert job_of(project.run("score", on_event=seen.append)).rows_read == 2
    assert "incremental.ineffective" not in notices(seen)
    assert job_of(project.run("score")).rows_read == 0


def test_keys_that_gave_nothing_are_not_read_again(project: ThrowAwayProject) -> None:
    scoring(project)
    project.functions("""
        def score(row):
            if row["value"] % 2:
                return None
            return {"observation_id": row["event_id"], "event_id": row["event_id"], "value": row["value"]}
    """)
    project.fill("src.events", events(0, 10))

    first = job_of(project.run("score"))
    assert (first.rows_read, first.rows_written) == (10, 5)
    remembered = project.rows("SELECT key, reason FROM ops.processed_keys ORDER BY key")
    assert remembered == [{"key": f"e000{n}", "reason": "empty"} for n in (1, 3, 5, 7, 9)]
    assert job_of(project.run("score")).rows_read == 0


def test_not_remembered_they_come_back(project: ThrowAwayProject) -> None:
    scoring(project, remember_empty=False)
    project.functions("def score(row):\n    return None\n")
    project.fill("src.events", events(0, 3))

    assert job_of(project.run("score")).rows_read == 3
    assert job_of(project.run("score")).rows_read == 3


@pytest.mark.parametrize("gives", ["a row", "nothing"])
def test_rows_without_a_key_come_back_and_are_told(project: ThrowAwayProject, gives: str) -> None:
    scoring(project)
    result = "{'observation_id': str(row['value']), 'event_id': 'x'}" if gives == "a row" else "None"
    project.functions(f"def score(row):\n    return {result}\n")
    project.fill("src.events", [{"event_id": None, "value": 1}, {"event_id": None, "value": 2}])
    for _ in range(2):
        seen: list[Event] = []
        run = project.run("score", on_event=seen.append)
        assert run.rows_read == 2
        notice = notices(seen)["incremental.null_keys"]
        assert notice.details == {"rows": 2}
        assert notice.step_id == "read"


def test_left_anti_reads_what_changed_since(project: ThrowAwayProject) -> None:
    project.table("src.people", "person_id string!, name string, changed_at timestamp", key=["person_id"])
    project.table("out.people", "person_id string!, name string, changed_at timestamp", key=["person_id"])
    project.job(
        "copy",
        read(
            "src.people",
            incremental=not_exists("out.people", "person_id")
            | {"mode": "left_anti", "source_ts": "changed_at", "target_ts": "changed_at"},
        ),
        write("out.people"),
    )
    project.fill("src.people", [{"person_id": f"p{n}", "name": "old", "changed_at": START} for n in range(5)])

    assert (project.run("copy")).rows_read == 5
    assert (project.run("copy")).rows_read == 0

    with project.database() as connection:
        connection.execute(
            "UPDATE src.people SET name = 'new', changed_at = ? WHERE person_id IN ('p1', 'p3')",
            [START + timedelta(microseconds=1)],
        )
    run = project.run("copy")
    assert (run.rows_read, run.rows_written) == (2, 2)
    assert project.rows("SELECT person_id FROM out.people WHERE name = 'new' ORDER BY 1") == [
        {"person_id": "p1"}, {"person_id": "p3"}
    ]  # fmt: skip
    assert project.rows("SELECT count(*) AS n FROM out.people") == [{"n": 5}]
    assert (project.run("copy")).rows_read == 0


def test_left_anti_remembers_what_gave_nothing_until_it_is_newer(project: ThrowAwayProject) -> None:
    project.table("src.people", "person_id string!, changed_at timestamp", key=["person_id"])
    project.table("out.people", "person_id string!, changed_at timestamp", key=["person_id"])
    project.functions("def drop(row):\n    return None\n")
    project.job(
        "copy",
        read(
            "src.people",
            incremental=not_exists("out.people", "person_id")
            | {"mode": "left_anti", "source_ts": "changed_at", "target_ts": "changed_at"},
        ),
        call("drop"),
        write("out.people"),
    )
    project.fill("src.people", [{"person_id": "p1", "changed_at": START}])

    assert (project.run("copy")).rows_read == 1
    assert (project.run("copy")).rows_read == 0
    with project.database() as connection:
        connection.execute("UPDATE src.people SET changed_at = ?", [START + timedelta(seconds=1)])
    assert (project.run("copy")).rows_read == 1


@pytest.mark.parametrize("batch_rows", [1, 100])
def test_of_rows_with_one_key_the_last_wins(project: ThrowAwayProject, batch_rows: int) -> None:
    project.table("src.edits", "line int64!, person_id string!, name string")
    project.table("out.people", "person_id string!, name string", key=["person_id"])
    project.functions("def pick(row):\n    del row['line']\n    return row\n")
    project.job("fold", read("src.edits", order_by=["line"]), call("pick"), write("out.people"))
    project.fill(
        "src.edits",
        [{"line": n, "person_id": f"p{n % 3}", "name": f"name {n}"} for n in range(10)],
    )
    seen: list[Event] = []

    run = project.run("fold", on_event=seen.append, batch_rows=batch_rows)

    assert run.rows_written == 3
    assert notices(seen)["rows.duplicate_keys"].details == {"duplicates": 7}
    assert project.rows("SELECT * FROM out.people ORDER BY 1") == [
        {"person_id": "p0", "name": "name 9"},
        {"person_id": "p1", "name": "name 7"},
        {"person_id": "p2", "name": "name 8"},
    ]


def test_what_is_set_on_insert_survives_an_update(project: ThrowAwayProject) -> None:
    scoring(project)
    project.job(
        "again",
        read("src.events"),
        call("score"),
        write("out.observations", set_on_insert=["created_at"], set_on_write=["processed_at"]),
    )
    project.fill("src.events", events(0, 2))
    query = "SELECT observation_id, created_at, processed_at FROM out.observations ORDER BY 1"

    project.run("again")
    before = project.rows(query)
    project.run("again")
    after = project.rows(query)

    assert [row["created_at"] for row in after] == [row["created_at"] for row in before]
    assert all(row["created_at"] == row["processed_at"] for row in before)
    assert all(new["processed_at"] > old["processed_at"] for new, old in zip(after, before, strict=True))


def test_a_limit_takes_the_rest_in_the_next_runs(project: ThrowAwayProject) -> None:
    scoring(project)
    project.job(
        "score",
        read(
            "src.events",
            incremental=not_exists("out.observations", "event_id"),
            order_by=["event_id"],
            limit=4,
        ),
        call("score"),
        write("out.observations"),
    )
    project.fill("src.events", events(0, 10))

    read_rows = [job_of(project.run("score")).rows_read for _ in range(4)]

    assert read_rows == [4, 4, 2, 0]
    assert project.rows("SELECT count(DISTINCT event_id) AS n FROM out.observations") == [{"n": 10}]


def test_nothing_to_read_in_an_empty_source(project: ThrowAwayProject) -> None:
    scoring(project)

    job = job_of(project.run("score"))

    assert job.status is Status.SUCCESS
    assert (job.rows_read, job.rows_written) == (0, 0)
    assert step_of(job, "write").status is Status.SKIPPED
    assert project.rows("SELECT * FROM ops.landings") == []
