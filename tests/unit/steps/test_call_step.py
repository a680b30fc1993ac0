"""`call`: rows and record batches through functions of every shape, in order, in bounded pieces."""

from __future__ import annotations

import threading

import psutil
import pytest

from runner.records import Status
from tests.projects import ThrowAwayProject, call, extract, job_of, read, step_of, write

FUNCTIONS = """
    import asyncio
    import pyarrow as pa
    import pyarrow.compute as pc

    def row(row):
        return {"n": row["n"], "twice": row["n"] * 2}

    def rows(row):
        return [{"n": row["n"], "twice": row["n"] * 2}]

    def generator(row):
        yield {"n": row["n"], "twice": row["n"] * 2}

    async def coroutine(row):
        await asyncio.sleep(0)
        return {"n": row["n"], "twice": row["n"] * 2}

    async def async_generator(row):
        await asyncio.sleep(0)
        yield {"n": row["n"], "twice": row["n"] * 2}

    def batch(batch: pa.RecordBatch) -> pa.RecordBatch:
        n = batch.column("n")
        return pa.RecordBatch.from_arrays([n, pc.multiply(n, 2)], names=["n", "twice"])

    async def async_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
        await asyncio.sleep(0)
        n = batch.column("n")
        return pa.RecordBatch.from_arrays([n, pc.multiply(n, 2)], names=["n", "twice"])

    SEEN = []

    def seen(row):
        SEEN.append(row["n"])
        return row

    def same(row):
        return row

    def same_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch

    def some(row):
        return row if row["n"] % 3 == 0 else None

    def none(row):
        return None

    def not_a_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.to_pylist()

    def burst(row):
        for n in range(row["n"] * 1000, row["n"] * 1000 + 1000):
            yield {"n": n, "twice": n * 2}

    def mark(row):
        row["twice"] = 1
        return row

    def numbers():
        for n in range(20):
            yield {"n": n}

    def many():
        for n in range(400_000):
            yield {"n": n, "text": f"text {n}"}

    def hardly_any(row):
        return {"n": row["n"]} if row["n"] % 100_000 == 0 else None
"""
SHAPES = ["row", "rows", "generator", "coroutine", "async_generator", "batch", "async_batch"]


def doubling(project: ThrowAwayProject, *functions: str, rows: int = 20) -> None:
    """Declare a job that reads numbers, sends them through functions and writes."""
    project.table("src.numbers", "n int64!", key=["n"])
    project.table("out.numbers", "n int64!, twice int64", key=["n"])
    project.functions(FUNCTIONS)
    calls = [call(function, step_id=f"c{number}") for number, function in enumerate(functions)]
    project.job("job", read("src.numbers", order_by=["n"]), *calls, call("seen"), write("out.numbers"))
    project.fill("src.numbers", [{"n": n} for n in range(rows)])


@pytest.mark.parametrize("function", SHAPES)
def test_every_shape_of_function_keeps_rows_and_order(project: ThrowAwayProject, function: str) -> None:
    doubling(project, function)

    job = job_of(project.run("job", batch_rows=7))

    timing = step_of(job, "c0")
    assert (timing.rows_in, timing.rows_out, timing.batches) == (20, 20, 3)
    assert list(range(20)) == project.module().SEEN
    found = project.rows("SELECT n, twice FROM out.numbers ORDER BY n")
    assert found == [{"n": n, "twice": 2 * n} for n in range(20)]


@pytest.mark.parametrize(
    "functions", [("same", "batch"), ("same_batch", "row"), ("same", "some", "row"), ("batch", "same_batch")]
)
def test_functions_of_different_shapes_follow_each_other(
    project: ThrowAwayProject, functions: tuple[str, ...]
) -> None:
    doubling(project, *functions)

    job = job_of(project.run("job", batch_rows=6))

    expected = range(0, 20, 3) if "some" in functions else range(20)
    assert list(expected) == project.module().SEEN
    assert project.rows("SELECT n, twice FROM out.numbers ORDER BY n") == [
        {"n": n, "twice": 2 * n} for n in expected
    ]
    assert step_of(job, "write").rows_in == len(expected)


def test_no_rows_at_all_end_the_chain(project: ThrowAwayProject) -> None:
    doubling(project, "none", "row")

    job = job_of(project.run("job"))

    assert [timing.status for timing in job.step_timings] == [Status.SUCCESS] * 2 + [Status.SKIPPED] * 3
    assert (job.status, job.rows_read, job.rows_written) == (Status.SUCCESS, 20, 0)


def test_what_one_row_becomes_goes_on_in_pieces(project: ThrowAwayProject) -> None:
    doubling(project, "burst", rows=5)

    job = job_of(project.run("job", batch_rows=100))

    assert step_of(job, "c0").rows_out == 5000
    assert step_of(job, "write").batches >= 50
    assert list(range(5000)) == project.module().SEEN


def test_a_batch_function_must_return_a_batch(project: ThrowAwayProject) -> None:
    doubling(project, "not_a_batch")

    (error,) = job_of(project.run("job")).errors

    assert error.category == "function"
    assert "returned list; expected a pyarrow.RecordBatch" in error.message


def test_two_consumers_share_one_pass_and_each_has_rows_of_its_own(project: ThrowAwayProject) -> None:
    project.functions(FUNCTIONS)
    for name in ("marked", "plain"):
        project.table(f"out.{name}", "n int64!, twice int64", key=["n"])
    project.job(
        "job",
        extract("numbers"),
        call("mark"),
        write("out.marked", step_id="write_marked"),
        write("out.plain", step_id="write_plain", input="extract"),
    )

    job = job_of(project.run("job", batch_rows=6))

    assert (job.rows_read, job.rows_written) == (20, 40), "extracted once, written twice"
    assert project.rows("SELECT count(twice) AS n FROM out.marked") == [{"n": 20}]
    assert project.rows("SELECT count(twice) AS n FROM out.plain") == [{"n": 0}]


def test_many_rows_pass_in_little_memory(project: ThrowAwayProject) -> None:
    project.functions(FUNCTIONS)
    project.table("out.numbers", "n int64!", key=["n"])
    project.job("job", extract("many"), call("hardly_any"), write("out.numbers"))
    sizes: list[int] = []
    over = threading.Event()

    def weigh() -> None:
        while not over.wait(0.01):
            sizes.append(psutil.Process().memory_info().rss)

    weighing = threading.Thread(target=weigh)
    weighing.start()
    job = job_of(project.run("job", batch_rows=5000))
    over.set()
    weighing.join()

    timing = step_of(job, "extract")
    assert (timing.rows_out, timing.batches, job.rows_written) == (400_000, 80, 4)
    settled = sizes[len(sizes) // 4 :]
    assert len(settled) > 20
    assert max(settled) - min(settled) < 40_000_000, "all of them at once take more than 100 MB"
