"""Failures are data: retried when they may pass, recorded with what landed, and kept from what needs them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from runner.errors import HeldByAnother
from runner.events import Event, JobRetrying
from runner.locks import acquire_all
from runner.pipeline_runner import PipelineRunner
from runner.records import Status
from runner.run_store import FileRunStore
from tests.projects import ThrowAwayProject, call, extract, job_of, not_exists, read, step_of, write

FLAKY = """
    from pathlib import Path
    TRIES = Path(__file__).with_name("tries")

    def numbers():
        for n in range(5):
            yield {"n": n}

    def flaky(row, *, error, times):
        if row["n"] != 3:
            return row
        tries = int(TRIES.read_text()) if TRIES.exists() else 0
        TRIES.write_text(str(tries + 1))
        if tries < times:
            raise {"connection": ConnectionError, "timeout": TimeoutError, "other": RuntimeError}[error]("away")
        return row
"""


def flaky(project: ThrowAwayProject, *, error: str, times: int, **options: Any) -> None:
    """Declare a job whose function fails a number of times."""
    project.table("out.numbers", "n int64!", key=["n"])
    project.functions(FLAKY)
    project.job(
        "job",
        extract("numbers"),
        call("flaky", arguments={"error": error, "times": times}, **options),
        write("out.numbers"),
    )


@pytest.mark.parametrize("error", ["connection", "timeout"])
def test_a_passing_error_is_retried(project: ThrowAwayProject, error: str) -> None:
    flaky(project, error=error, times=2, retries=2)
    seen: list[Event] = []

    job = job_of(project.run("job", on_event=seen.append))

    assert (job.status, job.rows_written, job.errors) == (Status.SUCCESS, 5, ())
    assert [timing.attempts for timing in job.step_timings] == [3, 3, 3]
    retrying = [event for event in seen if isinstance(event, JobRetrying)]
    assert [event.attempt for event in retrying] == [1, 2]
    assert all("away" in event.error.message and event.error.step_id == "flaky" for event in retrying)


@pytest.mark.parametrize(
    ("error", "times", "retries", "attempts"),
    [("connection", 1, 0, 1), ("connection", 3, 2, 3), ("other", 1, 5, 1)],
    ids=["no retries", "too few retries", "nothing that passes"],
)
def test_other_errors_end_the_job(
    project: ThrowAwayProject, error: str, times: int, retries: int, attempts: int
) -> None:
    flaky(project, error=error, times=times, retries=retries)

    job = job_of(project.run("job"))

    assert (job.status, job.rows_written) == (Status.FAILURE, 0)
    (told,) = job.errors
    assert (told.category, told.type, told.step_id) == ("function", "FunctionFailed", "flaky")
    line = 1 + project_line(project, "raise {")
    assert f"steps.py:{line}, in flaky" in told.message, "the line of the project's code"
    assert step_of(job, "flaky").attempts == attempts
    assert project.rows("SELECT * FROM out.numbers") == []


def project_line(project: ThrowAwayProject, text: str) -> int:
    """Return the index of the line of the project's code that contains a text."""
    lines = (project.root / project.package / "steps.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines) if text in line)


def test_pieces_that_landed_before_a_failure_stay_and_are_recorded(project: ThrowAwayProject) -> None:
    project.table("src.numbers", "n int64!", key=["n"])
    project.table("out.numbers", "n int64!", key=["n"])
    project.functions("""
        def numbers(row):
            if row["n"] == 7:
                raise RuntimeError("seven")
            return row
    """)
    project.job(
        "job",
        read("src.numbers", order_by=["n"], incremental=not_exists("out.numbers", "n")),
        call("numbers", retries=3),
        write("out.numbers", commit_every=2),
    )
    project.fill("src.numbers", [{"n": n} for n in range(10)])

    run = project.run("job", batch_rows=1)

    job = job_of(run)
    assert (run.status, job.status) == (Status.PARTIAL, Status.PARTIAL)
    assert (job.rows_written, step_of(job, "write").rows_written) == (6, 6)
    assert [error.step_id for error in job.errors] == ["numbers"]
    assert [row["n"] for row in project.rows("SELECT n FROM out.numbers ORDER BY n")] == list(range(6))
    assert project.rows("SELECT batch, rows FROM ops.landings ORDER BY batch") == [
        {"batch": 0, "rows": 2}, {"batch": 1, "rows": 2}, {"batch": 2, "rows": 2}
    ]  # fmt: skip

    project.functions("def numbers(row):\n    return row\n")
    project.forget()
    assert job_of(project.run("job", batch_rows=1)).rows_read == 4
    assert len(project.rows("SELECT * FROM out.numbers")) == 10


PIPELINE = """
    import time

    def numbers():
        return [{"n": 1}]

    def fail():
        time.sleep(0.1)
        raise RuntimeError("on purpose")

    def endless():
        for n in range(3000):
            time.sleep(0.01)
            yield {"n": n}
"""


def three_jobs(project: ThrowAwayProject, **pipeline: object) -> None:
    """Declare jobs good, bad and endless."""
    project.functions(PIPELINE)
    for name, function in (("good", "numbers"), ("bad", "fail"), ("endless", "endless"), ("late", "numbers")):
        project.table(f"out.{name}", "n int64!", key=["n"])
        project.job(name, extract(function), write(f"out.{name}"))
    project.pipeline("all", **pipeline)


def test_a_failed_job_skips_only_what_needs_it(project: ThrowAwayProject) -> None:
    three_jobs(project, jobs={"bad": {}, "late": {"needs": ["bad"]}, "good": {"after": ["bad"]}})

    run = project.run("all")

    assert run.status is Status.PARTIAL
    assert {job.job_id: job.status.value for job in run.jobs} == {
        "bad": "failure", "late": "skipped", "good": "success"
    }  # fmt: skip
    assert "bad" in job_of(run, "late").errors[0].message


def test_stop_on_failure_starts_nothing_more(project: ThrowAwayProject) -> None:
    three_jobs(
        project,
        stages=[{"name": "a", "jobs": ["bad"]}, {"name": "b", "jobs": ["good", "late"]}],
        stop_on_failure=True,
    )

    run = project.run("all")

    assert [job.status.value for job in run.jobs] == ["failure", "skipped", "skipped"]
    assert run.status is Status.FAILURE


def test_fail_fast_cancels_what_runs(project: ThrowAwayProject) -> None:
    three_jobs(project, stages=[{"name": "a", "jobs": ["bad", "endless"], "max_workers": 2}])

    run = project.run("all", fail_fast=True)

    assert [job.status.value for job in run.jobs] == ["failure", "cancelled"]
    assert run.duration_ms < 5000
    cancelled = job_of(run, "endless")
    assert step_of(cancelled, "extract").status is Status.CANCELLED
    assert project.rows("SELECT * FROM out.endless") == []


def test_a_job_that_runs_elsewhere_is_not_run_and_nothing_is_recorded(project: ThrowAwayProject) -> None:
    three_jobs(project, stages=[{"name": "a", "jobs": ["good", "late"]}])
    settings = project.settings()

    with (
        acquire_all(settings.state_dir / "locks", ["job.late"], "run SOMEONE"),
        pytest.raises(HeldByAnother, match=r"job late is held by run SOMEONE \(process \d+, since"),
    ):
        project.run("all")

    assert FileRunStore(settings.runs_dir).latest() == []
    assert project.run("all").status is Status.SUCCESS


def test_two_runs_of_one_job_in_one_process_exclude_each_other(project: ThrowAwayProject) -> None:
    three_jobs(project, stages=[{"name": "a", "jobs": ["endless"]}])
    settings = project.settings()

    async def execute() -> None:
        async with PipelineRunner.open(settings) as pipelines:
            started = anyio.Event()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: pipelines.run("endless", on_event=lambda _: started.set()))
                await started.wait()
                with pytest.raises(HeldByAnother, match="job endless is held by run"):
                    await pipelines.run("all")
                tasks.cancel_scope.cancel()

    anyio.run(execute)


@contextmanager
def held_file(file: Path) -> Iterator[int]:
    """Let another process hold a DuckDB file; yield its process id."""
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield process.pid
        process.communicate()


def test_a_warehouse_that_another_process_holds_is_named(project: ThrowAwayProject) -> None:
    three_jobs(project, stages=[{"name": "a", "jobs": ["good"]}])
    project.run("all")
    file = project.settings().warehouse_path

    with held_file(file) as pid, pytest.raises(HeldByAnother, match=rf"{file.name} is held by .*PID {pid}"):
        project.run("all")

    assert len(FileRunStore(project.settings().runs_dir).latest()) == 1
    assert project.run("all").status is Status.SUCCESS
