"""What the warehouse billed, where it says so: in show, in the last line of a run, in records as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from runner.cli.amounts import amount_text, usage_text
from runner.cli.progress.json_lines import JsonProgress
from runner.cli.sentences import result_line
from runner.cli.wording import size
from runner.events import RunFinished
from runner.ids import new_ulid
from runner.records import PipelineRun, Status
from tests.cli.demo_project import DemoProject
from tests.cli.test_cli_records import START, Captured, InProject, put_run, record

READ = {
    "queries": 1,
    "bytes_processed": 1_234_567_890,
    "bytes_billed": 1_243_611_136,
    "slot_ms": 4_021,
    "cache_hits": 0,
}
WRITE = {"queries": 2, "bytes_processed": 0, "bytes_billed": 10_485_760, "slot_ms": 80, "cache_hits": 1}
BOTH = {
    "queries": 3,
    "bytes_processed": 1_234_567_890,
    "bytes_billed": 1_254_096_896,
    "slot_ms": 4_101,
    "cache_hits": 1,
}


@pytest.fixture
def billed(project: DemoProject) -> str:
    """A run whose read and write were billed; returns its id."""
    made = record(new_ulid(), "form_obs", Status.SUCCESS)
    read, score, write = made.step_timings
    timings = (
        replace(read, warehouse={**READ, "query_ids": ["a"]}),
        score,
        replace(write, warehouse={**WRITE, "query_ids": ["b", "c"]}),
    )
    return put_run(
        project, "daily", replace(made, step_timings=timings, warehouse=BOTH), status=Status.SUCCESS
    )


def run_of(warehouse: dict[str, Any] | None) -> PipelineRun:
    job = replace(record("R", "form_obs", Status.SUCCESS), warehouse=warehouse)
    return PipelineRun(
        pipeline_run_id="R", pipeline_id="daily", status=Status.SUCCESS, started_at=START, jobs=(job,)
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 KB"), (10_485_760, "10.5 MB"), (999_949, "999.9 KB"),
     (999_950, "1.0 MB"), (1_250_000_000, "1.2 GB"), (3 * 10**12, "3.0 TB"), (5_000 * 10**15, "5,000.0 PB")],
)  # fmt: skip
def test_bytes_as_people_read_them(number: int, text: str) -> None:
    assert size(number) == text


def test_usage_says_what_is_known() -> None:
    assert usage_text(BOTH) == "3 queries, 1.2 GB processed, 1.3 GB billed, 4.1 s of slots, 1 from the cache"
    assert usage_text({"queries": 1}) == "1 query"
    assert usage_text({"queries": 1, "bytes_billed": 10_485_760, "cost": 10 / 2**20 * 6.25}) == (
        "1 query, 10.5 MB billed, cost 0.000060"
    )


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0.0, "0"), (0.00000001, "<0.000001"), (0.000060, "0.000060"), (0.0077, "0.0077"), (0.05, "0.050"), (0.5, "0.50"),
     (6.25, "6.25"), (1_234.5, "1,234.50")],
)  # fmt: skip
def test_small_costs_keep_two_digits(amount: float, text: str) -> None:
    assert amount_text("cost", amount) == text


def test_show_has_columns_for_what_the_warehouse_tells(
    billed: str, in_project: InProject, capsys: Captured
) -> None:
    assert in_project("show") == 0

    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f"warehouse {usage_text(BOTH)}" in lines
    assert "step op status share duration in out processed billed slots" in lines
    assert "read_me read success 25 % 0.2 s 60 60 1.2 GB 1.2 GB 4.0 s" in lines
    assert "score call success 50 % 0.5 s 60 429 - - -" in lines
    assert "write write success 25 % 0.2 s 429 429 0 B 10.5 MB 80 ms" in lines


def test_records_as_json_hold_sums_and_ids(billed: str, in_project: InProject, capsys: Captured) -> None:
    assert in_project("show", "-o", "json") == 0
    run = json.loads(capsys.readouterr().out)
    assert in_project("runs", "-o", "json") == 0
    (listed,) = json.loads(capsys.readouterr().out)

    assert run["warehouse"] == run["jobs"][0]["warehouse"] == listed["warehouse"] == BOTH
    ids = [timing.get("warehouse", {}).get("query_ids") for timing in run["jobs"][0]["step_timings"]]
    assert ids == [["a"], None, ["b", "c"]]


@pytest.mark.parametrize(
    ("warehouse", "text"),
    [(BOTH, "60 rows read, 429 written, 1.3 GB billed; details: "), ({"queries": 1}, "429 written; details: "),
     (None, "429 written; details: ")],
)  # fmt: skip
def test_the_last_line_of_a_run_tells_what_was_billed(warehouse: dict[str, Any] | None, text: str) -> None:
    assert text in result_line(run_of(warehouse), "run-pipeline show")


def test_the_last_line_of_a_run_tells_what_it_cost_where_there_is_a_price() -> None:
    line = result_line(run_of({**BOTH, "cost": 0.0071}), "run-pipeline show")
    assert "1.3 GB billed, cost 0.0071; details: " in line


@pytest.mark.parametrize("warehouse", [BOTH, None])
def test_the_last_line_as_json_tells_all(warehouse: dict[str, Any] | None) -> None:
    lines: list[dict[str, Any]] = []
    progress = JsonProgress(lines.append)
    progress.on_event(RunFinished(run_id="R", status=Status.SUCCESS, duration_ms=1))
    progress.finish(run_of(warehouse))

    assert lines[-1].get("warehouse") == warehouse
