"""`write`: modes, keys, stamps, types, and one landing for all of a job's targets."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from runner.records import Status
from tests.projects import ThrowAwayProject, extract, job_of, step_of, write

FUNCTIONS = """
    from datetime import UTC, date, datetime
    from decimal import Decimal
    import json
    from pathlib import Path

    def given():
        return json.loads(Path(__file__).with_name("rows.json").read_text())

    def typed():
        return {"s": "text", "i": -(2**63), "f": 0.1, "n": Decimal("1.000000001"), "b": False,
                "t": datetime(2026, 2, 1, 12, 30, 0, 1, tzinfo=UTC), "d": date(2026, 2, 28),
                "j": {"list": [1, None, "ü"]}, "y": b"\\x00\\xff"}
"""


def given(project: ThrowAwayProject, rows: list[dict[str, Any]]) -> None:
    """Let the function `given` return these rows."""
    import json

    (project.root / project.package / "rows.json").write_text(json.dumps(rows))


def numbers(project: ThrowAwayProject, **options: Any) -> None:
    """Declare a job that writes to out.numbers."""
    project.table("out.numbers", "k string, n int64", key=["k"])
    project.functions(FUNCTIONS)
    project.job("job", extract("given"), write("out.numbers", **options))


FIRST = [{"k": "a", "n": 1}, {"k": "b", "n": 2}]
SECOND = [{"k": "b", "n": 20}, {"k": "c", "n": 3}]


@pytest.mark.parametrize(
    ("mode", "written", "expected"),
    [
        ("upsert", 2, [("a", 1), ("b", 20), ("c", 3)]),
        ("insert_missing", 1, [("a", 1), ("b", 2), ("c", 3)]),
        ("append", 2, [("a", 1), ("b", 2), ("b", 20), ("c", 3)]),
    ],
)
def test_modes(project: ThrowAwayProject, mode: str, written: int, expected: list[tuple[str, int]]) -> None:
    numbers(project, mode=mode)
    given(project, FIRST)
    assert project.run("job").rows_written == 2
    given(project, SECOND)
    assert project.run("job").rows_written == written
    found = project.rows("SELECT k, n FROM out.numbers ORDER BY k, n")
    assert [(row["k"], row["n"]) for row in found] == expected


def test_the_key_of_the_step_wins_over_the_tables(project: ThrowAwayProject) -> None:
    numbers(project, key=["n"])
    given(project, [{"k": "a", "n": 1}, {"k": "b", "n": 1}])
    assert project.run("job").rows_written == 1
    assert project.rows("SELECT k FROM out.numbers") == [{"k": "b"}]


def test_a_row_without_its_key_is_a_bad_row(project: ThrowAwayProject) -> None:
    numbers(project)
    given(project, [{"k": "a", "n": 1}, {"k": None, "n": 2}])
    (error,) = job_of(project.run("job")).errors
    assert (error.category, error.step_id) == ("data", "write")
    assert "column k" in error.message


def test_stamps_are_the_job_runs_time_and_rows_may_not_bring_them(project: ThrowAwayProject) -> None:
    project.table("out.numbers", "k string, n int64, made_at timestamp, seen_at timestamp", key=["k"])
    project.functions(FUNCTIONS)
    stamps: dict[str, Any] = {"set_on_insert": ["made_at"], "set_on_write": ["seen_at"]}
    project.job("job", extract("given"), write("out.numbers", **stamps))
    given(project, FIRST)

    job = job_of(project.run("job"))

    query = "SELECT DISTINCT made_at, seen_at FROM out.numbers"
    assert project.rows(query) == [{"made_at": job.started_at, "seen_at": job.started_at}]
    given(project, [{"k": "a", "n": 1, "made_at": "2026-02-01T00:00:00Z"}])
    (error,) = job_of(project.run("job")).errors
    assert "unknown column 'made_at'" in error.message


def test_every_type_comes_back_as_it_was_given(project: ThrowAwayProject) -> None:
    project.table(
        "out.types",
        "s string!, i int64, f float64, n numeric, b bool, t timestamp, d date, j json, y bytes",
        key=["s"],
    )
    project.functions(FUNCTIONS)
    project.job("job", extract("typed"), write("out.types"))

    assert project.run("job").rows_written == 1
    (row,) = project.rows("SELECT * REPLACE (j->>'$.list[2]' AS j) FROM out.types")
    assert row == {
        "s": "text",
        "i": -(2**63),
        "f": 0.1,
        "n": Decimal("1.000000001"),
        "b": False,
        "t": datetime(2026, 2, 1, 12, 30, tzinfo=UTC) + timedelta(microseconds=1),
        "d": date(2026, 2, 28),
        "j": "ü",
        "y": b"\x00\xff",
    }


def test_all_targets_land_or_none(project: ThrowAwayProject) -> None:
    numbers(project)
    project.table("out.other", "k string!, n int64!", key=["k"])
    steps = (
        extract("given"),
        write("out.numbers", step_id="one"),
        write("out.other", step_id="two", input="extract"),
    )
    project.job("job", *steps)
    given(project, [{"k": "a", "n": 1}, {"k": "b", "n": None}])

    job = job_of(project.run("job"))
    assert (job.status, step_of(job, "two").status) == (Status.FAILURE, Status.FAILURE)
    assert step_of(job, "one").status is Status.SKIPPED, "its rows never landed"
    assert project.rows("SELECT * FROM out.numbers") == []

    given(project, FIRST)
    job = job_of(project.run("job"))
    assert [(t.step_id, t.rows_in, t.rows_written) for t in job.step_timings[1:]] == [
        ("one", 2, 2),
        ("two", 2, 2),
    ]
    assert project.rows("SELECT rows FROM ops.landings") == [{"rows": 4}]


def test_rows_beyond_what_fits_in_memory_land_as_well(project: ThrowAwayProject) -> None:
    numbers(project)
    given(project, [{"k": f"{n % 1500:0800}", "n": n} for n in range(3000)])

    job = job_of(project.run("job", stage_bytes=1_000_000, batch_rows=500))

    assert job.rows_written == 1500
    assert project.rows("SELECT min(n) AS least, count(*) AS rows FROM out.numbers") == [
        {"least": 1500, "rows": 1500}
    ]
