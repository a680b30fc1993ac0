"""Traces from the command line: by OpenTelemetry's own variables, for a caller, and without the extra."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.cli.demo_project import DemoProject, environment
from tests.servers.otlp import collecting

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

WITHOUT_THE_EXTRA = """
import sys
sys.modules["opentelemetry.sdk"] = None
from runner.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_run_belongs_to_the_trace_of_its_caller(loaded: DemoProject) -> None:
    with collecting() as collector:
        done = loaded.run(
            "run", "hello", "-o", "json",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_SERVICE_NAME="nightly",
            OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
            TRACEPARENT=f"00-{TRACE}-{CALLER}-01",
        )  # fmt: skip

    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    root = collector.named("RUN hello")
    assert (root.trace_id, root.parent_id) == (TRACE, CALLER)
    assert run["trace_id"] == TRACE
    assert {job["trace_id"] for job in run["jobs"]} == {TRACE}
    assert collector.resources[0]["service.name"] == "nightly"
    assert collector.measured("cicd.pipeline.run.duration")


def test_a_collector_that_is_away_is_one_line_on_stderr(loaded: DemoProject) -> None:
    done = loaded.run("hello", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")

    assert done.returncode == 0
    assert done.stdout.startswith("run ")
    assert [line for line in done.stderr.splitlines() if "127.0.0.1:9" in line or "elemetry" in line] == [
        line for line in done.stderr.splitlines() if "could not be sent to http://127.0.0.1:9/v1/" in line
    ]
    assert done.stderr.count("could not be sent") == 1


def test_without_the_extra_a_run_says_what_is_missing_and_goes_on(loaded: DemoProject) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", WITHOUT_THE_EXTRA, "hello"],
        cwd=loaded.folder, capture_output=True, text=True, check=False,
        env=environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}),
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "nothing is traced" in line]
    assert "opentelemetry-exporter-otlp-proto-http" in line


def test_where_traces_go_is_told_with_its_origin(loaded: DemoProject) -> None:
    done = loaded.run("config", "show", "--origin", OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318")

    (line,) = [line for line in done.stdout.splitlines() if "http://collector:4318" in line]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in line
