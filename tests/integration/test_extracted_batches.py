"""Extract functions that give record batches: an incremental extract drops what is known of them, too."""

from __future__ import annotations

from typing import Any

import pytest

from runner.records import Status
from tests.projects import Step, ThrowAwayProject, extract, job_of, not_exists, write

FUNCTIONS = """
    import pyarrow as pa

    def numbers(first, last):
        yield pa.RecordBatch.from_pydict({"id": pa.array(range(first, last), pa.int64())})
        yield {"id": last}

    def others():
        yield pa.RecordBatch.from_pydict({"other": pa.array([1], pa.int64())})
"""


def batches(project: ThrowAwayProject, name: str, **more: Any) -> Step:
    project.table("out.numbers", "id int64!", key=["id"])
    project.functions(FUNCTIONS)
    return extract(name, incremental=not_exists("out.numbers", "id"), **more)


def test_only_new_rows_of_record_batches_go_on(project: ThrowAwayProject) -> None:
    step = batches(project, "numbers")
    project.job("first", step | {"with": {"first": 0, "last": 3}}, write("out.numbers"))
    project.job("second", step | {"with": {"first": 2, "last": 6}}, write("out.numbers"))

    runs = [job_of(project.run(name)) for name in ("first", "second", "second")]

    assert [(run.rows_read, run.rows_written) for run in runs] == [(4, 4), (3, 3), (0, 0)]
    assert project.rows("SELECT id FROM out.numbers ORDER BY id") == [{"id": number} for number in range(7)]


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("others", {}, "a record batch lacks the key column id"),
        ("others", {"defaults": {"id": 1}}, "gave a record batch; defaults of the step need rows (dict)"),
    ],
)
def test_a_record_batch_that_cannot_be_compared_or_completed_fails_its_step(
    name: str, more: dict[str, Any], message: str, project: ThrowAwayProject
) -> None:
    project.job("job", batches(project, name, **more), write("out.numbers"))

    record = job_of(project.run("job"))

    assert record.status is Status.FAILURE
    assert message in record.errors[0].message
    assert record.errors[0].category == "function"
