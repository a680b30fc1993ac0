"""What a run's record tells besides results: the order of its jobs, its trace, the most memory it held."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import anyio
import pytest

from runner.events import RunStarted
from runner.pipeline_runner import PipelineRunner
from runner.records import PipelineRun, Status
from runner.run_store import FileRunStore
from tests.projects import ThrowAwayProject, call, extract, job_of, read, write

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
MIB = 1 << 20


@pytest.fixture
def staged(project: ThrowAwayProject) -> ThrowAwayProject:
    """Two loads at once, then a pipeline in graph form, in a queue of its own; `a` may be told to fail."""
    project.functions("""
        from pathlib import Path

        def numbers(folder):
            if Path(folder, "fail").exists():
                raise OSError("told to")
            yield {"n": 1}
    """)
    arguments = {"folder": str(project.root)}
    for name in "abcd":
        project.table(f"out.{name}", "n int64!", key=["n"])
        project.job(
            name, extract("numbers", arguments=arguments if name == "a" else {"folder": ""}), write(f"out.{name}"),
            queue="maintenance" if name == "d" else "default",
        )  # fmt: skip
    project.pipeline("graph", jobs={"c": {}, "d": {"needs": ["c"]}})
    project.pipeline(
        "daily",
        stages=[{"name": "load", "jobs": ["a", "b"], "max_workers": 2}, {"name": "rest", "jobs": ["graph"]}],
    )
    return project


def order(run: PipelineRun) -> dict[str, tuple[tuple[str, ...], tuple[str, ...], str]]:
    """What each job waits for, what of that it needs, and its queue."""
    return {job.job_id: (job.waits_for, job.needs, job.queue) for job in run.jobs}


EXPECTED = {
    "a": ((), (), "default"),
    "b": ((), (), "default"),
    "c": (("daily/load",), (), "default"),
    "d": (("c",), ("c",), "maintenance"),
}


def test_records_tell_the_order_of_the_run(staged: ThrowAwayProject) -> None:
    """With barriers as they stand in the plan, and also for jobs that failed or never ran."""
    run = staged.run("daily")
    assert order(run) == EXPECTED
    assert run.barriers["daily/load"] == ("a", "b")
    store = FileRunStore(staged.settings().runs_dir)
    assert store.load(run.pipeline_run_id) == run
    (store.path(run.pipeline_run_id) / "run.json").unlink()
    assert store.load(run.pipeline_run_id) == run
    job = json.loads((store.path(run.pipeline_run_id) / "jobs" / "d.json").read_text())
    assert (job["waits_for"], job["needs"], job["queue"]) == (["c"], ["c"], "maintenance")

    (staged.root / "fail").touch()
    assert order(staged.run("daily")) == EXPECTED


def test_a_retry_tells_what_is_left_of_the_order(staged: ThrowAwayProject) -> None:
    """In the place of what is done stand barriers: what a job waits for is always a job or barrier of the same run."""
    (staged.root / "fail").touch()
    failed = staged.run("daily")
    assert failed.owed == ("a",)
    (staged.root / "fail").unlink()

    async def retry() -> PipelineRun | None:
        async with PipelineRunner.open(staged.settings()) as pipelines:
            return await pipelines.retry("last")

    run = anyio.run(retry)

    assert run is not None
    assert [job.job_id for job in run.jobs] == ["a"]
    known = {job.job_id for job in run.jobs} | run.barriers.keys()
    assert {node for job in run.jobs for node in job.waits_for} <= known
    assert {node for members in run.barriers.values() for node in members} <= known
    assert {"b", "c", "d"} < known


def test_one_trace_is_in_everything(staged: ThrowAwayProject) -> None:
    """A new one for each run."""
    first, second = staged.run("graph"), staged.run("graph")
    assert first.trace_id != second.trace_id
    assert {job.trace_id for job in first.jobs} == {first.trace_id}
    rows = staged.rows(
        f"SELECT DISTINCT trace_id FROM ops.event_log WHERE correlation_id = '{first.pipeline_run_id}'"
    )
    assert [row["trace_id"] for row in rows] == [first.trace_id]


def test_the_command_line_takes_over_the_trace_of_its_caller(staged: ThrowAwayProject) -> None:
    """As programs hand it on: in TRACEPARENT."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "runner", "a", "-o", "json", "-q", "--project", str(staged.root)],
        capture_output=True, text=True, check=True, cwd="/",
        env={
            **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "TRACEPARENT": f"00-{TRACE}-00f067aa0ba902b7-01",
        },
    )  # fmt: skip
    run = json.loads(done.stdout)
    assert (run["trace_id"], run["jobs"][0]["trace_id"]) == (TRACE, TRACE)
    started = FileRunStore(staged.settings().runs_dir).events(run["pipeline_run_id"])[0]
    assert isinstance(started, RunStarted)
    assert (started.trace_id, started.parent_span_id) == (TRACE, "00f067aa0ba902b7")


def test_the_peak_is_that_of_the_largest_process(project: ThrowAwayProject) -> None:
    """A worker that holds 900 MiB for a moment, more than this process."""
    project.table("src.numbers", "n int64!", key=["n"])
    project.table("out.numbers", "n int64!", key=["n"])
    project.functions(f"""
        def plain(row):
            return row

        def hold(row):
            held = bytearray({900 * MIB})
            for at in range(0, len(held), 4096):
                held[at] = 1
            return row
    """)
    for name, way in (("plain", "thread"), ("hold", "process")):
        project.job(name, read("src.numbers"), call(name, runs_in=way), write("out.numbers"))
    project.fill("src.numbers", [{"n": 1}])

    small, large = project.run("plain"), project.run("hold", processes=1)

    assert job_of(large).status is Status.SUCCESS, job_of(large).errors
    assert (small.peak_memory_bytes or 0) > 30 * MIB
    assert 900 * MIB < (large.peak_memory_bytes or 0) < 1200 * MIB
