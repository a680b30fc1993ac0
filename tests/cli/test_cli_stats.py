"""stats: what many runs tell together, as text and as data."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from runner.cli.commands.stats import NEWEST
from runner.clock import format_utc, utc_now
from runner.events import Event, JobFinished, RunStarted
from runner.fold import fold_run
from runner.records import ErrorInfo
from runner.run_store import FileRunStore
from runner.testing.timed_history import TimedJob, timed_history
from tests.cli.demo_project import DemoProject

InProject = Callable[..., int]
Captured = pytest.CaptureFixture[str]
NOW = utc_now()
RUNS = 40
SLOWER_FROM = 25
"""From this run on `score` of `scores` takes twice as long."""


def put(project: DemoProject, events: list[Event], name: str = "daily") -> str:
    """Write a run as the engine would, and return its id."""
    store = FileRunStore(project.folder / "var" / "runs")
    run_id = events[0].run_id
    writer = store.create(run_id, name, events[0].timestamp)
    writer.append(events)
    for event in events:
        if isinstance(event, JobFinished):
            writer.write_job(event.record)
    writer.write_run(fold_run(events, run_id=run_id, alive=False))
    writer.close()
    return run_id


def moment_of(number: int) -> Any:
    """When the run with this number began: one an hour, the last an hour ago."""
    return NOW - timedelta(hours=RUNS - number)


@pytest.fixture
def runs(project: DemoProject) -> None:
    """Forty runs of daily: two loads beside each other, then scores."""
    noise = random.Random(3)
    for number in range(RUNS):
        error = ErrorInfo(category="quota", message="too much", step_id="write") if number in (4, 9) else None
        score = 1000 * noise.gauss(1, 0.02) * (2 if number >= SLOWER_FROM else 1)
        jobs = [
            TimedJob(job_id="load_a", steps={"fetch": 400.0 * noise.gauss(1, 0.02), "write": 100.0}),
            TimedJob(job_id="load_b", steps={"fetch": 200.0, "write": 50.0}, error=error),
            TimedJob(
                job_id="scores",
                stage=1,
                steps={"read": 100.0, "score": score, "write": 200.0},
                rows=500,
                usage={"queries": 3, "bytes_processed": 2_000_000, "bytes_billed": 10_000_000},
            ),
        ]
        put(project, timed_history("daily", jobs, started_at=moment_of(number), max_workers=2))


def stats_of(in_project: InProject, capsys: Captured, *words: str) -> dict[str, Any]:
    """The statistics as data."""
    assert in_project("stats", "daily", "-o", "json", *words) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_stats_tell_the_bottleneck_and_since_when_it_is_slower(
    runs: None, in_project: InProject, capsys: Captured
) -> None:
    found = stats_of(in_project, capsys)

    assert (found["schema"], found["runs"]) == ("run-pipeline/stats.v1", RUNS)
    assert found["statuses"] == {"success": 38, "partial": 2}
    assert found["bottleneck"] == ["scores", "score"]
    parts = {(part["job_id"], part["step_id"]): part for part in found["parts"]}
    score = parts["scores", "score"]
    assert score["trend"]["word"] == "slower"
    assert score["trend"]["since"] == format_utc(moment_of(SLOWER_FROM))
    assert score["trend"]["change"] == pytest.approx(1, abs=0.05)
    assert parts["scores", "read"]["trend"]["word"] == "steady"
    assert (parts["scores", "read"]["p50_ms"], parts["scores", "read"]["p95_ms"]) == (100, 100)
    assert parts["scores", "write"]["rows_per_second"] == 2500
    assert parts["load_b", ""]["failures"] == 2
    assert parts["load_b", ""]["share"] == 0
    assert parts["load_a", ""]["share"] + parts["scores", ""]["share"] == pytest.approx(1)
    assert found["failure_causes"] == {"quota": 2}
    assert found["usage"] == {"queries": 120, "bytes_processed": 80_000_000, "bytes_billed": 400_000_000}
    assert parts["scores", ""]["usage"]["bytes_billed"] == 10_000_000


def test_stats_for_people(runs: None, in_project: InProject, capsys: Captured) -> None:
    assert in_project("stats", "daily") == 0

    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0].startswith("daily 40 runs from ")
    assert any(line.startswith("bottleneck scores/score with ") for line in lines)
    assert "failures quota 2" in lines
    assert "warehouse 120 queries, 80.0 MB processed, 400.0 MB billed in all" in lines
    score = next(line for line in lines if line.startswith("score "))
    assert " slower since " in score
    assert [line.split()[0] for line in lines[lines.index("") + 2 :]] == [
        "scores", "read", "score", "write", "load_a", "fetch", "write", "load_b", "fetch", "write",
    ]  # fmt: skip


def test_stats_of_a_part_of_the_runs(runs: None, in_project: InProject, capsys: Captured) -> None:
    few = stats_of(in_project, capsys, "--runs", "5")
    assert (few["runs"], few["is_cut"]) == (5, True)
    assert stats_of(in_project, capsys, "--last", "150m")["runs"] == 2
    newest = stats_of(in_project, capsys, "--since", format_utc(moment_of(38)), "--runs", "30")
    assert (newest["runs"], newest["trend"]["word"]) == (2, "unknown")


def test_of_very_many_runs_the_newest_are_taken_unless_all_are_asked_for(
    project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    for number in range(NEWEST + 1):
        started_at = NOW - timedelta(minutes=NEWEST + 1 - number)
        jobs = [TimedJob(job_id="load", steps={"fetch": 9000.0 if number == 0 else 1000.0})]
        put(project, timed_history("daily", jobs, started_at=started_at))

    assert in_project("stats", "daily") == 0
    out = capsys.readouterr().out
    assert f"daily  {NEWEST} runs from " in out
    assert "\nleft out    older runs of these 30 days: --last 30d takes all\n" in out

    everything = stats_of(in_project, capsys, "--last", "30d")
    assert (everything["runs"], everything["is_cut"]) == (NEWEST + 1, False)


def test_of_few_runs_it_says_once_how_many_a_trend_needs(
    runs: None, in_project: InProject, capsys: Captured
) -> None:
    assert in_project("stats", "daily", "--runs", "5") == 0
    out = capsys.readouterr().out
    assert "\ntrend       takes 12 successful runs; here are 5\n" in out
    assert out.count("trend") == 1
    assert "too few" not in out
    assert in_project("stats", "daily", "--runs", "30") == 0
    assert "takes 12" not in capsys.readouterr().out


def test_of_enough_runs_whose_jobs_were_renamed_it_does_not_say_that_they_are_too_few(
    project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    for number in range(14):
        jobs = [TimedJob(job_id="old" if number < 7 else "new", steps={"fetch": 100.0})]
        put(project, timed_history("daily", jobs, started_at=NOW - timedelta(hours=14 - number)))
    assert in_project("stats", "daily") == 0
    assert "takes 12" not in capsys.readouterr().out


def test_of_partial_work_alone_there_are_no_times(
    project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    start, *rest = timed_history("daily", [TimedJob(job_id="load_b", steps={"fetch": 9e6})], started_at=NOW)
    assert isinstance(start, RunStarted)
    put(project, [replace(start, rescore=True), *rest])
    assert in_project("stats", "daily") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        "duration    none: no whole run has succeeded",
        "left out    the times of 1 run that retried or rescored",
    ]


def test_what_did_only_a_part_of_the_work_is_counted_and_not_timed(
    runs: None, project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    before = stats_of(in_project, capsys)
    start, *rest = timed_history("daily", [TimedJob(job_id="load_b", steps={"fetch": 9e6})], started_at=NOW)
    assert isinstance(start, RunStarted)
    put(project, [replace(start, retry_of="01KH4SATJ0KH4SATJ0KH4SATJ0"), *rest])
    after = stats_of(in_project, capsys)

    assert (after["runs"], after["partial_work"]) == (RUNS + 1, 1)
    assert after["parts"] == before["parts"]
    assert after["p95_ms"] == before["p95_ms"]


@pytest.mark.parametrize("more", [(), ("--what-if", "max_workers=2")])
def test_of_what_never_ran_the_name_that_was_meant_is_told(
    more: tuple[str, ...], runs: None, in_project: InProject, capsys: Captured
) -> None:
    for words, message in {
        ("dayly",): "there is no run of 'dayly' (did you mean 'daily'?)",
        ("load_b",): (
            "there is no run of 'load_b' (there are runs of daily; jobs of a pipeline stand in its runs)"
        ),
        ("daily", "--since", "2999-01-01"): (
            "no run of 'daily' has ended since 2999-01-01 00:00:00Z (run-pipeline runs --name daily)"
        ),
    }.items():
        assert in_project("stats", *words, *more) == 2
        assert capsys.readouterr().err == f"error: {message}\n"


def test_before_the_first_run_stats_says_so_and_runs_names_what_is_near(
    project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    assert in_project("stats", "hello") == 2
    assert capsys.readouterr().err == "error: there is no run of 'hello' (nothing has run yet)\n"
    put(project, timed_history("daily", [TimedJob(job_id="load", steps={"fetch": 1.0})], started_at=NOW))
    assert in_project("runs", "--name", "dayly") == 0
    assert capsys.readouterr().err == "no such runs (did you mean 'daily'?)\n"
