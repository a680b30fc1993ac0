"""The live view: what a terminal shows while jobs run, and what is left of it at the end."""

from __future__ import annotations

import io
import os
import re
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.cli.console import Console
from runner.cli.progress.live import LiveProgress
from runner.events import JobFinished, JobStarted, Noticed, RunStarted, StepProgress
from runner.records import RunRecord, Status
from tests.cli.demo_project import DemoProject, command_line, environment

_TOKENS = re.compile(r"\x1b\[(\d*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")


class Terminal(io.StringIO):
    """Claims to be a terminal, and knows what would stand on its screen."""

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> list[str]:
        lines, row = [""], 0
        for token in _TOKENS.finditer(self.getvalue()):
            number, letter, _, newline, text = token.groups()
            if letter == "A":
                row -= int(number)
                assert row >= 0, "moved above the first line"
            elif letter == "J":
                lines[row:] = [""]
            elif newline:
                row += 1
                if row == len(lines):
                    lines.append("")
            elif text:
                lines[row] += text
        return lines[:-1] if lines[-1] == "" else lines


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "30")
    return Terminal()


def live(terminal: Terminal, *jobs: str) -> LiveProgress:
    view = LiveProgress(Console(stdout=io.StringIO(), stderr=terminal))
    view.on_event(
        RunStarted(
            run_id="01KH4SATJ0",
            name="daily",
            jobs=tuple((job, "") for job in jobs),
            max_workers=None,
            as_of=datetime(2026, 2, 12, tzinfo=UTC),
        )
    )
    return view


def start(view: LiveProgress, job: str) -> None:
    view.on_event(JobStarted(run_id="r", job_run_id="j", job_id=job))


def finish(view: LiveProgress, job: str, status: Status = Status.SUCCESS) -> None:
    record = RunRecord(run_id="j", job_id=job, status=status, duration_ms=800, rows_read=60, rows_written=429)
    view.on_event(JobFinished(run_id="r", job_run_id="j", job_id=job, record=record))


def test_a_running_job_has_a_line_with_step_and_rows(terminal: Terminal) -> None:
    view = live(terminal, "score", "other")
    start(view, "score")
    view.on_event(StepProgress(run_id="r", job_run_id="j", job_id="score", step_id="read_me", rows=20_000))
    view.tick()

    lines = [line.split() for line in terminal.screen]
    assert lines[0][:4] == ["run", "01KH4SATJ0", "daily:", "started,"]
    assert lines[1][0] == "score"
    assert lines[1][-3:] == ["read_me", "20,000", "rows"]
    assert lines[2][:7] == ["0", "of", "2", "jobs", "done,", "1", "running,"]


def test_a_finished_job_scrolls_up_and_its_live_line_goes(terminal: Terminal) -> None:
    view = live(terminal, "score", "other")
    start(view, "score")
    view.tick()
    start(view, "other")
    finish(view, "score")
    view.tick()
    assert [line.split()[0] for line in terminal.screen] == ["run", "score:", "other", "1"]

    finish(view, "other", Status.FAILURE)
    view.finish(None)

    assert terminal.screen[1:] == [
        "score: success in 0.8 s, 60 rows read, 429 written",
        "other: failure in 0.8 s, 60 rows read, 429 written",
    ]


def test_notices_stay_above_the_live_lines(terminal: Terminal) -> None:
    view = live(terminal, "score")
    start(view, "score")
    view.tick()
    view.on_event(Noticed(run_id="r", level="warning", code="x.y", message="mind this", job_id="score"))
    view.tick()

    assert [line.split()[0] for line in terminal.screen] == ["run", "warning:", "score", "0"]


def test_more_jobs_than_lines_are_counted_and_long_names_are_cut(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "6")
    names = [f"job_with_a_rather_long_name_{number:02}" for number in range(9)]
    view = live(terminal, *names)
    for name in names:
        start(view, name)
    view.tick()

    assert len(terminal.screen) <= 6
    assert all(len(line) < 40 for line in terminal.screen[1:])
    assert "(6 not shown)"[:10] in terminal.screen[-1]


@given(st.lists(st.sampled_from(["start", "finish", "notice", "tick"]), max_size=40))
def test_whatever_happens_every_line_is_printed_once_and_no_live_line_is_left(actions: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", "100")
        patch.setenv("LINES", "200")
        terminal = Terminal()
        view = live(terminal)
        running: list[str] = []
        expected: list[str] = []
        for number, action in enumerate(actions):
            if action == "start":
                running.append(f"job{number}")
                start(view, running[-1])
            elif action == "finish" and running:
                expected.append(f"{running[0]}:")
                finish(view, running.pop(0))
            elif action == "notice":
                expected.append("warning:")
                view.on_event(Noticed(run_id="r", level="warning", code="c", message="m"))
            else:
                view.tick()
        view.finish(None)

        assert [line.split()[0] for line in terminal.screen] == ["run", *expected]


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_on_a_real_terminal_the_last_line_is_the_result(loaded: DemoProject) -> None:
    import pty
    import subprocess

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command_line("hello"),
        cwd=loaded.folder,
        env=environment({"TERM": "xterm"}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    output = b""
    try:
        while chunk := os.read(ours, 65536):
            output += chunk
    except OSError:  # how a Linux pty says that the other end was closed
        pass
    finally:
        os.close(ours)
    assert process.wait() == 0
    terminal = Terminal()
    terminal.write(output.decode())

    screen = terminal.screen
    assert screen[-1].startswith("run 01")
    assert " hello: success in " in screen[-1]
    assert [line.partition(":")[0] for line in screen[1:-1]] == ["load_people", "greet_people"]
    assert "\x1b[32msuccess" in output.decode()


@pytest.mark.parametrize(
    ("option", "env", "colored"),
    [
        ("auto", {}, True),
        ("auto", {"NO_COLOR": "1"}, False),
        ("auto", {"NO_COLOR": ""}, True),
        ("auto", {"TERM": "dumb"}, False),
        ("always", {"NO_COLOR": "1"}, True),
        ("never", {}, False),
    ],
)
def test_color_only_where_it_is_wanted(
    option: str, env: dict[str, str], colored: bool, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runner.cli.console import RED, Styled

    for name, value in env.items():
        monkeypatch.setenv(name, value)
    console = Console(color=option, stdout=io.StringIO(), stderr=terminal)
    console.say(Styled("x", RED))

    assert ("\x1b[31m" in terminal.getvalue()) is colored


def test_no_color_without_a_terminal() -> None:
    from runner.cli.console import RED, Styled

    stream = io.StringIO()
    Console(stdout=stream, stderr=stream).data(Styled("x", RED))

    assert stream.getvalue() == "x\n"
