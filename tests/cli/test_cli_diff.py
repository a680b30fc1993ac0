"""diff: two runs beside each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from runner.events import RunStarted, StepFinished
from runner.records import ErrorInfo
from runner.testing.timed_history import TimedJob, timed_history
from tests.cli.demo_project import DemoProject
from tests.cli.test_cli_stats import NOW, put

InProject = Callable[..., int]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def two(project: DemoProject) -> tuple[str, str]:
    """A run, and one an hour later: scores is slower and has more rows, old is gone, fresh is new, load fails."""
    before = [
        TimedJob(job_id="load", steps={"fetch": 400.0, "write": 100.0}),
        TimedJob(job_id="scores", steps={"read": 100.0, "score": 1000.0, "write": 200.0}, rows=50),
        TimedJob(job_id="old", steps={"fetch": 300.0}),
    ]
    after = [
        TimedJob(
            job_id="load",
            steps={"fetch": 380.0, "write": 100.0},
            error=ErrorInfo(category="quota", message="too much"),
        ),
        TimedJob(job_id="scores", steps={"read": 110.0, "score": 2500.0, "check": 50.0}, rows=90),
        TimedJob(job_id="fresh", steps={"fetch": 10.0}),
    ]
    return (
        put(project, timed_history("daily", before, started_at=NOW - timedelta(hours=2))),
        put(project, timed_history("daily", after, started_at=NOW - timedelta(hours=1), max_workers=2)),
    )


def test_the_greatest_change_comes_first(
    two: tuple[str, str], in_project: InProject, capsys: Captured
) -> None:
    assert in_project("diff", *two) == 0

    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0].startswith(f"before {two[0]} daily: success in 2.1 s, at most 1 worker, ")
    assert lines[1].startswith(f"after {two[1]} daily: partial in ")
    table = lines[lines.index("") + 2 :]
    assert table == [
        "scores 1.3 s 2.7 s +1.4 s +105 % 50 to 90",
        "score 1.0 s 2.5 s +1.5 s +150 % 50 to 90",
        "write 0.2 s - -0.2 s 50 gone",
        "check - 50 ms +50 ms 90 new",
        "read 0.1 s 0.1 s +10 ms +10 % 50 to 90",
        "old 0.3 s - -0.3 s 60 gone",
        "fetch 0.3 s - -0.3 s 60 gone",
        "load 0.5 s 0.5 s -20 ms -4 % 60 success to failure",
        "fetch 0.4 s 0.4 s -20 ms -5 % 60",
        "write 0.1 s 0.1 s +0 ms 60 to 0 success to failure",
        "fresh - 10 ms +10 ms 60 new",
        "fetch - 10 ms +10 ms 60 new",
    ]


def test_the_second_run_is_the_last_one_of_its_name(
    two: tuple[str, str], in_project: InProject, capsys: Captured
) -> None:
    assert in_project("diff", two[0], "-o", "json") == 0

    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert data["schema"] == "run-pipeline/diff.v1"
    assert (data["before"]["pipeline_run_id"], data["after"]["pipeline_run_id"]) == two
    assert data["delta_ms"] == pytest.approx(data["after"]["duration_ms"] - data["before"]["duration_ms"])
    score = next(part for part in data["parts"] if part["step_id"] == "score")
    assert (score["delta_ms"], score["ratio"], score["change"]) == (1500, 1.5, "both")
    fresh = next(part for part in data["parts"] if part["job_id"] == "fresh")
    assert (fresh["before"], fresh["ratio"], fresh["change"]) == (None, None, "new")


def test_without_a_word_the_last_run_is_compared_with_the_success_before_it(
    two: tuple[str, str], project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    """Not with a run of another name, nor with one that did a part of the work."""
    jobs = [TimedJob(job_id="load", steps={"fetch": 1.0})]
    put(project, timed_history("load", jobs, started_at=NOW - timedelta(minutes=30)), name="load")
    begun, *rest = timed_history("daily", jobs, started_at=NOW - timedelta(minutes=20))
    assert isinstance(begun, RunStarted)
    put(project, [replace(begun, retry_of=two[1]), *rest])
    last = put(project, timed_history("daily", jobs, started_at=NOW - timedelta(minutes=10)))
    put(project, timed_history("load", jobs, started_at=NOW), name="load")

    for words in (("daily",), (last,), (last, "-q")):
        assert in_project("diff", *words, "-o", "json") == 0
        data = json.loads(capsys.readouterr().out)
        assert (data["before"]["pipeline_run_id"], data["after"]["pipeline_run_id"]) == (two[0], last)
    assert in_project("diff", "-o", "json") == 0
    data = json.loads(capsys.readouterr().out)
    assert {data["before"]["pipeline_id"], data["after"]["pipeline_id"]} == {"load"}


def test_where_nothing_succeeded_before_it_asks_for_two_runs(
    project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    only = put(
        project, timed_history("daily", [TimedJob(job_id="load", steps={"fetch": 1.0})], started_at=NOW)
    )
    assert in_project("diff") == 2
    assert capsys.readouterr().err == (
        f"error: no run of 'daily' has succeeded before {only}, with which it could be compared"
        " (run-pipeline diff RUN RUN compares any two)\n"
    )


def test_a_run_beside_itself_has_no_change(
    two: tuple[str, str], in_project: InProject, capsys: Captured
) -> None:
    assert in_project("diff", two[1], two[1], "-o", "json") == 0
    parts = json.loads(capsys.readouterr().out)["parts"]
    assert {part["delta_ms"] for part in parts} == {0}
    assert in_project("diff", two[1], two[1]) == 0
    told = capsys.readouterr().out
    assert "this is one run, twice" in told
    assert [line for line in told.splitlines() if line.endswith(" ")] == []


def test_no_change_has_no_sign_that_says_otherwise(
    project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    for number, taken in enumerate((0.4, 0.2)):
        job = TimedJob(job_id="load", steps={"fetch": taken})
        put(project, timed_history("daily", [job], started_at=NOW - timedelta(minutes=9 - number)))
    assert in_project("diff") == 0
    assert "-0 ms" not in capsys.readouterr().out


def test_runs_of_other_names_can_be_compared_and_it_is_said(
    two: tuple[str, str], project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    events = timed_history("load", [TimedJob(job_id="load", steps={"fetch": 1.0})], started_at=NOW)
    other = put(project, events, name="load")
    assert in_project("diff", two[0], other) == 0
    assert "these are runs of different names" in capsys.readouterr().out


def test_what_a_killed_run_did_not_come_to_is_neither_gone_nor_faster(
    project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    """Its jobs did not end by themselves: their times are no times to compare."""
    jobs = [TimedJob(job_id=name, steps={"fetch": 400.0, "write": 100.0}) for name in ("a", "b", "c")]
    put(project, timed_history("daily", jobs, started_at=NOW - timedelta(hours=2)))
    killed = timed_history("daily", jobs, started_at=NOW - timedelta(hours=1))
    cut = next(
        at for at, event in enumerate(killed) if isinstance(event, StepFinished) and event.job_id == "b"
    )
    put(project, killed[: cut + 1])

    assert in_project("diff", "-o", "json") == 0
    found = json.loads(capsys.readouterr().out)
    parts = {(part["job_id"], part["step_id"]): (part["change"], part["ratio"]) for part in found["parts"]}
    assert found["ratio"] is None
    assert parts == {
        ("a", ""): ("both", 0), ("a", "fetch"): ("both", 0), ("a", "write"): ("both", 0),
        ("b", ""): ("both", None), ("b", "fetch"): ("both", 0), ("b", "write"): ("not_reached", None),
        ("c", ""): ("both", None), ("c", "fetch"): ("not_reached", None), ("c", "write"): ("not_reached", None),
    }  # fmt: skip

    assert in_project("diff") == 0
    out = capsys.readouterr().out
    assert "gone" not in out
    assert out.count("not reached") == 3
    assert ["success to crashed" in out, "success to skipped" in out] == [True, True]


def test_a_retry_is_said_to_have_done_only_a_part(
    project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    jobs = [TimedJob(job_id=name, steps={"fetch": 400.0}) for name in ("a", "b")]
    whole = put(project, timed_history("daily", jobs, started_at=NOW - timedelta(hours=2)))
    started, *rest = timed_history("daily", jobs[1:], started_at=NOW - timedelta(hours=1))
    assert isinstance(started, RunStarted)
    put(project, [replace(started, retry_of=whole), *rest])

    assert in_project("diff") == 0
    assert "after is a retry: it did only a part of the work" in capsys.readouterr().out
