"""Rescoring: what is released is computed again in one landing, and nothing else is touched."""

from __future__ import annotations

from typing import Any

import pytest

from runner.events import Event
from runner.ports import Release
from runner.specs import Filter
from tests.projects import ThrowAwayProject, call, digests, extract, job_of, not_exists, read, write

OBSERVATIONS = "SELECT *, (o)::VARCHAR AS line FROM out.observations AS o ORDER BY observation_id"


@pytest.fixture
def scored(project: ThrowAwayProject) -> ThrowAwayProject:
    """Sixty events of three bindings, scored once."""
    project.table("src.events", "event_id string!, binding_id string!, value int64", key=["event_id"])
    project.table(
        "out.observations",
        "observation_id string!, event_id string!, binding_id string!, value int64, processed_at timestamp",
        key=["observation_id"],
    )
    project.functions("""
        def score(row):
            if row["value"] == 13:
                raise ValueError("unlucky")
            return [{"observation_id": f"{row['event_id']}:{code}", "event_id": row["event_id"],
                     "binding_id": row["binding_id"], "value": row["value"]} for code in ("a", "b")]
    """)
    project.job(
        "score",
        read("src.events", incremental=not_exists("out.observations", "event_id")),
        call("score", on_bad_row="quarantine"),
        write("out.observations", set_on_write=["processed_at"]),
    )
    project.fill(
        "src.events", [{"event_id": f"e{n:02}", "binding_id": f"b{n % 3}", "value": n} for n in range(60)]
    )
    assert job_of(project.run("score")).rows_written == 59 * 2
    return project


def release(**options: Any) -> dict[str, Release]:
    """Return the releases of a rescore of the job `score`."""
    return {"score": Release(**options)}


def one_binding() -> dict[str, Release]:
    """Release the observations of binding b1."""
    return release(filters=(Filter(column="binding_id", value="b1"),))


def test_one_binding_is_computed_again_and_the_others_stay_as_they_are(scored: ThrowAwayProject) -> None:
    before = scored.rows(OBSERVATIONS)
    scored.functions("""
        def score(row):
            return {"observation_id": f"{row['event_id']}:a", "event_id": row["event_id"],
                    "binding_id": row["binding_id"], "value": row["value"] + 1000}
    """)
    scored.forget()

    job = job_of(scored.run("score", releases=one_binding()))

    after = scored.rows(OBSERVATIONS)
    # e13 is in quarantine and belongs to b1, but no observation of it was released.
    assert (job.rows_read, job.rows_written) == (19, 19)
    assert [row for row in after if row["binding_id"] != "b1"] == [
        row for row in before if row["binding_id"] != "b1"
    ]
    rescored = [row for row in after if row["binding_id"] == "b1"]
    assert len(rescored) == 19, "observations that are not made any more are gone"
    assert all(row["value"] >= 1000 for row in rescored)
    assert min(row["processed_at"] for row in rescored) > max(row["processed_at"] for row in before)
    assert job_of(scored.run("score")).rows_read == 0


def test_a_rescore_whose_read_finds_nothing_deletes_nothing(scored: ThrowAwayProject) -> None:
    before = scored.rows(OBSERVATIONS)
    with scored.database() as connection:
        connection.execute("DELETE FROM src.events")

    job = job_of(scored.run("score", releases=one_binding()))

    assert (job.rows_read, job.rows_written) == (0, 0)
    assert scored.rows(OBSERVATIONS) == before


def test_what_the_source_no_longer_has_is_left_alone(scored: ThrowAwayProject) -> None:
    with scored.database() as connection:
        connection.execute("DELETE FROM src.events WHERE event_id = 'e01'")

    assert job_of(scored.run("score", releases=one_binding())).rows_read == 18
    assert len(scored.rows("SELECT * FROM out.observations WHERE event_id = 'e01'")) == 2


