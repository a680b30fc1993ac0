"""`extract`: rows from a function, completed, and only those the target has not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner.records import Status
from tests.projects import ThrowAwayProject, call, extract, job_of, not_exists, step_of, write

FUNCTIONS = """
    from datetime import UTC, datetime
    import pyarrow as pa

    ROWS = [{"n": n, "name": f"name {n}"} for n in range(7)]

    SEEN = []

    def seen(row):
        SEEN.append(row["n"])
        return row

    def listed():
        return ROWS

    def one():
        return {"n": 1, "name": "only"}

    def nothing():
        return None

    def generated():
        yield from (dict(row) for row in ROWS)

    async def awaited():
        return [dict(row) for row in ROWS]

    async def streamed():
        for row in ROWS:
            yield dict(row)

    def batches():
        yield pa.RecordBatch.from_pylist(ROWS[:4])
        yield pa.RecordBatch.from_pylist(ROWS[4:])

    def dated(*, since):
        start = datetime(2026, 2, 1, tzinfo=UTC) if since is None else since
        return [{"day": start.replace(day=start.day + 1), "since": since.isoformat() if since else "none"}]

    def told(connection, as_of, *, greeting):
        yield {"name": f"{greeting} {connection.host} {connection.password.get_secret_value()}", "at": as_of}

    def broken():
        yield ROWS[0]
        raise OSError("disk on fire")

    def wrong():
        return "text"
"""


def numbers(project: ThrowAwayProject, function: str, **options: Any) -> None:
    """Declare a job that extracts into out.numbers."""
    project.table("out.numbers", "n int64, name string, source string, id string", key=["n"])
    project.functions(FUNCTIONS)
    project.job("job", extract(function, **options), call("seen"), write("out.numbers"))


@pytest.mark.parametrize(
    ("function", "batch_rows"),
    [("listed", 3), ("generated", 3), ("generated", 1000), ("awaited", 3), ("streamed", 3), ("batches", 3)],
)
def test_every_shape_of_function_gives_its_rows_in_order(
    project: ThrowAwayProject, function: str, batch_rows: int
) -> None:
    numbers(project, function)

    job = job_of(project.run("job", batch_rows=batch_rows))

    timing = step_of(job, "extract")
    assert (job.rows_read, job.rows_written, timing.rows_out) == (7, 7, 7)
    assert timing.batches == (2 if function == "batches" else 3 if batch_rows == 3 else 1)
    assert list(range(7)) == project.module().SEEN


def test_one_row_and_none_are_fine(project: ThrowAwayProject) -> None:
    numbers(project, "one")
    assert project.run("job").rows_written == 1
    project.job("job", extract("nothing"), write("out.numbers"))
    job = job_of(project.run("job"))
    assert (job.status, step_of(job, "write").status) == (Status.SUCCESS, Status.SKIPPED)


@pytest.mark.parametrize("function", ["generated", "streamed"])
def test_rows_get_defaults_and_an_identity(project: ThrowAwayProject, function: str) -> None:
    numbers(
        project,
        function,
        defaults={"source": "here", "name": "unused"},
        identify={"column": "id", "from": ["n", "name"], "suffix": "v1"},
    )

    assert project.run("job").rows_written == 7
    assert project.rows("SELECT source, id FROM out.numbers ORDER BY n LIMIT 2") == [
        {"source": "here", "id": "0:name 0#v1"},
        {"source": "here", "id": "1:name 1#v1"},
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"defaults": {"source": "here"}},
        {"identify": {"column": "id", "from": "n"}},
    ],
    ids=["defaults", "identify"],
)
def test_record_batches_cannot_be_completed(project: ThrowAwayProject, options: dict[str, Any]) -> None:
    numbers(project, "batches", **options)

    (error,) = job_of(project.run("job")).errors

    assert f"gave a record batch; {next(iter(options))}" in error.message


def test_an_identity_needs_its_columns(project: ThrowAwayProject) -> None:
    numbers(project, "generated", identify={"column": "id", "from": ["n", "missing"]})

    (error,) = job_of(project.run("job")).errors

    assert "identify needs missing, which a row lacks" in error.message
    assert error.step_id == "extract"


@pytest.mark.parametrize("function", ["generated", "streamed", "batches"])
def test_rows_that_the_target_has_are_dropped(project: ThrowAwayProject, function: str) -> None:
    numbers(project, function, incremental=not_exists("out.numbers", "n"))
    project.fill("out.numbers", [{"n": n, "name": "kept"} for n in (0, 2, 4, 6)])

    first = job_of(project.run("job", batch_rows=2))
    second = job_of(project.run("job", batch_rows=2))

    assert (first.rows_read, first.rows_written) == (3, 3)
    assert (second.rows_read, step_of(second, "write").status) == (0, Status.SKIPPED)
    assert project.rows("SELECT n FROM out.numbers WHERE name <> 'kept' ORDER BY n") == [
        {"n": 1}, {"n": 3}, {"n": 5}
    ]  # fmt: skip


def test_a_cursor_is_passed_as_since(project: ThrowAwayProject) -> None:
    project.table("out.days", "day timestamp!, since string", key=["day"])
    project.functions(FUNCTIONS)
    cursor = {"dataset": "out", "table": "days", "column": "day"}
    project.job("job", extract("dated", cursor=cursor), write("out.days"))

    for _ in range(3):
        assert project.run("job").rows_written == 1

    assert [row["since"] for row in project.rows("SELECT since FROM out.days ORDER BY day")] == [
        "none", "2026-02-02T00:00:00+00:00", "2026-02-03T00:00:00+00:00"
    ]  # fmt: skip


def test_functions_get_their_connection_and_the_logical_time(project: ThrowAwayProject) -> None:
    project.table("out.days", "at timestamp!, name string", key=["at"])
    project.functions(FUNCTIONS)
    project.job("job", extract("told", connection="shop", arguments={"greeting": "hello"}), write("out.days"))

    run = project.run("job", connections={"shop": {"host": "example.org", "password": "s3cret"}})

    assert project.rows("SELECT * FROM out.days") == [{"at": run.as_of, "name": "hello example.org s3cret"}]
    assert run.as_of is not None
    assert abs(datetime.now(UTC) - run.as_of).total_seconds() < 60


@pytest.mark.parametrize(
    ("function", "message"),
    [("broken", "raised OSError: disk on fire"), ("wrong", "expected a row (dict)")],
)
def test_a_function_that_fails_fails_the_step(project: ThrowAwayProject, function: str, message: str) -> None:
    numbers(project, function)

    job = job_of(project.run("job", batch_rows=1))

    (error,) = job.errors
    assert (job.status, error.category, error.step_id) == (Status.FAILURE, "function", "extract")
    assert message in error.message
    assert project.rows("SELECT * FROM out.numbers") == []
    if function == "broken":
        lines = (project.root / project.package / "steps.py").read_text().splitlines()
        number = next(n for n, line in enumerate(lines, 1) if "disk on fire" in line)
        assert f"{Path(project.package) / 'steps.py'}:{number}, in broken" in error.message
