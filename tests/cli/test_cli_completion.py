"""Completion in the shells themselves: a Tab is typed into each that is installed, and the program says what it got."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.cli.completion_scripts import SHELLS
from runner.cli.project_files import latest_runs, parameters_of, state_folder
from runner.settings import Settings
from tests.cli.demo_project import REPOSITORY, DemoProject, environment
from tests.projects import ReferenceProject

PROGRAM = """\
#!/bin/sh
if [ -n "$_RUN_PIPELINE_COMPLETE" ]; then exec {python} -P -m runner "$@"; fi
printf 'GOT<%s>\\n' "$*"
"""
START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
LIMIT_S = 20
OWN_TERMINAL = (
    "import fcntl, os, sys, termios\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "os.execvp(sys.argv[1], sys.argv[1:])\n"
)
"""A session's leader takes its terminal for its own, as shells with job control want it, and becomes the shell."""


class Shell:
    """An interactive shell on a terminal of its own, into which text is typed."""

    def __init__(self, words: list[str], folder: Path, env: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", OWN_TERMINAL, *words],
            cwd=folder,
            env=env,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.seen = ""

    def type(self, text: str) -> None:
        """Press the keys."""
        os.write(self._master, text.encode())

    def until(self, text: str) -> str:
        """Read until `text` has appeared after what was read before; return what came up to its end."""
        deadline = time.monotonic() + LIMIT_S
        start = len(self.seen)
        while text not in self.seen[start:]:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._master], [], [], left)[0]:
                pytest.fail(f"no {text!r} in {self.seen[start:]!r}")
            self.seen += os.read(self._master, 65536).decode(errors="replace")
        return self.seen[start:]

    def close(self) -> None:
        """Kill the shell."""
        self._process.kill()
        self._process.wait()
        os.close(self._master)