def test_a_rescore_that_fails_changes_nothing(scored: ThrowAwayProject) -> None:
    before = digests(scored.settings().warehouse_path)
    scored.functions("def score(row):\n    raise RuntimeError('no')\n")
    scored.forget()

    run = scored.run("score", releases=one_binding())

    assert run.status == "failure"
    assert digests(scored.settings().warehouse_path) == before


def test_quarantined_rows_come_back_when_they_are_released(scored: ThrowAwayProject) -> None:
    assert scored.rows("SELECT key, reason FROM ops.processed_keys") == [
        {"key": "e13", "reason": "quarantined"}
    ]
    assert job_of(scored.run("score")).rows_read == 0
    seen: list[Event] = []

    again = job_of(scored.run("score", releases=release(quarantined=True), on_event=seen.append))
    assert (again.rows_read, again.rows_written, again.rows_quarantined) == (1, 0, 1)
    assert job_of(scored.run("score")).rows_read == 0, "still refused, still remembered"

    scored.functions("""
        def score(row):
            return {"observation_id": f"{row['event_id']}:a", "event_id": row["event_id"],
                    "binding_id": row["binding_id"], "value": row["value"]}
    """)
    scored.forget()
    mended = job_of(scored.run("score", releases=release(quarantined=True)))
    assert (mended.rows_read, mended.rows_written, mended.rows_quarantined) == (1, 1, 0)
    assert scored.rows("SELECT * FROM ops.processed_keys") == []
    assert job_of(scored.run("score", releases=release(quarantined=True))).rows_read == 0


def test_everything_can_be_released(scored: ThrowAwayProject) -> None:
    job = job_of(scored.run("score", releases=release()))
    assert (job.rows_read, job.rows_written, job.rows_quarantined) == (60, 118, 1)
    assert len(scored.rows("SELECT * FROM out.observations")) == 118


def test_a_rescore_lands_once_even_where_runs_land_in_pieces(scored: ThrowAwayProject) -> None:
    scored.table("out.members", "event_id string!, binding_id string!", key=["event_id"])
    scored.job(
        "members",
        read(
            "src.events",
            columns=["event_id", "binding_id"],
            order_by=["event_id"],
            incremental=not_exists("out.members", "event_id"),
        ),
        write("out.members", commit_every=1),
    )
    landings = (
        "SELECT job_run_id, count(*) AS landings FROM ops.landings WHERE job_id = 'members' GROUP BY ALL"
    )
    assert job_of(scored.run("members", batch_rows=10)).rows_written == 60
    assert [row["landings"] for row in scored.rows(landings)] == [6]

    job = job_of(scored.run("members", batch_rows=10, releases={"members": Release()}))

    assert (job.rows_read, job.rows_written) == (60, 60)
    assert sorted(row["landings"] for row in scored.rows(landings)) == [1, 6]
    assert len(scored.rows("SELECT * FROM out.members")) == 60


def test_what_an_extract_brought_and_was_refused_comes_back(project: ThrowAwayProject) -> None:
    project.table("out.people", "person_id string!, name string!", key=["person_id"])
    source = """
        def people():
            yield {{"person_id": "a", "name": "Ada"}}
            yield {{"person_id": "b", "name": "{name}"}}
        def check(row):
            if row["name"] == "Bad":
                raise ValueError("a bad name")
            return row
    """
    project.functions(source.format(name="Bad"))
    project.job(
        "load",
        extract("people", incremental=not_exists("out.people", "person_id")),
        call("check", on_bad_row="quarantine"),
        write("out.people"),
    )
    first = job_of(project.run("load"))
    assert (first.rows_written, first.rows_quarantined) == (1, 1)

    project.functions(source.format(name="Better"))
    project.forget()
    assert job_of(project.run("load")).rows_read == 0, "a remembered key is not taken again by itself"
    mended = job_of(project.run("load", releases={"load": Release(quarantined=True)}))
    assert (mended.rows_read, mended.rows_written, mended.rows_quarantined) == (1, 1, 0)
    assert project.rows("SELECT * FROM ops.processed_keys") == []
