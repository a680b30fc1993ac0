"""`read`: the declared columns, filters bound by type, order, limit, and views that are not managed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.projects import ThrowAwayProject, call, job_of, read, step_of, write

ROWS = [
    {"id": f"i{n}", "n": n, "share": n / 4, "at": datetime(2026, 2, 1 + n, tzinfo=UTC), "flag": n % 2 == 0}
    for n in range(6)
]


def copying(project: ThrowAwayProject, **options: Any) -> None:
    """Declare a job that copies id and n."""
    project.table("src.rows", "id string!, n int64, share float64, at timestamp, flag bool", key=["id"])
    project.table("out.rows", "id string!, n int64", key=["id"])
    project.functions("SEEN = []\ndef seen(row):\n    SEEN.append(row['n'])\n    return row\n")
    project.job("job", read("src.rows", columns=["id", "n"], **options), call("seen"), write("out.rows"))
    project.fill("src.rows", ROWS)


def copied(project: ThrowAwayProject) -> list[int]:
    """Run, and return the values of n that arrived, in the order in which they did."""
    project.run("job")
    found: list[int] = project.module().SEEN
    return found


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"id": "i3"}, [3]),
        ({"flag": True}, [0, 2, 4]),
        ([{"column": "n", "op": ">=", "value": 4}], [4, 5]),
        ([{"column": "share", "op": "<", "value": 0.5}], [0, 1]),
        ([{"column": "at", "op": ">", "value": "2026-02-04T00:00:00Z"}], [4, 5]),
        ([{"column": "n", "op": "in", "value": [1, 5, 99]}], [1, 5]),
        ([{"column": "n", "op": "!=", "value": 0}, {"column": "flag", "op": "=", "value": True}], [2, 4]),
        ({"id": "x' OR '1' = '1"}, []),
    ],
)
def test_filters_choose_rows(project: ThrowAwayProject, filters: Any, expected: list[int]) -> None:
    copying(project, filters=filters)
    assert sorted(copied(project)) == expected


def test_a_filter_takes_its_value_from_a_parameter(project: ThrowAwayProject) -> None:
    copying(project)
    project.job(
        "job",
        read("src.rows", columns=["id", "n"], filters={"id": {"param": "wanted"}}),
        call("seen"),
        write("out.rows"),
        params={"wanted": {"type": "string", "default": "i1"}},
    )
    assert copied(project) == [1]
    project.run("job", params={"wanted": "i2"})
    assert sorted(row["n"] for row in project.rows("SELECT n FROM out.rows")) == [1, 2]


def test_order_and_limit(project: ThrowAwayProject) -> None:
    copying(project, order_by=["at"], limit=2)
    assert copied(project) == [0, 1]


@pytest.mark.parametrize("batch_rows", [1, 4, 1000])
def test_rows_come_in_batches_and_in_order(project: ThrowAwayProject, batch_rows: int) -> None:
    copying(project, order_by=["n"])
    job = job_of(project.run("job", batch_rows=batch_rows))
    assert step_of(job, "read").batches == {1: 6, 4: 2, 1000: 1}[batch_rows]
    assert step_of(job, "write").batches == step_of(job, "read").batches
    assert list(range(6)) == project.module().SEEN


def test_without_columns_all_declared_ones_are_read(project: ThrowAwayProject) -> None:
    project.table("src.rows", "id string!, n int64", key=["id"])
    project.table("out.rows", "id string!, n int64", key=["id"])
    project.job("job", read("src.rows"), write("out.rows"))
    project.fill("src.rows", [{"id": "a", "n": 1}])
    with project.database() as connection:
        connection.execute("ALTER TABLE src.rows ADD COLUMN undeclared INTEGER")

    assert project.run("job").rows_written == 1


def test_a_view_is_read_and_never_changed(project: ThrowAwayProject) -> None:
    project.table("src.view", "n int64", managed=False)
    project.table("out.rows", "n int64!", key=["n"])
    project.job("job", read("src.view"), write("out.rows"))
    with project.database() as connection:
        connection.execute("CREATE SCHEMA src")
        connection.execute("CREATE VIEW src.view AS SELECT range AS n, 'x' AS more FROM range(3)")

    assert project.run("job").rows_written == 3
