"""Stopping work in BigQuery: its job is done at the server within a second, and the warehouse goes on."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from runner.errors import TimeLimitExceeded
from runner.pipeline_runner import PipelineRunner
from runner.ports import ReadQuery, Statement, TableCheck, WriteTarget
from runner.records import RunRecord, Status
from runner.run_store import FileRunStore
from runner.settings import Settings
from runner.specs import CheckSpec
from runner.warehouses.bigquery.writer import INLINE_ROWS
from tests.bigquery_lab import open_lab
from tests.engines import BigQueryEngine
from tests.postgres_lab import eventually
from tests.projects import ThrowAwayProject, call, job_of, read, write
from tests.servers.bigquery import BigQueryProject, JobFault
from tests.warehouse_lab import EVENTS, STAMP, Lab, batch_of

pytestmark = pytest.mark.asyncio

Work = Callable[[Lab], Awaitable[object]]

ENDLESS = (
    "SELECT count(*) AS n FROM UNNEST(GENERATE_ARRAY(1, 100000)) AS a, UNNEST(GENERATE_ARRAY(1, 100000)) AS b"
)
"""A query that takes minutes."""


async def endless(lab: Lab) -> None:
    """Run a query that is at work, not waiting."""
    async with lab.warehouse.query(Statement(text=ENDLESS + " WHERE MOD(a + b, 7) = 8")) as batches:
        async for _ in batches:
            pass


async def reading(lab: Lab) -> None:
    """Read a table."""
    await lab.read(ReadQuery(source=EVENTS, columns=("id",)))


async def land(lab: Lab) -> None:
    """Land by a script."""
    await lab.fill(EVENTS, ("a", "x", 1, None))


async def load(lab: Lab) -> None:
    """Land so many rows that a load job comes first."""
    rows = [(f"e{n}", "x", n, None) for n in range(INLINE_ROWS + 1)]
    target = WriteTarget(step_id="fill", table=EVENTS, mode="append", key=())
    await lab.land(target, batch_of(EVENTS, EVENTS.column_names, rows))


async def check(lab: Lab) -> None:
    """Check a table."""
    step = CheckSpec.model_validate(
        {"step_id": "fit", "op": "check", "dataset": "lab", "table": "events", "expect": [{"not_null": "id"}]}
    )
    await lab.warehouse.check(
        TableCheck(step_id="fit", table=EVENTS, expectations=step.expectations, as_of=STAMP)
    )


WORKS = [endless, reading, land, load, check]


@pytest.mark.parametrize("work", WORKS)
async def test_cancelled_work_is_done_at_the_server_within_a_second(
    bigquery_project: BigQueryProject, tmp_path: Path, work: Work
) -> None:
    async with open_lab(bigquery_project, tmp_path, EVENTS) as lab:
        for delay in (0.0, 0.02, 0.3):
            await on_server(bigquery_project.fail, JobFault(delay=60, times=None))
            with anyio.move_on_after(delay) as scope:
                await work(lab)
            cancelled = time.monotonic()
            assert scope.cancelled_caught
            assert bigquery_project.running() == []
            assert time.monotonic() - cancelled < 1
            assert time.monotonic() - scope.deadline < 1.5
        await on_server(bigquery_project.heal)
        assert await lab.warehouse.count_matching(EVENTS, ()) == 0


@pytest.mark.parametrize("work", [endless, reading, land, load])
async def test_work_over_its_time_limit_is_done_at_the_server(
    bigquery_project: BigQueryProject, tmp_path: Path, work: Work
) -> None:
    async with open_lab(bigquery_project, tmp_path, EVENTS, query_timeout=3) as lab:
        await on_server(bigquery_project.fail, JobFault(delay=60, times=None))
        started = time.monotonic()
        with pytest.raises(TimeLimitExceeded, match=r"query.*3 s"):
            await work(lab)
        assert time.monotonic() - started < 6
        assert bigquery_project.running() == []


async def test_a_limit_holds_at_the_server_when_we_are_gone(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    """The job says itself how long it may take: nobody needs to be there to end it."""
    async with open_lab(bigquery_project, tmp_path, EVENTS, query_timeout=3) as lab:
        await reading(lab)
        (body,) = bigquery_project.submitted()
    assert body["configuration"]["jobTimeoutMs"] == "3000"


async def test_a_cancelled_run_leaves_no_job_running(
    project: ThrowAwayProject, bigquery_project: BigQueryProject
) -> None:
    project.table("src.numbers", "n int64!", managed=False)
    project.table("out.numbers", "n int64!", key=["n"])
    project.functions("""
        def copy(row):
            return row
    """)
    project.job("copy", read("src.numbers"), call("copy"), write("out.numbers"))
    await on_server(bigquery_project.query, "CREATE SCHEMA src")
    await on_server(bigquery_project.query, "CREATE TABLE src.numbers AS SELECT 1 AS n")
    settings = await on_server(lambda: project.settings(warehouse=BigQueryEngine(bigquery_project).warehouse))
    for place in ("FROM `src`.`numbers`", "COMMIT TRANSACTION"):
        await on_server(bigquery_project.fail, JobFault(delay=60, contains=place))
        async with PipelineRunner.open(settings) as pipelines, anyio.create_task_group() as tasks:
            tasks.start_soon(pipelines.run, "copy")
            await on_server(eventually, lambda: bigquery_project.met() == [1], 20)
            tasks.cancel_scope.cancel()
            cancelled = time.monotonic()
        assert bigquery_project.running() == []
        assert time.monotonic() - cancelled < 3  # the run is recorded and the warehouse closed, too
        assert (await on_server(last_run, settings)).status is Status.CANCELLED


def last_run(settings: Settings) -> RunRecord:
    """Return the record of the only job of the last run."""
    store = FileRunStore(settings.runs_dir)
    return job_of(store.load(store.resolve("last")))


on_server = anyio.to_thread.run_sync
