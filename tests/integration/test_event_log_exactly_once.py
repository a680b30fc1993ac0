"""Every durable event of every run is in `ops.event_log` once, whatever happens to a flush."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from runner.errors import WarehouseUnavailable
from runner.event_log import add_to_outbox, pending_runs
from runner.pipeline_runner import PipelineRunner
from runner.pipeline_runner.places import outbox_dir
from runner.ports import Row
from runner.records import PipelineRun, Status
from runner.run_store import FileRunStore
from runner.warehouses.duckdb import DuckDBWarehouse
from tests.projects import ThrowAwayProject, extract, write


@pytest.fixture
def loading(project: ThrowAwayProject) -> ThrowAwayProject:
    """A project with one small job."""
    project.table("out.numbers", "n int64!", key=["n"])
    project.functions("def numbers():\n    yield {'n': 1}\n")
    project.job("job", extract("numbers"), write("out.numbers"))
    return project


def assert_logged_once(project: ThrowAwayProject) -> None:
    """Compare the event log with the run store."""
    store = FileRunStore(project.settings().runs_dir)
    stored = sorted(
        event.event_id
        for run in store.latest()
        for event in store.events(run.pipeline_run_id)
        if event.durable
    )
    logged = [row["event_id"] for row in project.rows("SELECT event_id FROM ops.event_log ORDER BY 1")]
    assert logged == stored
    assert stored


def test_each_event_is_logged_by_the_run_itself(loading: ThrowAwayProject) -> None:
    for _ in range(3):
        loading.run("job")
        assert pending_runs(outbox_dir(loading.settings())) == []
    assert_logged_once(loading)
    columns = loading.rows("""
        SELECT DISTINCT event_type, producer_component, status FROM ops.event_log
        WHERE correlation_id = (SELECT max(correlation_id) FROM ops.event_log) ORDER BY event_type
    """)
    assert [(row["event_type"], row["producer_component"], row["status"]) for row in columns] == [
        ("job.finished", "job", "success"),
        ("job.landed", "job", "success"),
        ("job.performance", "job", "success"),
        ("job.started", "job", "running"),
        ("pipeline.finished", "pipeline.job", "success"),
        ("run.finished", "pipeline.job", "success"),
        ("run.started", "pipeline.job", "running"),
        ("step.finished", "job", "success"),
    ]


def test_a_flush_that_was_killed_after_its_commit_is_repeated_without_doubles(
    loading: ThrowAwayProject,
) -> None:
    run = loading.run("job")
    # What a kill between the commit and the removal of the entry leaves.
    add_to_outbox(outbox_dir(loading.settings()), run.pipeline_run_id)

    loading.run("job")

    assert pending_runs(outbox_dir(loading.settings())) == []
    assert_logged_once(loading)


class AwayForEvents(DuckDBWarehouse):
    """A DuckDB warehouse that takes everything but events, the first `refusals` times."""

    refusals = 1

    async def merge_events(self, rows: Sequence[Row]) -> int:
        """Refuse, or do."""
        if self.refusals:
            self.refusals -= 1
            raise WarehouseUnavailable("duckdb", "gone for a moment")
        return await super().merge_events(rows)


def test_a_flush_that_fails_fails_no_run_and_the_next_one_makes_up_for_it(
    loading: ThrowAwayProject, caplog: pytest.LogCaptureFixture
) -> None:
    settings = loading.settings()
    pending: list[list[str]] = []

    async def execute() -> list[PipelineRun]:
        warehouse = AwayForEvents(settings.warehouse_path)
        async with PipelineRunner.open(settings, warehouse=warehouse) as pipelines:
            runs = []
            for _ in range(2):
                runs.append(await pipelines.run("job"))
                pending.append(await anyio.to_thread.run_sync(pending_runs, outbox_dir(settings)))
            return runs

    runs = anyio.run(execute)

    assert [run.status for run in runs] == [Status.SUCCESS] * 2
    assert pending == [[runs[0].pipeline_run_id], []]
    assert any("gone for a moment" in record.getMessage() for record in caplog.records)
    assert_logged_once(loading)


def test_flushes_at_the_same_time_log_each_event_once(loading: ThrowAwayProject) -> None:
    runs = [loading.run("job") for _ in range(3)]
    settings = loading.settings()
    for run in runs:
        add_to_outbox(outbox_dir(settings), run.pipeline_run_id)

    async def execute() -> None:
        async with PipelineRunner.open(settings) as pipelines, anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(pipelines.flush_events)

    anyio.run(execute)

    assert_logged_once(loading)


def test_the_events_of_a_cancelled_run_are_logged_by_the_next(loading: ThrowAwayProject) -> None:
    settings = loading.settings()

    async def execute() -> None:
        async with PipelineRunner.open(settings) as pipelines:
            with anyio.CancelScope() as scope:
                await pipelines.run("job", on_event=lambda _: scope.cancel())
            assert scope.cancelled_caught

    anyio.run(execute)
    loading.run("job")

    assert_logged_once(loading)
    statuses: list[dict[str, Any]] = loading.rows(
        "SELECT status FROM ops.event_log WHERE event_type = 'run.finished' ORDER BY timestamp"
    )
    assert [row["status"] for row in statuses] == ["cancelled", "success"]
