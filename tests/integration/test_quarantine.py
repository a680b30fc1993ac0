"""Bad rows: they fail their step, or are kept with the reason up to a limit, and the rest lands."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.records import Status
from tests.projects import ThrowAwayProject, call, extract, job_of, not_exists, read, write


def reading(project: ThrowAwayProject, source: str, *, rows: int = 10, **call_options: Any) -> None:
    """Declare a job that reads `rows` numbers, calls `f` and writes."""
    project.table("src.numbers", "number_id string!, value int64", key=["number_id"])
    project.table(
        "out.numbers",
        "number_id string!, value int64, at timestamp, name string, share float64, extra json",
        key=["number_id"],
    )
    project.functions(source)
    write_options = {
        key: call_options.pop(key) for key in ("on_bad_row", "max_bad_rows") if key in call_options
    }
    project.job(
        "job",
        read("src.numbers", incremental=not_exists("out.numbers", "number_id"), order_by=["number_id"]),
        call("f", **write_options),
        write("out.numbers", **write_options),
    )
    project.fill("src.numbers", [{"number_id": f"n{n:02}", "value": n} for n in range(rows)])


BAD_OUTPUTS = {
    "unknown column": (
        "dict(row, other=1)",
        "",
        "unknown column 'other'; expected one of number_id, value, at",
    ),
    "wrong type": ("dict(row, value='many')", "value", "'many'"),
    "naive datetime": ("dict(row, at=datetime(2026, 2, 1))", "at", "expected an aware datetime"),
    "not in 64 bits": ("dict(row, value=2**64)", "value", str(2**64)),
    "fraction for int64": ("dict(row, value=1.5)", "value", "1.5"),
    "bool for a number": ("dict(row, share=True)", "share", "True"),
    "bytes for text": ("dict(row, name=b'x')", "name", "b'x'"),
    "no valid text": (r"dict(row, name='\ud800')", "name", r"\ud800"),
    "not JSON": ("dict(row, extra={1: object()})", "extra", "object"),
    "a list": ("[3]", "", "gave int 3; expected a row"),
}


def one_bad_row_each() -> str:
    """Return a function whose n-th row goes wrong as the n-th case says; the rows after them are good."""
    cases = "".join(f"    if row['value'] == {n}:\n        return {BAD_OUTPUTS[case][0]}\n"
                    for n, case in enumerate(BAD_OUTPUTS))  # fmt: skip
    return f"from datetime import datetime\ndef f(row):\n{cases}    return row\n"


def test_each_kind_of_bad_row_is_kept_with_its_reason_and_the_rest_lands(project: ThrowAwayProject) -> None:
    count = len(BAD_OUTPUTS)
    reading(project, one_bad_row_each(), rows=count + 5, on_bad_row="quarantine")

    job = job_of(project.run("job"))

    assert job.errors == ()
    assert (job.status, job.rows_read, job.rows_written) == (Status.PARTIAL, count + 5, 5)
    assert job.rows_quarantined == count
    kept = {row["key"]: row for row in project.rows("SELECT * FROM ops.quarantine")}
    for number, (case, (_, column, reason)) in enumerate(BAD_OUTPUTS.items()):
        row = kept.pop(f"n{number:02}")
        assert reason in row["reason"], case
        assert row["column_name"] in (column, ""), case
        assert f"n{number:02}" in row["content"], case
        assert row["job_id"] == "job"
        assert row["step_id"] in ("f", "write")
    assert kept == {}
    assert job_of(project.run("job")).rows_read == 0


def test_a_row_whose_key_went_missing_does_not_come_back_either(project: ThrowAwayProject) -> None:
    reading(project, "def f(row):\n    return dict(row, number_id=None)\n", rows=2, on_bad_row="quarantine")

    assert job_of(project.run("job")).rows_quarantined == 2
    kept = project.rows("SELECT column_name, reason FROM ops.quarantine")
    assert {row["column_name"] for row in kept} == {"number_id"}
    assert job_of(project.run("job")).rows_read == 0


@pytest.mark.parametrize("case", ["unknown column", "wrong type", "naive datetime"])
def test_a_bad_row_fails_the_step_and_nothing_lands(project: ThrowAwayProject, case: str) -> None:
    output, column, reason = BAD_OUTPUTS[case]
    source = f"""
        from datetime import datetime
        def f(row):
            return {output} if row["value"] == 3 else row
    """
    reading(project, source)

    job = job_of(project.run("job"))

    assert (job.status, job.rows_written) == (Status.FAILURE, 0)
    (error,) = job.errors
    assert error.category == "data"
    assert error.message.startswith("1 bad row (none is allowed): key 'n03'")
    assert reason in error.message
    assert column in error.message
    assert project.rows("SELECT * FROM out.numbers") == []
    assert project.rows("SELECT * FROM ops.quarantine") == []


@pytest.mark.parametrize(
    ("raises", "shape"),
    [
        ("ValueError('no')", "def f(row):"),
        ("KeyError('no')", "def f(row):"),
        ("TypeError('no')", "async def f(row):"),
    ],
)
def test_what_a_row_function_raises_about_a_row(project: ThrowAwayProject, raises: str, shape: str) -> None:
    source = f"{shape}\n    if row['value'] % 4 == 0:\n        raise {raises}\n    return row\n"
    reading(project, source, on_bad_row="quarantine")

    job = job_of(project.run("job"))

    assert (job.status, job.rows_written, job.rows_quarantined) == (Status.PARTIAL, 7, 3)
    kept = project.rows("SELECT * FROM ops.quarantine ORDER BY key")
    assert [row["key"] for row in kept] == ["n00", "n04", "n08"]
    assert all("no" in row["reason"] and "steps.py:3" in row["reason"] for row in kept)
    assert json.loads(kept[1]["content"]) == {"number_id": "n04", "value": 4}
    assert {row["step_id"] for row in kept} == {"f"}


@pytest.mark.parametrize(("limit", "lands", "batch_rows"), [(3, True, 1), (2, False, 1), (2, False, 1000)])
def test_more_than_the_limit_fails_and_nothing_lands(
    project: ThrowAwayProject, limit: int, lands: bool, batch_rows: int
) -> None:
    source = "def f(row):\n    if row['value'] % 4 == 0:\n        raise ValueError('no')\n    return row\n"
    reading(project, source, on_bad_row="quarantine", max_bad_rows=limit)

    job = job_of(project.run("job", batch_rows=batch_rows))

    written = len(project.rows("SELECT * FROM out.numbers"))
    quarantined = len(project.rows("SELECT * FROM ops.quarantine"))
    if lands:
        assert (job.status, written, quarantined) == (Status.PARTIAL, 7, 3)
    else:
        assert (job.status, written, quarantined) == (Status.FAILURE, 0, 0)
        assert "3 bad rows (more than max_bad_rows 2)" in job.errors[0].message


def test_a_row_that_json_cannot_say_is_kept_by_its_repr(project: ThrowAwayProject) -> None:
    project.table("out.numbers", "number_id string!", key=["number_id"])
    project.functions("""
        def source():
            yield {"number_id": "n00", ("a", "b"): 1}

        def f(row):
            raise ValueError("odd \\ud800")
    """)
    project.job(
        "job",
        extract("source", incremental=not_exists("out.numbers", "number_id")),
        call("f", on_bad_row="quarantine"),
        write("out.numbers"),
    )

    assert job_of(project.run("job")).rows_quarantined == 1
    (kept,) = project.rows("SELECT * FROM ops.quarantine")
    assert kept["key"] == "n00"
    assert "odd \\ud800" in kept["reason"]
    assert "('a', 'b')" in kept["content"]


def test_a_bad_row_without_a_landing_fails(project: ThrowAwayProject) -> None:
    project.table("src.numbers", "number_id string!, value int64", key=["number_id"])
    project.functions("def f(row):\n    raise ValueError('no')\n")
    project.job("job", read("src.numbers"), call("f", on_bad_row="quarantine"))
    project.fill("src.numbers", [{"number_id": "n1", "value": 1}])

    job = job_of(project.run("job"))

    assert job.status is Status.FAILURE
    assert job.errors[0].category == "data"


def test_a_bad_row_of_an_extract_is_not_fetched_again(project: ThrowAwayProject) -> None:
    project.table("out.numbers", "n int64!, value int64", key=["n"])
    project.functions("""
        def numbers():
            for n in range(5):
                yield {"n": n, "value": n}

        def refuse(row):
            if row["n"] == 3:
                raise ValueError("three")
            return row
    """)
    project.job(
        "job",
        extract("numbers", incremental=not_exists("out.numbers", "n")),
        call("refuse", on_bad_row="quarantine"),
        write("out.numbers"),
    )

    job = job_of(project.run("job"))

    assert (job.errors, job.rows_written, job.rows_quarantined) == ((), 4, 1)
    assert [row["key"] for row in project.rows("SELECT key FROM ops.quarantine")] == ["3"]
    assert job_of(project.run("job")).rows_read == 0


@pytest.mark.parametrize("first", [[], [call("same")]], ids=["read", "call"])
def test_a_bad_row_is_kept_as_it_came_in_whatever_the_function_did_to_it(
    project: ThrowAwayProject, first: list[dict[str, Any]]
) -> None:
    project.table("src.numbers", "number_id string!, value int64", key=["number_id"])
    project.table("out.numbers", "number_id string!, value int64", key=["number_id"])
    project.functions("""
        def same(row):
            return row

        def f(row):
            number_id = row.pop("number_id")
            if row["value"] == 3:
                raise ValueError("bad")
            return {"number_id": number_id, "value": row["value"]}
    """)
    project.job(
        "job",
        read("src.numbers", incremental=not_exists("out.numbers", "number_id")),
        *first,
        call("f", on_bad_row="quarantine"),
        write("out.numbers"),
    )
    project.fill("src.numbers", [{"number_id": f"n{n}", "value": n} for n in range(5)])

    assert job_of(project.run("job")).rows_quarantined == 1

    (kept,) = project.rows("SELECT key, content FROM ops.quarantine")
    assert (kept["key"], json.loads(kept["content"])) == ("n3", {"number_id": "n3", "value": 3})
    assert project.rows("SELECT key, reason FROM ops.processed_keys") == [
        {"key": "n3", "reason": "quarantined"}
    ]
