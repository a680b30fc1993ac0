"""Traces and metrics of real runs, as a collector gets them: the tree, its times, its words. And without one."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from blockbuster import blockbuster_ctx
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from runner.pipeline_runner import PipelineRunner
from runner.pipeline_runner.warehouse import build_warehouse
from runner.ports import Warehouse
from runner.records import PipelineRun, Status
from runner.settings import Settings
from runner.telemetry.spans import KEPT_STATEMENTS, unix_ns
from tests.engines import new_engine
from tests.projects import FAST, ThrowAwayProject, call, extract, job_of, read, step_of, write
from tests.receivers import silent_server
from tests.servers.otlp import Collector, Span, collecting

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CANARY = "canary-7f3a"

FUNCTIONS = """
    import time
    from pathlib import Path

    from runner import WarehouseError

    def numbers(count, stop=None):
        for n in range(count):
            time.sleep(0.001)
            yield {"n": n}

    def double(row):
        return {"n": row["n"], "double": row["n"] * 2}

    def fail(row):
        raise RuntimeError("on purpose")

    def once(row, marker):
        if not Path(marker).exists():
            Path(marker).touch()
            raise ConnectionResetError("gone for a moment")
        return row
"""


@pytest.fixture
def shop(project: ThrowAwayProject) -> ThrowAwayProject:
    """Two loads in a stage, one that works on what they brought, one that fails, and one that needs the latter."""
    settings = project.root / "configs" / "runner.toml"
    settings.write_text(f'package = "{project.package}"\n[queues]\nnarrow = 1\n', encoding="utf-8")
    project.functions(FUNCTIONS)
    project.table("raw.a", "n int64!", key=["n"])
    project.table("raw.b", "n int64!", key=["n"])
    project.table("out.doubles", "n int64!, double int64!", key=["n"])
    for name in ("a", "b"):
        numbers = extract("numbers", arguments={"count": 30})
        project.job(f"load_{name}", numbers, write(f"raw.{name}"), queue="narrow")
    project.job("doubles", read("raw.a"), call("double"), write("out.doubles"))
    project.job("broken", read("raw.a"), call("fail"), write("out.doubles"))
    project.job("after_broken", read("raw.b"), call("double"), write("out.doubles"))
    project.pipeline(
        "shop",
        max_workers=4,
        stages=[
            {"name": "load", "jobs": ["load_a", "load_b"]},
            {"name": "work", "jobs": ["doubles", "broken"]},
        ],
    )
    return project


def run_it(
    project: ThrowAwayProject, name: str, collector: Collector, *, traceparent: str | None = None, **more: Any
) -> PipelineRun:
    telemetry = {"endpoint": collector.url, **more.pop("telemetry", {})}
    settings = project.settings(retries=FAST, telemetry=telemetry, **more)

    async def execute() -> PipelineRun:
        async with PipelineRunner.open(settings) as pipelines:
            with blockbuster_ctx("runner"):
                return await pipelines.run(name, traceparent=traceparent)

    return anyio.run(execute)


def nested(collector: Collector, span: Span) -> None:
    """Assert that everything below a span is inside of it."""
    assert span.start_ns <= span.end_ns, span.name
    for child in collector.below(span):
        assert span.start_ns <= child.start_ns <= child.end_ns <= span.end_ns, (span.name, child.name)
        nested(collector, child)


# --- the tree ---


def test_a_run_is_a_tree_of_spans(shop: ThrowAwayProject) -> None:
    with collecting() as collector:
        run = run_it(shop, "shop", collector)

    root = collector.named("RUN shop")
    assert (root.kind, root.parent_id, root.trace_id) == ("SERVER", "", run.trace_id)
    assert {span.trace_id for span in collector.spans} == {run.trace_id}
    assert {job.trace_id for job in run.jobs} == {run.trace_id}
    assert shop.rows("SELECT DISTINCT trace_id FROM ops.event_log") == [{"trace_id": run.trace_id}]
    assert root.attributes["cicd.pipeline.name"] == "shop"
    assert root.attributes["cicd.pipeline.run.id"] == run.pipeline_run_id
    assert root.attributes["cicd.pipeline.action.name"] == "RUN"
    jobs = [span for span in collector.below(root) if span.kind == "INTERNAL"]
    assert sorted(span.name for span in jobs) == ["broken", "doubles", "load_a", "load_b"]
    for job in jobs:
        record = job_of(run, job.name)
        assert job.attributes["cicd.pipeline.task.run.id"] == record.run_id
        steps = [span for span in collector.below(job) if span.kind == "INTERNAL"]
        asked = [timing.step_id for timing in record.step_timings if timing.first_ms is not None]
        assert sorted(span.name for span in steps) == sorted(asked)
        for step in steps:
            statements = collector.below(step)
            assert {span.kind for span in statements} <= {"CLIENT"}
    write_span = next(span for span in collector.below(collector.named("load_a")) if span.name == "write")
    assert [span.name for span in collector.below(write_span)][-1] == "COMMIT"
    assert collector.resources[0]["service.name"] == "run-pipeline"


def test_its_times_are_those_of_the_records(shop: ThrowAwayProject) -> None:
    with collecting() as collector:
        run = run_it(shop, "shop", collector)

    root = collector.named("RUN shop")
    assert abs(root.start_ns - unix_ns(run.started_at)) < 20_000_000
    assert root.end_ns == unix_ns(run.started_at) + int(run.duration_ms * 1e6)
    nested(collector, root)
    for record in run.jobs:
        job = collector.named(record.job_id)
        assert record.started_at is not None
        assert job.start_ns == unix_ns(record.started_at)
        assert job.end_ns - job.start_ns == int(record.duration_ms * 1e6)
        assert job.attributes["run_pipeline.job.queue_ms"] == record.queue_ms
        for step in (span for span in collector.below(job) if span.kind == "INTERNAL"):
            timing = step_of(record, step.name)
            assert step.attributes["run_pipeline.step.duration_ms"] == timing.duration_ms
            if timing.op != "write":  # whose staging area is opened before it is asked for anything
                assert step.end_ns - step.start_ns >= int(timing.duration_ms * 1e6) - 1_000_000
            assert step.attributes["run_pipeline.rows_out"] == timing.rows_out
    queued = max(run.jobs, key=lambda record: record.queue_ms)
    assert queued.job_id in ("load_a", "load_b"), "the narrow queue lets one of them wait for the other"
    assert queued.queue_ms > 20


def test_statements_say_what_was_sent_and_never_values(shop: ThrowAwayProject) -> None:
    shop.job(
        "secret",
        {"step_id": "ask", "op": "sql", "statement": f"SELECT n FROM raw.a WHERE '{CANARY}' <> :word AND n < :most",
         "params": {"word": "hidden-value", "most": 3}},
        call("double"),
        write("out.doubles"),
    )  # fmt: skip
    with collecting() as collector:
        run_it(shop, "load_a", collector)
        collector.spans.clear()
        run = run_it(shop, "secret", collector, connections={"api": {"password": CANARY}})

    assert run.status is Status.SUCCESS
    query = next(span for span in collector.below(collector.named("ask")) if span.name == "SELECT")
    assert query.attributes["db.system.name"] == "duckdb"
    assert query.attributes["db.query.summary"] == "SELECT"
    assert query.attributes["db.response.returned_rows"] == 3
    assert query.attributes["db.query.text"] == "SELECT n FROM raw.a WHERE '***' <> $word AND n < $most"
    everything = repr(collector.spans)
    assert CANARY not in everything
    assert "hidden-value" not in everything


def test_jobs_are_linked_to_those_that_they_came_after(shop: ThrowAwayProject) -> None:
    """Through the end of a stage, too."""
    with collecting() as collector:
        run_it(shop, "shop", collector)

    loads = {collector.named(name).span_id for name in ("load_a", "load_b")}
    assert set(collector.named("doubles").links) == loads
    assert set(collector.named("broken").links) == loads
    assert collector.named("load_a").links == ()


def test_failures_are_told_where_they_happened(shop: ThrowAwayProject) -> None:
    after = {"needs": ["broken", "load_b"]}
    jobs = {"load_a": {}, "broken": {"needs": "load_a"}, "load_b": {}, "after_broken": after}
    shop.pipeline("chain", jobs=jobs)
    with collecting() as collector:
        run = run_it(shop, "chain", collector)

    assert run.status is Status.PARTIAL
    root, broken, good = (collector.named(name) for name in ("RUN chain", "broken", "load_a"))
    step = next(span for span in collector.below(broken) if span.name == "fail")
    for span in (broken, step):
        assert span.failed
        assert span.attributes["error.type"] == "function"
        ((_, exception),) = [event for event in span.events if event[0] == "exception"]
        assert exception["exception.type"] == "FunctionFailed"
        assert "on purpose" in exception["exception.message"]
    assert broken.attributes["cicd.pipeline.task.run.result"] == "failure"
    assert not good.failed
    assert good.attributes["cicd.pipeline.task.run.result"] == "success"
    assert root.failed
    assert root.attributes["cicd.pipeline.result"] == "failure"
    ((_, skipped),) = [event for event in root.events if event[0] == "job.skipped"]
    assert skipped["cicd.pipeline.task.name"] == "after_broken"


# --- who calls ---


@pytest.mark.parametrize("flags", ["01", "00"])
def test_the_caller_of_a_run_is_its_parent(shop: ThrowAwayProject, flags: str) -> None:
    """And decides whether it is traced at all: the record has the trace in any case."""
    with collecting() as collector:
        run = run_it(shop, "load_a", collector, traceparent=f"00-{TRACE}-{CALLER}-{flags}")

    assert run.trace_id == TRACE
    if flags == "00":
        assert collector.spans == []
    else:
        root = collector.named("RUN load_a")
        assert (root.trace_id, root.parent_id) == (TRACE, CALLER)


def test_an_application_hands_its_providers_in(shop: ThrowAwayProject) -> None:
    """They are used instead of the settings' collector, the span that is current there is the parent, and nobody
    shuts them down or makes them global.
    """
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    before = trace.get_tracer_provider()

    async def execute(address: str) -> PipelineRun:
        settings = shop.settings(telemetry={"endpoint": address})
        opened = PipelineRunner.open(settings, tracer_provider=tracers, meter_provider=meters)
        async with opened as pipelines:
            with tracers.get_tracer("host").start_as_current_span("request"):
                return await pipelines.run("load_a")

    with collecting() as collector:
        run = anyio.run(execute, collector.url)

    by_name = {span.name: span for span in exporter.get_finished_spans()}
    request, root = by_name["request"], by_name["RUN load_a"]
    assert root.parent is not None
    assert root.parent.span_id == request.context.span_id
    assert trace.format_trace_id(root.context.trace_id) == run.trace_id
    data = reader.get_metrics_data()
    assert data is not None
    assert "cicd.pipeline.run.duration" in data.to_json()
    assert collector.paths == []
    assert trace.get_tracer_provider() is before
    tracers.get_tracer("host").start_span("still there").end()
    assert exporter.get_finished_spans()[-1].name == "still there"


# --- metrics ---


def test_durations_rows_and_waits_are_measured(shop: ThrowAwayProject) -> None:
    with collecting() as collector:
        run = run_it(shop, "shop", collector)

    (whole,) = collector.measured("cicd.pipeline.run.duration")
    assert whole.attributes["cicd.pipeline.name"] == "shop"
    assert whole.attributes["cicd.pipeline.result"] == "failure"
    assert (whole.unit, whole.count) == ("s", 1)
    assert whole.value == pytest.approx(run.duration_ms / 1000)
    jobs = {
        p.attributes["cicd.pipeline.task.name"]: p for p in collector.measured("run_pipeline.job.duration")
    }
    waits = {
        p.attributes["cicd.pipeline.task.name"]: p
        for p in collector.measured("run_pipeline.job.queue.duration")
    }
    written = {
        p.attributes["cicd.pipeline.task.name"]: p for p in collector.measured("run_pipeline.rows.written")
    }
    for record in run.jobs:
        assert jobs[record.job_id].value == pytest.approx(record.duration_ms / 1000)
        assert waits[record.job_id].value == pytest.approx(record.queue_ms / 1000)
        assert waits[record.job_id].attributes["run_pipeline.queue"] == record.queue
        if record.rows_written:
            assert written[record.job_id].value == record.rows_written
    assert set(written) == {"load_a", "load_b", "doubles"}
    steps = collector.measured("run_pipeline.step.duration")
    assert sum(p.value for p in steps) == pytest.approx(
        sum(t.duration_ms for record in run.jobs for t in record.step_timings if t.status != "skipped") / 1000
    )
    errors = collector.measured("cicd.pipeline.run.errors")
    assert [(p.attributes["error.type"], p.value) for p in errors] == [("function", 1)]
    (queries,) = collector.measured("db.client.operation.duration")
    assert queries.count == len([span for span in collector.spans if span.kind == "CLIENT"])


def test_a_signal_that_is_not_wanted_is_not_sent(shop: ThrowAwayProject) -> None:
    with collecting() as collector:
        run_it(
            shop,
            "load_a",
            collector,
            telemetry={"signals": ("traces",), "headers": {"authorization": "Bearer x"}},
        )

    assert set(collector.paths) == {"/v1/traces"}
    assert {headers["authorization"] for headers in collector.headers} == {"Bearer x"}


# --- no collector ---


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def unused_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_collector_that_is_away_costs_one_line(
    shop: ThrowAwayProject, caplog: pytest.LogCaptureFixture
) -> None:
    begun = time.monotonic()
    run = run_it(shop, "load_a", Collector(url=unused_address()))
    took = timedelta(seconds=time.monotonic() - begun)

    assert run.status is Status.SUCCESS
    (warning,) = warnings(caplog)
    assert "could not be sent to http://127.0.0.1:" in warning
    assert "Connection refused" in warning
    assert took < timedelta(milliseconds=run.duration_ms + run.setup_ms, seconds=1.5)


def test_a_collector_that_hangs_is_waited_for_no_longer_than_the_limit(
    shop: ThrowAwayProject, caplog: pytest.LogCaptureFixture
) -> None:
    """And only after the run is recorded, and the warehouse is closed: its file is free for the next run."""
    ends: list[float] = []
    left: list[float] = []

    @asynccontextmanager
    async def warehouse(settings: Settings) -> AsyncIterator[Warehouse]:
        async with build_warehouse(settings) as opened:
            yield opened
        left.append(time.monotonic())

    with silent_server() as address:
        settings = shop.settings(telemetry={"endpoint": address.rstrip("/"), "timeout": 0.7})

        async def execute() -> PipelineRun:
            async with PipelineRunner.open(settings, warehouse=warehouse(settings)) as pipelines:
                run = await pipelines.run("load_a")
                ends.append(time.monotonic())
                return run

        begun = time.monotonic()
        run = anyio.run(execute)
        closed = time.monotonic()

    assert run.status is Status.SUCCESS
    assert (ends[0] - begun) * 1000 < run.duration_ms + run.setup_ms + 500
    assert 0.5 < closed - left[0] < 1.5
    assert len(warnings(caplog)) == 1
    assert "no answer in time" in warnings(caplog)[0]


def test_a_collector_that_refuses_costs_one_line(
    shop: ThrowAwayProject, caplog: pytest.LogCaptureFixture
) -> None:
    with collecting(answer=401) as collector:
        run = run_it(shop, "load_a", collector)

    assert run.status is Status.SUCCESS
    (warning,) = warnings(caplog)
    assert "401" in warning
    assert sorted(collector.paths) == ["/v1/metrics", "/v1/traces"]


def test_no_thread_is_left_behind(shop: ThrowAwayProject) -> None:
    before = set(threading.enumerate())
    with collecting() as collector:
        run_it(shop, "load_a", collector)

    left = [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("Otel")]
    assert left == []


# --- other engines, several runs, and runs that end otherwise ---


@pytest.mark.parametrize(("name", "system"), [("postgres-18", "postgresql"), ("bigquery", "gcp.bigquery")])
def test_statements_of_servers_stand_below_their_steps(
    name: str, system: str, shop: ThrowAwayProject, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    shop.pipeline("chain", jobs={"load_a": {}, "doubles": {"needs": "load_a"}})
    with new_engine(name, request, tmp_path) as engine, collecting() as collector:
        run = run_it(shop, "chain", collector, warehouse=engine.warehouse)

    assert run.status is Status.SUCCESS
    nested(collector, collector.named("RUN chain"))
    assert {span.attributes["db.system.name"] for span in collector.spans if span.kind == "CLIENT"} == {
        system
    }
    reading = next(span for span in collector.below(collector.named("doubles")) if span.name == "read")
    texts = [(span.attributes["db.query.text"], span) for span in collector.below(reading)]
    asked = next(span for text, span in texts if "SELECT" in text and "raw" in text)
    if name == "bigquery":
        assert asked.attributes["run_pipeline.query.id"]
    for job in ("load_a", "doubles"):
        (landing,) = [span for span in collector.below(collector.named(job)) if span.name == "write"]
        assert collector.below(landing), "what lands is charged to the write"


@pytest.mark.parametrize("name", ["duckdb", "postgres-18", "bigquery"])
def test_the_statement_that_failed_says_so_and_no_other(
    name: str, shop: ThrowAwayProject, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    statement = "DELETE FROM out.doubles WHERE n IN (SELECT n FROM out.nothing)"
    shop.job("wrong", {"step_id": "tidy", "op": "sql", "statement": statement, "writes": ["out.doubles"]})
    with new_engine(name, request, tmp_path) as engine, collecting() as collector:
        run = run_it(shop, "wrong", collector, warehouse=engine.warehouse)

    assert run.status is Status.FAILURE
    asked = [span for span in collector.spans if span.kind == "CLIENT"]
    (failed,) = [span for span in asked if span.failed]
    assert "out.nothing" in failed.attributes["db.query.text"]
    assert failed.attributes["error.type"] in ("CatalogException", "UndefinedTable", "ObjectNotFound")
    assert len(asked) > 1
    assert not any("error.type" in span.attributes for span in asked if span is not failed)


@pytest.mark.parametrize("name", ["duckdb", "postgres-18", "bigquery"])
def test_a_query_that_fails_among_its_rows_says_so_and_no_other(
    name: str, shop: ThrowAwayProject, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    number = "CAST(CASE WHEN n > 20 THEN 'many' ELSE '1' END AS {})".format(
        "INT64" if name == "bigquery" else "BIGINT"
    )
    query = {"step_id": "ask", "op": "sql", "statement": f"SELECT {number} AS n, 0 AS double FROM raw.a"}
    shop.job("wrong", query, write("out.doubles"))
    shop.pipeline("chain", jobs={"load_a": {}, "wrong": {"needs": "load_a"}})
    with new_engine(name, request, tmp_path) as engine, collecting() as collector:
        run_it(shop, "chain", collector, warehouse=engine.warehouse)

    asked = [span for span in collector.spans if span.kind == "CLIENT"]
    (failed,) = [span for span in asked if span.failed]
    assert "'many'" in failed.attributes["db.query.text"]
    assert failed.attributes["error.type"]


def test_two_runs_at_once_are_two_trees(shop: ThrowAwayProject) -> None:
    async def execute(address: str) -> None:
        settings = shop.settings(telemetry={"endpoint": address})
        async with PipelineRunner.open(settings) as pipelines, anyio.create_task_group() as tasks:
            for name in ("load_a", "load_b"):
                tasks.start_soon(pipelines.run, name)

    with collecting() as collector:
        anyio.run(execute, collector.url)

    roots = {name: collector.named(f"RUN {name}") for name in ("load_a", "load_b")}
    assert roots["load_a"].trace_id != roots["load_b"].trace_id
    for name, root in roots.items():
        assert name in {span.name for span in collector.below(root)}
        inside = {
            s.attributes.get("db.query.text", "") for s in collector.spans if s.trace_id == root.trace_id
        }
        other = "raw.b" if name == "load_a" else "raw.a"
        assert not [text for text in inside if other in text.replace('"', "")]


def test_retries_are_events_of_the_job(shop: ThrowAwayProject, tmp_path: Path) -> None:
    once = call("once", arguments={"marker": str(tmp_path / "tried")}, retries=2)
    shop.job("shaky", extract("numbers", arguments={"count": 3}), once, write("raw.a"))
    with collecting() as collector:
        run = run_it(shop, "shaky", collector)

    assert run.status is Status.SUCCESS
    job = collector.named("shaky")
    assert not job.failed
    events = dict(job.events)
    assert events["job.retrying"]["run_pipeline.attempt"] == 1
    assert "gone for a moment" in events["job.retrying"]["exception.message"]
    assert events["job.landed"]["run_pipeline.rows.raw.a"] == 3
    (step,) = [span for span in collector.below(job) if span.name == "once"]
    assert step.attributes["run_pipeline.attempts"] == 2


def test_a_cancelled_run_is_a_cancellation(shop: ThrowAwayProject) -> None:
    shop.job("long", extract("numbers", arguments={"count": 100_000}), write("raw.a"))

    async def execute(address: str) -> None:
        async with PipelineRunner.open(shop.settings(telemetry={"endpoint": address})) as pipelines:
            with anyio.move_on_after(1):
                await pipelines.run("long")

    with collecting() as collector:
        anyio.run(execute, collector.url)

    root, job = collector.named("RUN long"), collector.named("long")
    assert root.attributes["cicd.pipeline.result"] == "cancellation"
    assert job.attributes["cicd.pipeline.task.run.result"] == "cancellation"
    assert not root.failed
    nested(collector, root)


def test_a_run_that_cannot_be_recorded_is_an_error(shop: ThrowAwayProject) -> None:
    shop.settings().state_dir.mkdir()
    shop.settings().runs_dir.write_text("in the way")
    with collecting() as collector, pytest.raises(OSError, match="runs"):
        run_it(shop, "load_a", collector)

    root = collector.named("RUN load_a")
    assert root.failed
    assert root.attributes["cicd.pipeline.result"] == "error"


def test_of_very_many_statements_some_are_kept_and_the_others_counted(shop: ThrowAwayProject) -> None:
    shop.job("many", extract("numbers", arguments={"count": 120}), write("raw.a", commit_every=1))
    with collecting() as collector:
        run_it(shop, "many", collector, batch_rows=1)

    kept = [span for span in collector.spans if span.kind == "CLIENT"]
    (queries,) = collector.measured("db.client.operation.duration")
    job = collector.named("many")
    assert (
        len([span for span in kept if span.parent_id != collector.named("RUN many").span_id])
        == KEPT_STATEMENTS
    )
    assert job.attributes["run_pipeline.statements.dropped"] == queries.count - len(kept) > 0
