"""Performance events of real runs: in `events.jsonl` and in `ops.event_log`, under the words that the YAML gives."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from runner.events import Event, JobPerformance, PipelineFinished, RunFinished, StagePerformance, kind_of
from runner.pipeline_runner import query_event_log
from runner.records import PipelineRun, Status
from runner.run_store import FileRunStore
from tests.projects import ThrowAwayProject, call, extract, write


def numbers(name: str) -> dict[str, Any]:
    """A step that brings one row in, in 50 ms."""
    return {**extract("numbers"), "with": {"name": name}}


@pytest.fixture
def shop(project: ThrowAwayProject) -> ThrowAwayProject:
    """Two stages: three loads, two at once, and one job that may be told to fail."""
    project.functions("""
        import time

        def numbers(name):
            time.sleep(0.05)
            yield {"n": 1, "name": name}

        def work(row):
            time.sleep(0.05)
            return row

        def break_(row):
            raise OSError("no")
    """)
    for name in ("a", "b", "c"):
        project.table(f"out.{name}", "n int64!, name string", key=["n"])
        project.job(f"load_{name}", numbers(name), call("work"), write(f"out.{name}"))
    project.table("out.d", "n int64!, name string", key=["n"])
    project.job("last", numbers("d"), write("out.d"), event="shop.last")
    project.job("broken", numbers("d"), call("break_"), write("out.d"))
    project.pipeline(
        "daily",
        stages=[
            {
                "name": "load",
                "jobs": ["load_a", "load_b", "load_c"],
                "max_workers": 2,
                "event": "shop.loaded",
            },
            {"name": "last", "jobs": ["last"]},
        ],
    )
    project.pipeline(
        "stops",
        stages=[{"name": "first", "jobs": ["broken"]}, {"name": "second", "jobs": ["last"]}],
        stop_on_failure=True,
    )
    return project


def stored(project: ThrowAwayProject, run: PipelineRun) -> list[Event]:
    """The events of a run as its file has them."""
    return list(FileRunStore(project.settings().runs_dir).events(run.pipeline_run_id))


def logged(project: ThrowAwayProject, kind: str) -> list[dict[str, Any]]:
    """The rows of a type in `ops.event_log`, with their payloads."""
    rows = project.rows(f"SELECT * FROM ops.event_log WHERE event_type = '{kind}' ORDER BY event_id")
    return [{**row, "payload": json.loads(row["payload"])} for row in rows]


def test_each_job_and_stage_and_the_run_tell_their_figures(shop: ThrowAwayProject) -> None:
    run = shop.run("daily")

    events = stored(shop, run)
    jobs = [event for event in events if isinstance(event, JobPerformance)]
    assert sorted((event.job_id, event.kind) for event in jobs) == [
        ("last", "shop.last"), ("load_a", "job.performance"), ("load_b", "job.performance"),
        ("load_c", "job.performance"),
    ]  # fmt: skip
    for event in jobs:
        record = next(job for job in run.jobs if job.job_id == event.job_id)
        assert (event.duration_ms, event.rows_written) == (record.duration_ms, 1)
        assert event.query_ms >= 50
        assert (event.transform_ms >= 50) == (event.job_id != "last")
        assert event.query_ms + event.transform_ms + event.write_ms <= record.duration_ms + 0.01
    load, last = (event for event in events if isinstance(event, StagePerformance))
    assert (load.kind, load.stage, load.group, load.status) == (
        "shop.loaded",
        "load",
        "daily/load",
        "success",
    )
    assert (load.job_count, load.max_workers, load.speedup_potential) == (3, 2, 1.5)
    assert 1.2 < load.actual_speedup <= 2
    assert load.duration_ms < run.duration_ms
    assert (last.kind, last.job_count, last.speedup_potential) == ("stage.performance", 1, 1)
    assert last.actual_speedup == pytest.approx(1, abs=0.1)
    assert [type(event) for event in events[-2:]] == [PipelineFinished, RunFinished]


def test_a_stage_is_told_after_its_last_job_and_before_the_next_begins(shop: ThrowAwayProject) -> None:
    kinds = [kind_of(event) for event in stored(shop, shop.run("daily"))]
    assert kinds.index("shop.loaded") < kinds.index("shop.last")
    assert kinds[: kinds.index("shop.loaded")].count("job.performance") == 3


def test_the_event_log_has_them_by_their_words(shop: ThrowAwayProject) -> None:
    run = shop.run("daily")
    (stage,) = logged(shop, "shop.loaded")
    assert (stage["producer_component"], stage["status"]) == ("pipeline.load", "success")
    assert (stage["run_id"], stage["correlation_id"]) == (run.pipeline_run_id, run.pipeline_run_id)
    assert stage["payload"]["job_count"] == 3
    assert "kind" not in stage["payload"]
    (job,) = logged(shop, "shop.last")
    assert (job["producer_component"], job["run_id"]) == ("last", run.jobs[-1].run_id)
    assert {"query_ms", "transform_ms", "write_ms", "rows_read", "rows_written"} <= set(job["payload"])
    (end,) = logged(shop, "pipeline.finished")
    assert (end["producer_component"], end["payload"]["job_statuses"]) == ("pipeline.daily", {"success": 4})
    assert end["payload"]["peak_memory_bytes"] == run.peak_memory_bytes
    assert {row["trace_id"] for row in (stage, job, end)} == {run.trace_id}


def test_a_script_asks_the_event_log(shop: ThrowAwayProject) -> None:
    """By run, by job run, by type; the newest, oldest first; before anything has run there is nothing."""
    ask = partial(query_event_log, project=shop.root)
    assert list(ask()) == []
    first, second = shop.run("last"), shop.run("daily")

    (figures,) = ask(run_id=first.pipeline_run_id, event_type="shop.last")
    assert (figures["producer_component"], figures["payload"]["rows_written"]) == ("last", 1)
    record = next(job for job in second.jobs if job.job_id == "load_a")
    of_job = ask(run_id=record.run_id)
    assert {row["event_type"] for row in of_job} >= {
        "job.started",
        "step.finished",
        "job.finished",
        "job.performance",
    }
    assert {row["run_id"] for row in of_job} == {record.run_id}
    assert [row["event_type"] for row in ask(limit=2)] == ["pipeline.finished", "run.finished"]
    assert [row["correlation_id"] for row in ask(event_type="run.finished")] == [
        first.pipeline_run_id, second.pipeline_run_id,
    ]  # fmt: skip
    assert list(ask(run_id="01KH4SATJ0N3V3Q9T6Y8WZ0A1B")) == []


def test_what_failed_and_what_never_ran(shop: ThrowAwayProject) -> None:
    """A failed job has figures, one that was skipped has none; a stage of those gained nothing."""
    run = shop.run("stops")
    assert run.status is Status.FAILURE
    events = stored(shop, run)
    assert [(e.job_id, e.status.value) for e in events if isinstance(e, JobPerformance)] == [
        ("broken", "failure")
    ]
    stages = [event for event in events if isinstance(event, StagePerformance)]
    assert [(e.stage, e.status.value, e.job_count, e.actual_per_job > 0) for e in stages] == [
        ("first", "failure", 1, True),
        ("second", "skipped", 0, False),
    ]
    (end,) = (event for event in events if isinstance(event, PipelineFinished))
    assert (end.status, end.job_statuses) == ("failure", {"failure": 1, "skipped": 1})
