"""`show --gantt`: what the bars are, on any terminal and as data."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from runner.cli.tables import width
from runner.clock import utc_now
from runner.ids import new_ulid
from runner.records import ErrorInfo, Status
from runner.testing.timed_history import TimedJob, timed_history
from tests.cli.demo_project import DemoProject
from tests.cli.test_cli_records import START, put_run, record
from tests.cli.test_cli_stats import put

InProject = Callable[..., int]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def staged(project: DemoProject) -> str:
    """A run of two at once: long and short begin together, behind waits for short's slot, last for all of them."""
    run_id = new_ulid()

    def job(job_id: str, start: float, length: float, queue: float, *waits: str) -> object:
        return replace(
            record(run_id, job_id, Status.SUCCESS),
            started_at=START + timedelta(milliseconds=start),
            duration_ms=length,
            queue_ms=queue,
            queue="default",
            waits_for=waits,
        )

    jobs = [job("long", 0, 500, 0), job("short", 0, 200, 0), job("behind", 200, 434.5, 200)]
    jobs.append(job("last", 634.5, 600, 0, "long", "short", "behind"))
    return put_run(project, "daily", *jobs, status=Status.SUCCESS)  # type: ignore[arg-type]


def bars_of(out: str, cells: set[str]) -> dict[str, str]:
    """The cells of each bar by the name before it."""
    found = {}
    for line in out.splitlines():
        words = line.replace("* ", "  ", 1).split()
        if len(words) > 1 and set(words[1]) <= cells:
            found[words[0]] = line
    return found


def test_bars_show_waits_and_mark_the_critical_path(
    staged: str, in_project: InProject, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert in_project("show", staged, "--gantt") == 0

    out = capsys.readouterr().out
    bars = bars_of(out, set("█▒░"))
    assert [name for name, line in bars.items() if line.startswith("* ")] == ["short", "behind", "last"]
    assert set(bars["long"]) & set("█▒░") == {"▒"}
    assert bars["behind"].index("░") == bars["short"].index("█")
    assert bars["behind"].index("█") == bars["short"].rindex("█") + 1
    assert bars["last"].index("█") == bars["behind"].rindex("█") + 1
    assert all(width(line) <= 80 for line in bars.values())
    assert "short 0.2 s → behind 0.4 s (when a slot came free) → last 0.6 s" in out


def test_more_workers_are_advised_only_where_slots_made_the_run_longer(
    project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    """Jobs that are ready together start one after the other: a few milliseconds, which no worker more would save."""
    jobs = [TimedJob(job_id="a", steps={"read": 8.0}), TimedJob(job_id="b", steps={"read": 5000.0})]
    put(project, timed_history("daily", jobs, started_at=utc_now(), max_workers=1))

    assert in_project("show", "--gantt") == 0
    out = capsys.readouterr().out
    assert "critical path  a 8 ms → b 5.0 s (when a slot came free)" in out
    assert "could help" not in out


def test_a_job_that_did_not_succeed_says_so_without_color(
    project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    error = ErrorInfo(category="data", message="bad")
    jobs = [
        TimedJob(job_id="a", steps={"read": 800.0}),
        TimedJob(job_id="b", steps={"read": 5000.0}, error=error),
    ]
    put(project, timed_history("daily", jobs, started_at=utc_now()))

    assert in_project("show", "--gantt") == 0
    out = capsys.readouterr().out
    assert [line.split()[-3:] for line in out.splitlines() if line.startswith("* b")] == [
        ["failure", "5.0", "s"]
    ]
    assert out.count("failure") == 1


def test_a_narrow_terminal_gets_sixty_columns(
    staged: str, in_project: InProject, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert in_project("show", staged, "--gantt") == 0
    assert {width(line) for line in bars_of(capsys.readouterr().out, set("█▒░")).values()} == {60}


def test_a_locale_without_blocks_gets_ascii_and_no_color_no_color(staged: str, project: DemoProject) -> None:
    process = project.start("show", staged, "--gantt", PYTHONIOENCODING="ascii", COLUMNS="80", NO_COLOR="1")
    out, said = process.communicate()
    assert process.returncode == 0, said
    assert out.isascii()
    assert "\x1b" not in out
    assert "\\u" not in out
    bars = bars_of(out, set("#=."))
    assert "#" in bars["last"]
    assert "." in bars["behind"]


def test_the_geometry_as_json(staged: str, in_project: InProject, capsys: Captured) -> None:
    assert in_project("show", staged, "--gantt", "-o", "json") == 0

    data = json.loads(capsys.readouterr().out)
    assert data["schema"] == "run-pipeline/timeline.v1"
    assert {bar["job_id"]: (bar["ready_ms"], bar["start_ms"], bar["end_ms"]) for bar in data["bars"]} == {
        "long": (0, 0, 500), "short": (0, 0, 200), "behind": (0, 200, 634.5), "last": (634.5, 634.5, 1234.5),
    }  # fmt: skip
    assert data["critical_path"]["jobs"] == ["short", "behind", "last"]
    assert data["critical_path"]["behind_slots_ms"] == 200
    assert data["lanes"] == 2


def test_steps_are_drawn_for_a_single_job_and_with_v(
    staged: str, project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    alone = put_run(
        project, "form_obs", record(new_ulid(), "form_obs", Status.FAILURE), status=Status.FAILURE
    )
    assert in_project("show", alone, "--gantt") == 0
    assert "score" in capsys.readouterr().out
    assert in_project("show", staged, "--gantt") == 0
    assert "score" not in capsys.readouterr().out
    assert in_project("show", staged, "--gantt", "-v") == 0
    assert capsys.readouterr().out.count("  score ") == 4


def test_jobs_that_never_began_are_named(
    project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    run_id = new_ulid()
    skipped = replace(
        record(run_id, "after_it", Status.SKIPPED), started_at=None, duration_ms=0, step_timings=()
    )
    put_run(project, "daily", record(run_id, "form_obs", Status.FAILURE), skipped, status=Status.FAILURE)
    assert in_project("show", "--gantt") == 0
    assert "never began    1 job: after_it" in capsys.readouterr().out


def test_a_run_of_which_nothing_began(project: DemoProject, in_project: InProject, capsys: Captured) -> None:
    put_run(project, "daily", status=Status.FAILURE)
    assert in_project("show", "--gantt") == 0
    assert "no job has begun" in capsys.readouterr().out
