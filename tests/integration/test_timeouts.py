"""Time limits end the work, not only the waiting: of a query, a step, a job, a run."""

from __future__ import annotations

import threading
import time
from typing import Any

import psutil
import pytest

from runner.records import PipelineRun, Status
from tests.projects import ThrowAwayProject, call, job_of, read, step_of, write

LIMIT = 0.3
SLOW_VIEW = """
    CREATE OR REPLACE VIEW src.slow AS SELECT (sum(hash(a.range, b.range) % 1000))::BIGINT AS n
    FROM range(300000) AS a, range(300000) AS b
"""
QUICK_VIEW = "CREATE OR REPLACE VIEW src.slow AS SELECT 1::BIGINT AS n"


def limits(which: str) -> dict[str, Any]:
    """Return settings with one limit."""
    return {"timeouts": {which: LIMIT, "grace": 0.2}}


def run_until_stopped(project: ThrowAwayProject, **settings: Any) -> PipelineRun:
    """Run the project's job; fail if it takes long, or leaves a thread or a query behind."""
    threads = set(threading.enumerate())
    run = project.run("job", **settings)
    assert LIMIT * 1000 <= run.duration_ms < 2500, "stopped when it should be, on a busy machine too"
    assert_ended(threads, seconds=1)
    assert not is_busy(), "a query goes on"
    return run


def assert_ended(before: set[threading.Thread], *, seconds: float) -> None:
    """Fail if a thread that was started since is not over within `seconds` (idle ones end with their loop)."""
    for thread in set(threading.enumerate()) - before:
        thread.join(seconds)
        assert not thread.is_alive(), f"{thread} goes on"


def is_busy() -> bool:
    """Tell whether this process computes although nobody asked it to."""
    process = psutil.Process()
    before = process.cpu_times()
    time.sleep(0.1)
    after = process.cpu_times()
    return bool((after.user + after.system) - (before.user + before.system) > 0.06)


def slow_query(project: ThrowAwayProject) -> None:
    """Declare a job whose read takes minutes."""
    project.table("src.slow", "n int64", managed=False)
    project.table("out.numbers", "n int64!", key=["n"])
    project.job("job", read("src.slow"), write("out.numbers"))
    with project.database() as connection:
        connection.execute("CREATE SCHEMA src")
        connection.execute(SLOW_VIEW)


def slow_rows(project: ThrowAwayProject, body: str, **options: Any) -> None:
    """Declare a job whose call takes long over its 300 rows."""
    project.table("src.numbers", "n int64!", key=["n"])
    project.table("out.numbers", "n int64!", key=["n"])
    project.functions(f"import time\nimport asyncio\n{body}")
    project.job(
        "job",
        read("src.numbers"),
        call("slow", arguments={"seconds": {"param": "seconds"}}, **options),
        write("out.numbers"),
        params={"seconds": {"type": "float64", "default": 0.1}},
    )
    project.fill("src.numbers", [{"n": n} for n in range(300)])


@pytest.mark.parametrize("which", ["query", "step", "job"])
def test_a_query_ends_at_its_limit(project: ThrowAwayProject, which: str) -> None:
    slow_query(project)

    run = run_until_stopped(project, **limits(which))

    job = job_of(run)
    subject = {"query": "query", "step": "step read", "job": "job job"}[which]
    assert (run.status, job.status, step_of(job, "read").status) == (Status.FAILURE,) * 3
    assert [(e.category, e.step_id) for e in job.errors] == [("timeout", "read")]
    assert job.errors[0].message == f"{subject} stopped at its time limit of 0.3 s"
    with project.database() as connection:
        connection.execute(QUICK_VIEW)
    assert job_of(project.run("job", **limits(which))).rows_written == 1


def test_a_run_ends_at_its_limit(project: ThrowAwayProject) -> None:
    slow_query(project)
    project.table("out.after", "n int64!", key=["n"])
    project.job("after", read("out.numbers"), write("out.after"))
    project.pipeline(
        "job_and_after", stages=[{"name": "a", "jobs": ["job"]}, {"name": "b", "jobs": ["after"]}]
    )

    run = project.run("job_and_after", **limits("run"))

    assert run.status is Status.FAILURE
    assert [(e.category, e.message) for e in run.errors] == [
        ("timeout", "run job_and_after stopped at its time limit of 0.3 s")
    ]
    assert [job.status for job in run.jobs] == [Status.CANCELLED, Status.SKIPPED]
    assert not is_busy()


@pytest.mark.parametrize(
    ("kind", "which"), [("plain", "step"), ("async", "step"), ("generator", "step"), ("plain", "job")]
)
def test_a_loop_over_rows_ends_at_its_limit(project: ThrowAwayProject, kind: str, which: str) -> None:
    bodies = {
        "plain": "def slow(row, *, seconds):\n    time.sleep(seconds)\n    return row\n",
        "async": "async def slow(row, *, seconds):\n    await asyncio.sleep(seconds)\n    return row\n",
        "generator": "def slow(row, *, seconds):\n    time.sleep(seconds)\n    yield row\n",
    }
    slow_rows(project, bodies[kind])

    run = run_until_stopped(project, **limits(which))

    job = job_of(run)
    assert [(e.category, e.step_id) for e in job.errors] == [("timeout", "slow")]
    assert [step_of(job, name).status.value for name in ("read", "slow", "write")] == [
        "success", "failure", "skipped"
    ]  # fmt: skip
    assert project.rows("SELECT * FROM out.numbers") == []
    assert job_of(project.run("job", params={"seconds": "0.00001"})).rows_written == 300


def test_a_steps_own_limit_wins_over_the_settings(project: ThrowAwayProject) -> None:
    slow_rows(
        project, "def slow(row, *, seconds):\n    time.sleep(seconds)\n    return row\n", timeout="300ms"
    )

    run = run_until_stopped(project, timeouts={"step": 60})

    assert job_of(run).errors[0].message == "step slow stopped at its time limit of 0.3 s"


@pytest.mark.parametrize("which", ["step", "job", "run"])
def test_a_deaf_function_is_given_up(project: ThrowAwayProject, which: str) -> None:
    slow_rows(project, "def slow(row, *, seconds):\n    time.sleep(seconds)\n    return row\n")
    threads = set(threading.enumerate())

    run = project.run("job", params={"seconds": "1.5"}, **limits(which))

    errors = run.errors if which == "run" else job_of(run).errors
    assert run.status is Status.FAILURE
    assert [error.category for error in errors] == ["timeout"]
    assert run.duration_ms < 1400, "the run did not wait for it"
    assert_ended(threads, seconds=5)
