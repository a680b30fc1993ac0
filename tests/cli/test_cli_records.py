"""runs, show and logs: what they print about records made by hand in a real run store."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runner.events import (
    Event,
    JobFinished,
    JobStarted,
    Landed,
    Noticed,
    RunFinished,
    RunStarted,
    StepFinished,
)
from runner.fold import fold_run
from runner.ids import new_ulid
from runner.records import ErrorInfo, PerformanceIndicators, RunRecord, Status, StepTiming
from runner.run_store import FileRunStore
from runner.testing.timed_history import TimedJob, timed_history
from tests.cli.demo_project import DemoProject
from tests.cli.test_cli_stats import put

InProject = Callable[..., int]
Captured = pytest.CaptureFixture[str]
START = datetime(2026, 2, 12, 6, tzinfo=UTC)
TIMINGS = (
    StepTiming(step_id="read_me", op="read", duration_ms=250.0, rows_read=60, rows_out=60, batches=1),
    StepTiming(step_id="score", op="call", duration_ms=500.0, rows_in=60, rows_out=429, batches=1),
    StepTiming(step_id="write", op="write", duration_ms=250.0, rows_in=429, rows_written=429, batches=1),
)


def record(run_id: str, job_id: str, status: Status, *errors: ErrorInfo) -> RunRecord:
    return RunRecord(
        run_id=new_ulid(),
        job_id=job_id,
        pipeline_run_id=run_id,
        group="formation",
        status=status,
        started_at=START,
        completed_at=START + timedelta(seconds=1),
        duration_ms=1000.0,
        queue_ms=3.0,
        rows_read=60,
        rows_written=429,
        errors=errors,
        step_timings=TIMINGS,
        performance_indicators=PerformanceIndicators.from_timings(TIMINGS),
    )


def put_run(project: DemoProject, name: str, *jobs: RunRecord, status: Status, end: bool = True) -> str:
    """Write a run with these jobs as the engine would, and return its id."""
    run_id = jobs[0].pipeline_run_id if jobs else new_ulid()
    events: list[Event] = [
        RunStarted(
            run_id=run_id,
            timestamp=START,
            name=name,
            max_workers=4,
            as_of=START,
            jobs=tuple((job.job_id, job.group) for job in jobs),
        )
    ]
    for job in jobs:
        ids: dict[str, Any] = {"run_id": run_id, "job_run_id": job.run_id, "job_id": job.job_id}
        events.append(JobStarted(**ids, queue_ms=job.queue_ms))
        events.append(
            Noticed(**ids, level="warning", code="rows.quarantined", message="2 bad rows", step_id="score")
        )
        events.append(Landed(**ids, batch=0, rows={"derived.observations": 429}))
        events += [StepFinished(**ids, timing=timing) for timing in job.step_timings]
        events.append(JobFinished(**ids, record=job))
    if end:
        events.append(RunFinished(run_id=run_id, status=status, duration_ms=1234.5))
    writer = FileRunStore(project.folder / "var" / "runs").create(run_id, name, START)
    writer.append(events)
    if end:
        writer.write_run(fold_run(events, run_id=run_id, name=name, started_at=START, alive=False))
    writer.close()
    return run_id


@pytest.fixture
def good(project: DemoProject) -> str:
    """A run of `formation` that succeeded; returns its id."""
    return put_run(
        project, "formation", record(new_ulid(), "form_obs", Status.SUCCESS), status=Status.SUCCESS
    )


@pytest.fixture
def bad(good: str, project: DemoProject) -> str:
    """A later run of `daily` that failed; returns its id."""
    error = ErrorInfo(category="function", message="jobs.f:g raised\nKeyError: \x1b[2Jx", step_id="score")
    return put_run(
        project, "daily", record(new_ulid(), "form_obs", Status.FAILURE, error), status=Status.FAILURE
    )


def test_a_run_is_also_known_by_its_name(
    project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    for name in ("daily", "ingest"):
        put_run(project, name, record(new_ulid(), "load", Status.SUCCESS), status=Status.SUCCESS)

    assert in_project("show", "daily") == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(" daily")
    assert in_project("logs", "dayly") == 2
    assert capsys.readouterr().err == "error: no run 'dayly' in the run store (did you mean 'daily'?)\n"


def test_show_names_run_jobs_steps_shares_and_indicators(
    good: str, in_project: InProject, capsys: Captured
) -> None:
    assert in_project("show") == 0

    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == f"run {good} formation"
    assert "status success" in lines
    assert "rows 60 rows read, 429 written" in lines
    assert "formation/form_obs success 3 ms 1.0 s 60 429" in lines
    assert "score call success 50 % 0.5 s 60 429" in lines
    assert "read_me read success 25 % 0.2 s 60 60" in lines
    assert any(line.endswith("write 1,716.00 rows/s, longest step score") for line in lines)


def test_show_names_the_step_that_held_the_run_up(
    project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    jobs = [
        TimedJob(job_id="load", steps={"fetch": 100.0, "write": 100.0}),
        TimedJob(job_id="aside", steps={"fetch": 700.0}),
        TimedJob(job_id="scores", steps={"score": 1000.0, "write": 300.0}, stage=1),
    ]
    put(project, timed_history("daily", jobs, started_at=START, max_workers=2))
    assert in_project("show") == 0
    assert "; bottleneck scores/score, 50 % of it\n" in capsys.readouterr().out


def test_show_leaves_steps_out_that_found_nothing_and_says_so(
    project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    jobs = [
        TimedJob(job_id="load", steps={"fetch": 10.0}),
        TimedJob(job_id="idle", steps={"look_up": 10.0}, rows=0),
        TimedJob(job_id="idle_too", steps={"look_up": 10.0}, rows=0),
    ]
    put(project, timed_history("daily", jobs, started_at=START))
    assert in_project("show") == 0
    told = capsys.readouterr().out
    assert "look_up" not in told
    assert told.endswith("\n2 jobs found nothing to do; their steps: show -v\n")
    assert in_project("show", "-v") == 0
    told = capsys.readouterr().out
    assert told.count("look_up") == 4  # in the head of each job, and in its table
    assert "found nothing" not in told


def test_show_prints_errors_with_job_step_and_category_and_without_control_characters(
    bad: str, in_project: InProject, capsys: Captured
) -> None:
    assert in_project("show", "last-failed") == 0

    out = capsys.readouterr().out
    assert "error in form_obs: step score: function: jobs.f:g raised\n  KeyError: \\x1b[2Jx\n" in out
    assert "\x1b" not in out


def test_show_takes_a_prefix_and_prints_the_record_itself_as_json(
    good: str, bad: str, in_project: InProject, project: DemoProject, capsys: Captured
) -> None:
    unique = next(bad[:length] for length in range(1, 27) if bad[:length] != good[:length])
    assert in_project("show", unique.lower(), "-o", "json") == 0

    stored = FileRunStore(project.folder / "var" / "runs").load(bad)
    assert json.loads(capsys.readouterr().out) == stored.to_dict()


@pytest.mark.parametrize("words", [["show"], ["logs"], ["show", "last-failed"]])
def test_without_runs_there_is_nothing_to_show(
    words: list[str], in_project: InProject, capsys: Captured
) -> None:
    assert in_project(*words) == 2
    assert "error: no run 'last" in capsys.readouterr().err


def test_runs_lists_the_newest_first(good: str, bad: str, in_project: InProject, capsys: Captured) -> None:
    assert in_project("runs") == 0

    head, first, second = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["run", "name", "status", "started", "duration", "read", "written"]
    assert first == [bad, "daily", "failure", "2026-02-12", "06:00:00Z", "1.2", "s", "60", "429"]
    assert second[:3] == [good, "formation", "success"]


def test_runs_as_json_is_an_array_without_jobs(
    good: str, bad: str, in_project: InProject, capsys: Captured
) -> None:
    assert in_project("runs", "-o", "json") == 0
    array = json.loads(capsys.readouterr().out)
    assert in_project("runs", "-o", "jsonl") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert [run["pipeline_run_id"] for run in array] == [bad, good]
    assert all("jobs" not in run and run["rows_written"] == 429 for run in array)
    assert lines == array


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--name", "formation"], ["formation"]),
        (["--status", "failure"], ["daily"]),
        (["--limit", "1"], ["daily"]),
        (["--status", "success", "--limit", "1"], ["formation"]),
        (["--status", "cancelled"], []),
        (["--status", "cancelled", "--status", "failure"], ["daily"]),
        (["--status", "failure", "--status", "success"], ["daily", "formation"]),
        (["--last", "3000d"], ["daily", "formation"]),
        (["--last", "1h"], []),
        (["--since", "2026-02-12", "--limit", "1"], ["daily"]),
        (["--since", "2100-01-01"], []),
        (["--min-duration", "1s"], ["daily", "formation"]),
        (["--min-duration", "2s"], []),
    ],
)
def test_runs_filters(
    words: list[str], names: list[str], bad: str, in_project: InProject, capsys: Captured
) -> None:
    assert in_project("runs", "-o", "json", *words) == 0
    assert [run["pipeline_id"] for run in json.loads(capsys.readouterr().out)] == names


def test_runs_takes_one_beginning(in_project: InProject, capsys: Captured) -> None:
    assert in_project("runs", "--last", "1d", "--since", "2026-02-12") == 2
    assert in_project("runs", "--last", "soon") == 2
    assert "'soon' is not a duration" in capsys.readouterr().err


def test_a_run_without_an_end_reads_as_crashed(
    project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    put_run(
        project, "daily", record(new_ulid(), "form_obs", Status.SUCCESS), status=Status.RUNNING, end=False
    )

    assert in_project("runs", "-o", "json", "--status", "crashed") == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


def test_logs_says_each_event_with_its_time(good: str, in_project: InProject, capsys: Captured) -> None:
    assert in_project("logs") == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"06:00:00.000Z  run {good[:10]} formation: started, 1 job, at most 4 workers"
    texts = [line.partition("  ")[2] for line in lines[1:]]
    assert texts == [
        "form_obs: started",
        "form_obs: step score: 2 bad rows [rows.quarantined]",
        "form_obs: landed 429 into derived.observations",
        "form_obs: read_me: success in 0.2 s, 60 rows read",
        "form_obs: score: success in 0.5 s, 60 rows in, 429 out",
        "form_obs: write: success in 0.2 s, 429 rows written",
        "form_obs: success in 1.0 s, 60 rows read, 429 written",
        f"run {good[:10]}: success in 1.2 s",
    ]


def test_logs_of_a_job_that_the_run_did_not_have(good: str, in_project: InProject, capsys: Captured) -> None:
    assert in_project("logs", good, "--job", "form_osb") == 0

    assert "no events of 'form_osb' in this run; its jobs: form_obs" in capsys.readouterr().err


def test_logs_of_one_job_as_json_lines(good: str, in_project: InProject, capsys: Captured) -> None:
    assert in_project("logs", "last", "--job", "form_obs", "-o", "jsonl") == 0

    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event_type"] for event in events][:3] == ["job.started", "notice", "job.landed"]
    assert {event["job_id"] for event in events} == {"form_obs"}


def test_records_are_shown_while_the_warehouse_is_held(loaded: DemoProject) -> None:
    import duckdb

    with duckdb.connect(str(loaded.folder / "var" / "warehouse.duckdb")):
        assert [loaded.run(*words).returncode for words in (["runs"], ["show"], ["logs"])] == [0, 0, 0]