@contextmanager
def shell_in(project: DemoProject, shell: str, script: str) -> Iterator[Shell]:
    """Start a shell with completion in a project's folder."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    bin_folder = project.folder / "programs"
    bin_folder.mkdir()
    program = bin_folder / "run-pipeline"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    (bin_folder / "script").write_text(script)
    env = {
        **environment({"PATH": f"{bin_folder}:{os.environ['PATH']}", "TERM": "xterm", "HOME": str(project.folder)}),
        "PS1": "", "XDG_CONFIG_HOME": str(bin_folder), "XDG_DATA_HOME": str(bin_folder),
    }  # fmt: skip
    opened = Shell(START[shell], project.folder, env)
    try:
        opened.type(f". {bin_folder}/script; echo REA''DY\r")
        opened.until("READY")
        yield opened
    finally:
        opened.close()


@pytest.fixture
def script_of(loaded: DemoProject) -> dict[str, str]:
    scripts = {shell: loaded.run("completion", shell) for shell in SHELLS}
    assert all(done.returncode == 0 and done.stderr == "" for done in scripts.values())
    return {shell: done.stdout for shell, done in scripts.items()}


@pytest.mark.parametrize("shell", START)
def test_a_tab_in_the_shell_completes(shell: str, loaded: DemoProject, script_of: dict[str, str]) -> None:
    ((run_id, _),) = latest_runs(loaded.folder)
    with shell_in(loaded, shell, script_of[shell]) as opened:
        for typed, got in [
            ("he", "hello"),
            ("run gre", "run greet_people"),
            ("hello --max", "hello --max-workers"),
            ("show last-", "show last-failed"),
            ("show 0", f"show {run_id}"),
            ("conf", "config"),
        ]:
            opened.type(f"run-pipeline {typed}\t\r")
            opened.until(f"GOT<{got}>")
        # No space after the equals sign: the value follows.
        opened.type("run-pipeline load_people --set peop\tx.csv\r")
        opened.until("GOT<load_people --set people_csv=x.csv>")


def test_a_program_that_is_called_by_its_path_is_the_one_that_is_asked(
    loaded: DemoProject, script_of: dict[str, str]
) -> None:
    with shell_in(loaded, "bash", script_of["bash"]) as opened:
        (loaded.folder / "programs").rename(loaded.folder / "elsewhere")
        opened.type("elsewhere/run-pipeline gre\t\r")
        opened.until("GOT<greet_people>")


# --- what is offered ---


def offered(project: DemoProject, words: str, **env: str) -> list[str]:
    count = len(words.split()) - (not words.endswith(" "))
    done = project.run(_RUN_PIPELINE_COMPLETE="fish_complete", COMP_WORDS=words,
                       COMP_CWORD="" if words.endswith(" ") else words.split()[count], **env)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("run-pipeline load_people --set ", ["people_csv=\tpath, default configs/samples/people.csv"]),
        ("run-pipeline hello --set ", ["people_csv=\tpath, default configs/samples/people.csv"]),
        ("run-pipeline plan load_people --set people_csv=", ["people_csv=configs/samples/people.csv"]),
        ("run-pipeline greet_people --set ", []),
        ("run-pipeline doctor hel", []),
        ("run-pipeline completion ", ["bash", "zsh", "fish"]),
        ("run-pipeline schema t", ["tables"]),
        ("run-pipeline report hel", ["hello"]),
        ("run-pipeline show gre", ["greet_people"]),
        ("run-pipeline report last-", ["last-failed\tthe newest that failed"]),
    ],
)
def test_words_are_offered_with_what_they_mean(words: str, expected: list[str], project: DemoProject) -> None:
    assert offered(project, words) == expected


def test_runs_are_offered_newest_first_wherever_the_state_is(loaded: DemoProject, tmp_path: Path) -> None:
    (loaded.folder / "var").rename(tmp_path / "elsewhere")

    found = offered(loaded, "run-pipeline logs ", RUN_PIPELINE_STATE_DIR=str(tmp_path / "elsewhere"))

    assert [line.partition("\t")[0] for line in found[:2]] == ["last", "last-failed"]
    assert found[2].partition("\t")[2] == "hello"
    assert found[3:] == ["hello", "greet_people", "load_people"]


@pytest.mark.parametrize("text", ["params: {", "params: [a]", "[]", "params: {a: 1}"])
def test_a_file_that_is_broken_offers_nothing_and_says_nothing(text: str, project: DemoProject) -> None:
    project.write("configs/jobs/load_people.yaml", text)

    assert offered(project, "run-pipeline load_people --set peo") == []


def test_outside_of_a_project_commands_are_offered(tmp_path: Path) -> None:
    assert offered(DemoProject(tmp_path), "run-pipeline sche") == [
        "schema\tPrint or install JSON Schema for the files of a project."
    ]
    assert offered(DemoProject(tmp_path), "run-pipeline load_people --set ") == []


def test_the_parameters_are_those_that_the_loader_knows() -> None:
    from datetime import UTC, datetime

    from runner.loader import open_project

    plan = open_project(Settings.load(REPOSITORY)).plan("daily", as_of=datetime.now(UTC))

    assert set(parameters_of(REPOSITORY, "daily")) == {
        param for job in plan.jobs for param in job.spec.params
    }


@pytest.mark.parametrize(
    ("toml", "env"),
    [
        ("", {}),
        ('state_dir = "elsewhere"', {}),
        ('state_dir = "~/elsewhere"', {}),
        ("", {"STATE_DIRECTORY": "/var/lib/one:/var/lib/two"}),
        ('state_dir = "/srv/state"', {"STATE_DIRECTORY": "/var/lib/one"}),
        ('state_dir = "/srv/state"', {"RUN_PIPELINE_STATE_DIR": "mine"}),
        ('state_dir = "/srv/state"', {"RUN_PIPELINE_STATE_DIR": ""}),
    ],
)
def test_the_state_folder_is_the_one_of_the_settings(
    toml: str, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "runner.toml").write_text(toml)
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    assert state_folder(tmp_path) == Settings.load(tmp_path).state_dir


@pytest.mark.perf
def test_a_tab_takes_less_than_a_third_of_a_second(tmp_path: Path) -> None:
    """The best of nine: names, runs, and parameters of the reference project, whole processes."""
    project = DemoProject(REPOSITORY)
    state = ReferenceProject(tmp_path)
    state.run()
    for words in ("run-pipeline da", "run-pipeline show 0", "run-pipeline daily --set "):
        times = []
        for _ in range(9):
            start = time.perf_counter()
            assert offered(project, words, RUN_PIPELINE_STATE_DIR=str(state.state))
            times.append(time.perf_counter() - start)
        print(f"{words!r}: {min(times):.3f} s at best, {sorted(times)[4]:.3f} s in the middle")
        assert min(times) < 0.3
