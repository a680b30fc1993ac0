"""A runner that is killed in the middle of a landing leaves it running on the server: the next run waits for it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from runner.ids import new_ulid
from runner.pipeline_runner import PipelineRunner
from runner.ports import QueryScope, Statement
from tests.bigquery_lab import open_lab
from tests.cli.demo_project import DemoProject
from tests.engines import BigQueryEngine
from tests.projects import ThrowAwayProject, call, not_exists, read, write
from tests.servers.bigquery import AnswerFault, BigQueryProject, JobFault
from tests.waiting import until
from tests.warehouse_lab import Lab

LASTS = 3.0
"""Seconds for which the landing goes on after its runner was killed."""


@pytest.fixture
def appending(project: ThrowAwayProject, bigquery_project: BigQueryProject) -> ThrowAwayProject:
    """A job that appends what is new: twice landed would be twice there."""
    warehouse = BigQueryEngine(bigquery_project).warehouse
    lines = [f'package = "{project.package}"', "[warehouse]"]
    lines += [f"{name} = {json.dumps(value)}" for name, value in warehouse.items()]
    (project.root / "configs" / "runner.toml").write_text("\n".join(lines), encoding="utf-8")
    project.table("src.numbers", "n int64!", key=["n"], managed=False)
    project.table("out.numbers", "n int64!")
    project.functions("""
        def copy(row):
            return row
    """)
    incremental = not_exists("out.numbers", "n")
    project.job(
        "copy",
        read("src.numbers", incremental=incremental),
        call("copy"),
        write("out.numbers", mode="append"),
    )
    bigquery_project.query("CREATE SCHEMA src")
    bigquery_project.query("CREATE TABLE src.numbers AS SELECT n FROM UNNEST([1, 2, 3]) AS n")
    return project


def kill_while_it_lands(demo: DemoProject, server: BigQueryProject) -> None:
    """Run the job and kill the runner while its landing is under way."""
    server.fail(JobFault(contains="COMMIT TRANSACTION", delay=LASTS, times=1))
    process = demo.start("run", "copy")
    until(lambda: any("-write-" in job for job in server.running()))
    demo.end()
    assert process.returncode < 0


def test_what_a_killed_runner_left_landing_is_waited_for(
    appending: ThrowAwayProject, bigquery_project: BigQueryProject
) -> None:
    demo = DemoProject(appending.root)
    kill_while_it_lands(demo, bigquery_project)
    again = demo.run("run", "copy")
    assert again.returncode == 0, again.stderr
    assert "waiting for a landing that run 01" in again.stderr
    assert ", 0 rows read, 0 written" in again.stderr
    assert bigquery_project.query("SELECT n, count(*) FROM out.numbers GROUP BY n ORDER BY n") == [
        (1, 1), (2, 1), (3, 1),
    ]  # fmt: skip


def test_other_jobs_do_not_wait_for_it(
    appending: ThrowAwayProject, bigquery_project: BigQueryProject
) -> None:
    appending.job("look", read("src.numbers"), call("copy"), write("out.looked", mode="append"))
    appending.table("out.looked", "n int64!")
    demo = DemoProject(appending.root)
    kill_while_it_lands(demo, bigquery_project)
    other = demo.run("run", "look")
    assert other.returncode == 0, other.stderr
    assert "waiting for a landing" not in other.stderr


def test_who_may_not_list_jobs_runs_without(
    appending: ThrowAwayProject, bigquery_project: BigQueryProject
) -> None:
    refused = AnswerFault(
        403, "accessDenied", "no bigquery.jobs.list", method="GET", contains="stateFilter", times=None
    )
    bigquery_project.fail(refused)
    done = DemoProject(appending.root).run("run", "copy")
    assert done.returncode == 0, done.stderr
    assert ", 3 rows read, 3 written" in done.stderr
    assert bigquery_project.met() == [1], "asked once, for all jobs of the run"


@pytest.mark.asyncio
async def test_an_application_that_has_run_before_waits_for_it_too(
    appending: ThrowAwayProject, bigquery_project: BigQueryProject
) -> None:
    """Its connection may be older than the landing."""
    settings = await on_server(
        lambda: appending.settings(warehouse=BigQueryEngine(bigquery_project).warehouse)
    )
    async with PipelineRunner.open(settings) as pipelines:
        assert (await pipelines.run("copy")).rows_written == 3
        await on_server(bigquery_project.query, "INSERT INTO src.numbers VALUES (4)")
        await on_server(kill_while_it_lands, DemoProject(appending.root), bigquery_project)
        assert (await pipelines.run("copy")).rows_read == 0
    landed = await on_server(
        bigquery_project.query, "SELECT n, count(*) FROM out.numbers GROUP BY n ORDER BY n"
    )
    assert landed == [(1, 1), (2, 1), (3, 1), (4, 1)]


@pytest.mark.asyncio
async def test_who_is_cancelled_does_not_wait_until_another_has_asked(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    run_id = new_ulid()
    async with open_lab(bigquery_project, tmp_path) as lab, anyio.create_task_group() as tasks:
        late = AnswerFault(method="GET", contains="stateFilter", delay=LASTS)
        await on_server(bigquery_project.fail, late)
        tasks.start_soon(look, lab, run_id, "first")
        await on_server(until, lambda: bigquery_project.met() == [1])
        started = time.monotonic()
        with anyio.move_on_after(0.2) as scope:
            await look(lab, run_id, "second")
        assert scope.cancelled_caught
        assert time.monotonic() - started < 1.5


async def look(lab: Lab, run_id: str, job_id: str) -> None:
    """Send a query for a job."""
    scope = QueryScope(
        pipeline_id="daily", run_id=run_id, job_id=job_id, job_run_id=new_ulid(), step_id="look", attempt=1,
        report=lambda _used: None,
    )  # fmt: skip
    async with lab.warehouse.scoped(scope).query(Statement(text="SELECT 1 AS n")) as batches:
        assert [batch.num_rows async for batch in batches] == [1]


on_server = anyio.to_thread.run_sync
