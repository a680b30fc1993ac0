"""logs: filters, and following a run that goes on until it ends or dies."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

import pytest

from runner.analysis.performance import stage_performance
from runner.cli.sentences import sentence
from runner.events import RunFinished
from runner.records import RunRecord, Status
from runner.run_store import FileRunStore, FileRunWriter
from runner.testing.run_history import run_history
from tests.cli.demo_project import DemoProject

InProject = Callable[..., int]
Captured = pytest.CaptureFixture[str]
HISTORY = run_history("daily", ["intake", "scores"], failing=["scores"])
RUN_ID = HISTORY[0].run_id


@pytest.fixture
def living(project: DemoProject) -> FileRunWriter:
    """A run that has written its first five events, and is alive until it is closed."""
    writer = FileRunStore(project.folder / "var" / "runs").create(RUN_ID, "daily", HISTORY[0].timestamp)
    writer.append(HISTORY[:5])
    return writer


def test_following_prints_what_is_there_then_what_comes_and_ends_with_the_run(
    living: FileRunWriter, project: DemoProject
) -> None:
    following = project.start("logs", "-f")
    assert following.stdout is not None
    first = [following.stdout.readline() for _ in range(5)]
    living.append(HISTORY[5:-1])
    second = [following.stdout.readline() for _ in HISTORY[5:-1]]
    assert following.poll() is None
    living.append(HISTORY[-1:])
    living.close()
    out, said = following.communicate(timeout=30)

    assert (following.returncode, said) == (0, "")
    assert "started, 2 jobs" in first[0]
    assert "scores: failure" in second[-1]
    assert out.splitlines()[0].endswith(f"run {RUN_ID[:10]}: partial in 2.0 s")


def test_a_run_that_dies_while_it_is_followed_is_said_to_have(
    living: FileRunWriter, project: DemoProject
) -> None:
    following = project.start("logs", "--follow", "-o", "jsonl")
    assert following.stdout is not None
    assert json.loads(following.stdout.readline())["event_type"] == "run.started"
    living.close()
    _, said = following.communicate(timeout=30)

    assert following.returncode == 0
    assert "the run ended without recording its end" in said


def test_ctrl_c_ends_the_following_and_not_the_run(living: FileRunWriter, project: DemoProject) -> None:
    following = project.start("logs", "-f")
    assert following.stdout is not None
    following.stdout.readline()
    following.send_signal(signal.SIGINT)
    following.communicate(timeout=30)

    assert following.returncode == 130
    assert FileRunStore(project.folder / "var" / "runs").is_alive(RUN_ID)
    living.close()


@pytest.fixture
def over(living: FileRunWriter) -> None:
    """The same run, at its end."""
    living.append(HISTORY[5:])
    living.close()


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["--step", "read_me"], ["intake: read_me: success", "scores: read_me: success"]),
        (
            ["--step", "write", "--job", "scores"],
            [
                "scores: write: failure",
                "scores: failure in 1.0 s, 60 rows read, 0 written; step write: bug: scores was told to fail",
            ],
        ),
        (["--grep", "told to fail"], ["scores: failure"]),
        (
            ["--grep", "^scores.*(started|failure)"],
            ["scores: started", "scores: write: f", "scores: failure"],
        ),
        (["--grep", "(?i)LANDED"], ["intake: landed"]),
        (["--job", "intake", "--grep", "landed|started"], ["intake: started", "intake: landed"]),
        (["--grep", "no such thing"], []),
        (["-f", "--grep", "landed"], ["intake: landed"]),
    ],
)
def test_events_can_be_searched(
    over: None, words: list[str], texts: list[str], in_project: InProject, capsys: Captured
) -> None:
    assert in_project("logs", *words) == 0

    found = [line.partition("  ")[2] for line in capsys.readouterr().out.splitlines()]
    assert len(found) == len(texts)
    assert all(line.startswith(text) for line, text in zip(found, texts, strict=True))


def test_what_is_searched_for_is_searched_in_json_too(
    over: None, in_project: InProject, capsys: Captured
) -> None:
    assert in_project("logs", "--grep", "^run ", "-o", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [event["event_type"] for event in found] == ["run.started", RunFinished.event_type]


@pytest.mark.parametrize("words", [["--grep", "("], ["-f", "-o", "json"]])
def test_what_cannot_be_asked_is_refused(
    over: None, words: list[str], in_project: InProject, capsys: Captured
) -> None:
    assert in_project("logs", *words) == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--grep", "no such thing"), "no such events in this run"),
        (("--step", "red_me"), "no events of step 'red_me' in this run; there are read_me, write"),
        (("--job", "intake", "--step", "check"), "no events of step 'check' in this run; there are"),
        (("--job", "intak"), "no events of 'intak' in this run; its jobs: intake, scores"),
        (("--job", "intake", "--grep", "failure"), "no such events in this run"),
    ],
)
def test_a_filter_that_leaves_nothing_says_so(
    words: tuple[str, ...], said: str, living: FileRunWriter, in_project: InProject, capsys: Captured
) -> None:
    living.append(HISTORY[5:])
    living.close()
    assert in_project("logs", *words) == 0
    out, told = capsys.readouterr()
    assert out == ""
    assert told.startswith(said)


@pytest.mark.parametrize(
    ("jobs", "workers", "took_ms", "said"),
    [
        (1, 4, 300, "stage daily/load: 1 job in 0.3 s"),
        (2, 1, 600, "stage daily/load: 2 jobs in 0.6 s, one after the other"),
        (5, 4, 440, "stage daily/load: 5 jobs in 0.4 s, 3.4 times as fast as one after the other"),
    ],
)
def test_a_stage_tells_what_its_workers_gained_where_they_could(
    jobs: int, workers: int, took_ms: float, said: str
) -> None:
    records = [
        RunRecord(run_id="R", job_id=f"j{n}", status=Status.SUCCESS, duration_ms=300) for n in range(jobs)
    ]
    told = stage_performance(
        run_id=RUN_ID,
        stage="load",
        group="daily/load",
        jobs=records,
        max_workers=workers,
        duration_ms=took_ms,
    )
    equal = " (jobs of equal length: 2.5)" if jobs == 5 else ""
    assert sentence(told) == said + equal
