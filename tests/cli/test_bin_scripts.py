"""bin/run-pipeline and bin/test as a stranger starts them, in small repositories made here.

Most tests put a stand-in for uv on PATH that makes an environment whose Python is a shell script, so
they need no network and no time. One makes a real environment with venv and pip, also without network:
its project has no dependencies and carries its own build backend.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.required import SERVERS
from tests.waiting import until

REPOSITORY = Path(__file__).resolve().parents[2]
COREUTILS = "/usr/bin:/bin"

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "run-pipeline"
version = "0"

[tool.ruff]
line-length = 100
"""

BACKEND = """
import os, zipfile

FILES = {
    "run_pipeline-0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: run-pipeline\\nVersion: 0\\n",
    "run_pipeline-0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    "run_pipeline-0.dist-info/entry_points.txt": "[console_scripts]\\nrun-pipeline = runner.cli:main\\n",
    "run_pipeline-0.dist-info/RECORD": "",
    "run_pipeline.pth": os.getcwd() + "\\n",
}

def build_editable(directory, config_settings=None, metadata_directory=None):
    name = "run_pipeline-0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        for path, text in FILES.items():
            wheel.writestr(path, text)
    return name
"""

MAIN = (
    "import os, sys\nprint(sys.argv[1:], sys.flags.safe_path, os.environ['RUN_PIPELINE_FALLBACK_PROJECT'])\n"
)

# Says what it was started with, and ends as asked.
STAND_IN_PYTHON = """#!/bin/sh
case $1 in -I) exit 0 ;; esac
echo "args:$*"
echo "cwd:$PWD"
echo "fallback:${RUN_PIPELINE_FALLBACK_PROJECT-}"
echo "pythonpath:${PYTHONPATH-unset}"
echo "failed:${RUN_PIPELINE_FAILED_CHECKS-unset}"
exit ${EXIT_WITH:-0}
"""

# `uv venv … FOLDER` makes an environment with that Python; `uv pip install …` does nothing. Both are noted.
STAND_IN_UV = """#!/bin/sh
echo "$*" >>"$NOTES"
case $1 in venv) for folder; do :; done; mkdir -p "$folder/bin"; touch "$folder/pyvenv.cfg"
    cp "$STAND_IN" "$folder/bin/python"; cp "$STAND_IN" "$folder/bin/run-pipeline" ;;
esac
sleep "${UV_TAKES:-0}"
exit ${UV_ENDS_WITH:-0}
"""


@dataclass(frozen=True)
class Repository:
    """A small repository with our bin folder, and a PATH whose first folder holds stand-ins."""

    root: Path
    tools: Path

    @property
    def venv(self) -> Path:
        """The environment of bin/run-pipeline."""
        return self.root / ".venv"

    @property
    def stamp(self) -> Path:
        """What says that the environment is complete."""
        return self.venv / ".run-pipeline-stamp"

    def environment(self, **more: str) -> dict[str, str]:
        """Nothing of the developer's own environment."""
        return {
            "HOME": str(self.root.parent),
            "PATH": f"{self.tools}:{COREUTILS}",
            "NOTES": str(self.tools / "notes"),
            "STAND_IN": str(self.tools / "stand-in-python"),
            **more,
        }

    def start(
        self, *command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        arguments = command or (self.root / "bin/run-pipeline",)
        return subprocess.run(
            arguments,
            cwd=cwd or self.root,
            env=self.environment(**(env or {})),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def notes(self) -> list[str]:
        """What uv was asked for."""
        file = self.tools / "notes"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A fresh clone in a folder with a space in its name, and uv on PATH."""
    root, tools = tmp_path / "a clone", tmp_path / "tools"
    (root / "runner").mkdir(parents=True)
    tools.mkdir()
    shutil.copytree(REPOSITORY / "bin", root / "bin")
    shutil.copytree(REPOSITORY / ".ci", root / ".ci")
    (root / "pyproject.toml").write_text(PYPROJECT)
    (root / "constraints.txt").write_text("")
    (root / "backend.py").write_text(BACKEND)
    (root / "runner" / "__init__.py").write_text("")
    (root / "runner" / "__main__.py").write_text(MAIN)
    write_program(tools / "stand-in-python", STAND_IN_PYTHON)
    write_program(tools / "uv", STAND_IN_UV)
    return Repository(root, tools)


@pytest.fixture
def ready(repository: Repository) -> Repository:
    """The same after the first start."""
    assert repository.start().returncode == 0
    assert repository.stamp.exists()
    (repository.tools / "notes").unlink()
    return repository


def write_program(path: Path, text: str) -> None:
    """Write an executable file."""
    path.write_text(text)
    path.chmod(0o755)


def make_newer(path: Path) -> None:
    """Set a file's time after everything that was written so far, whatever the clock's grain."""
    later = time.time() + 2
    os.utime(path, (later, later))


def without_flock(repository: Repository) -> dict[str, str]:
    """A PATH as on macOS: everything these scripts use, but no flock."""
    folder = repository.tools / "no-flock"
    folder.mkdir()
    for name in (
        "awk",
        "cat",
        "cmp",
        "cp",
        "ln",
        "mkdir",
        "mv",
        "readlink",
        "rm",
        "sh",
        "sleep",
        "tail",
        "touch",
    ):
        (folder / name).symlink_to(str(shutil.which(name)))
    return {"PATH": f"{repository.tools}:{folder}"}


def test_first_start_sets_up_and_says_so_in_one_line(repository: Repository) -> None:
    """stdout belongs to the command; the environment gets the exact versions."""
    done = repository.start(repository.root / "bin/run-pipeline", "plan", "a b")
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"run-pipeline: setting up {repository.venv} (once; up to a minute)\n"
    assert done.stdout.splitlines()[0] == f"args:-P {repository.root}/runner/__main__.py plan a b"
    venv, install = repository.notes()
    assert venv.endswith(str(repository.venv))
    assert "--constraint constraints.txt" in install
    assert install.endswith("--editable .")


def test_later_start_runs_no_other_program(ready: Repository) -> None:
    """No uv, no Python of its own: with an empty PATH, anything but a builtin would be an error."""
    done = ready.start("/bin/sh", "bin/run-pipeline", "list", env={"PATH": "/nonexistent"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"args:-P {ready.root}/runner/__main__.py list\n")


def test_start_from_anywhere_through_symlinks(ready: Repository, tmp_path: Path) -> None:
    """The caller's working directory stays; Python's own variables do not reach the runner."""
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "second").symlink_to(ready.root / "bin" / "run-pipeline")
    (tmp_path / "first link").symlink_to("links/second")
    env = {
        "CDPATH": str(tmp_path),
        "PYTHONPATH": "/nonexistent",
        "PYTHONHOME": "/nonexistent",
        "EXIT_WITH": "75",
    }
    done = ready.start("../first link", "x", cwd=tmp_path / "links", env=env)
    assert (done.returncode, done.stderr) == (75, "")
    lines = done.stdout.splitlines()
    assert lines[1:4] == [f"cwd:{tmp_path}/links", f"fallback:{ready.root}", "pythonpath:unset"]


def test_changed_requirements_update_in_place(ready: Repository) -> None:
    """What a user added to the environment stays."""
    (ready.venv / "added").touch()
    (ready.root / "constraints.txt").write_text("anyio==4.16.0\n")
    make_newer(ready.root / "constraints.txt")
    assert ready.start().returncode == 0
    assert [note.split()[0] for note in ready.notes()] == ["pip"]
    assert (ready.venv / "added").exists()


def test_newer_files_of_the_same_meaning_install_nothing(ready: Repository) -> None:
    """A checkout there and back, or another line length for ruff."""
    project = ready.root / "pyproject.toml"
    project.write_text(PYPROJECT.replace("line-length = 100", "line-length = 110"))
    os.utime(ready.stamp, (1, 1))
    done = ready.start()
    assert (done.returncode, done.stderr, ready.notes()) == (0, "", [])
    assert ready.stamp.stat().st_mtime >= project.stat().st_mtime


@pytest.mark.parametrize("damage", ["interrupted", "python gone", "made elsewhere"])
def test_unusable_environment_is_made_anew(ready: Repository, damage: str) -> None:
    """Nothing of the old environment is left."""
    (ready.venv / "old").touch()
    if damage == "interrupted":
        ready.stamp.rename(ready.venv / ".run-pipeline-partial")
    elif damage == "python gone":
        (ready.venv / "bin" / "python").unlink()
        (ready.venv / "bin" / "python").symlink_to("/nonexistent/python3")
    else:
        ready.stamp.write_text("/somewhere/else\n")
    done = ready.start()
    assert done.returncode == 0, done.stderr
    assert [note.split()[0] for note in ready.notes()] == ["venv", "pip"]
    assert ready.stamp.exists()
    assert not (ready.venv / "old").exists()


def test_interrupt_leaves_no_stamp(repository: Repository) -> None:
    """Ctrl-C in the middle: the next start sets up again."""
    process = subprocess.Popen(
        [repository.root / "bin/run-pipeline"],
        env=repository.environment(UV_TAKES="30"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        until(lambda: len(repository.notes()) > 0)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=10)
    assert process.returncode in (130, -signal.SIGINT)
    assert not repository.stamp.exists()
    (repository.tools / "notes").unlink()
    assert repository.start().returncode == 0
    assert [note.split()[0] for note in repository.notes()] == ["venv", "pip"]


@pytest.mark.parametrize("flock", [True, False], ids=["flock", "no flock"])
def test_two_first_starts_set_up_once(repository: Repository, flock: bool) -> None:
    """The second waits for the first, says so, and finds everything done."""
    more = {} if flock and shutil.which("flock") else without_flock(repository)
    command, environment = (
        repository.root / "bin/run-pipeline",
        repository.environment(UV_TAKES="0.3", **more),
    )
    both = [
        subprocess.Popen(
            [command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    results = [(process.communicate(timeout=20)[1], process.returncode) for process in both]
    assert [code for _, code in results] == [0, 0], results
    assert [note.split()[0] for note in repository.notes()] == ["venv", "pip"]
    said = "".join(text for text, _ in results)
    assert said.count("setting up") == 1
    assert said.count("waiting for another set-up") == 1


def test_lock_of_a_dead_process_is_broken(repository: Repository) -> None:
    """Without flock, a killed set-up leaves its lock behind."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    (repository.root / ".venv.lock.pid").symlink_to(str(dead.pid))
    done = repository.start(env=without_flock(repository))
    assert done.returncode == 0, done.stderr
    assert not (repository.root / ".venv.lock.pid").is_symlink()


def test_failed_set_up_says_why_and_what_to_do(repository: Repository) -> None:
    """No installer works: exit 2, the log's end, no stamp."""
    write_program(repository.tools / "broken-python", "#!/bin/sh\necho this is the reason >&2\nexit 1\n")
    env = {"UV_ENDS_WITH": "1", "RUN_PIPELINE_PYTHON": str(repository.tools / "broken-python")}
    done = repository.start(env=env)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert lines[1].startswith("run-pipeline: uv could not set it up")
    assert "this is the reason" in lines
    assert lines[-1].startswith("run-pipeline: Check the network and that Python 3.11")
    assert not repository.stamp.exists()


def test_real_environment_without_uv(repository: Repository) -> None:
    """venv and pip, in a hostile environment; then the same environment as if someone else had made it."""
    (repository.tools / "uv").unlink()
    hostile = {
        "RUN_PIPELINE_PYTHON": sys.executable,
        "PIP_REQUIRE_VIRTUALENV": "1",
        "PIP_USER": "1",
        "PIP_TARGET": "/nonexistent",
        "PIP_NO_INDEX": "1",
        "PYTHONPATH": str(repository.root / "runner"),
        "VIRTUAL_ENV": "/nonexistent",
    }
    first = repository.start(repository.root / "bin/run-pipeline", "a b", env=hostile)
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"['a b'] True {repository.root}\n"

    repository.stamp.unlink()
    again = repository.start(repository.root / "bin/run-pipeline", "a b", env=hostile)
    assert (again.returncode, again.stderr, again.stdout) == (0, "", first.stdout)
    assert repository.stamp.exists()


def add_checks(repository: Repository, *, failing: str = "") -> None:
    """Put stand-ins for the checks into the environment of bin/test."""
    assert repository.start(repository.root / "bin/test", "--version").returncode == 0
    for name in ("ruff", "mypy", "lint-imports"):
        code = int(name == failing)
        write_program(
            repository.root / ".venv-test" / "bin" / name, f'#!/bin/sh\necho "{name} $*"\nexit {code}\n'
        )


def test_bin_test_runs_every_check_and_pytest_last(repository: Repository) -> None:
    """From anywhere, without arguments: then without the tests of BigQuery, which is said."""
    add_checks(repository)
    done = repository.start(repository.root / "bin/test", cwd=repository.tools)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.rsplit(maxsplit=1)[0].strip() for line in lines[:4]] == [
        "ruff check",
        "ruff format --check",
        "mypy",
        "lint-imports",
    ]
    assert "bin/test --require=bigquery runs them" in lines[4]
    started = "args:-P -m pytest -n 3 --dist worksteal -m not bigquery"
    assert lines[5:7] == [started, f"cwd:{repository.root}"]
    assert repository.notes()[-1].endswith("--editable .[dev]")


def test_ci_runs_every_check_and_requires_every_server(repository: Repository) -> None:
    """Names of servers are no pytest arguments: the checks run too. The names are those that tests know."""
    add_checks(repository)
    done = repository.start(repository.root / ".ci" / "run", cwd=repository.tools)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    required = lines[4].removeprefix("args:-P -m pytest -n 2 --dist worksteal --require=").split(",")
    assert sorted(required) == sorted(SERVERS)
    assert [line.split()[-1] for line in lines[:4]] == ["ok"] * 4


def test_bin_test_tells_a_misspelt_server_before_the_checks(repository: Repository) -> None:
    """Exit 2: nothing was run. (What pytest says of it is its own: test_servers_required.py.)"""
    add_checks(repository)
    done = repository.start(repository.root / "bin/test", "--require=postgers", env={"EXIT_WITH": "4"})
    assert (done.returncode, done.stdout) == (2, "")


def test_bin_test_with_required_servers_and_arguments_is_pytest_alone(repository: Repository) -> None:
    """As with any argument."""
    add_checks(repository, failing="ruff")
    done = repository.start(repository.root / "bin/test", "--require=postgres", "tests/contract")
    assert done.stdout.startswith("args:-P -m pytest --require=postgres tests/contract\n")


def test_bin_test_goes_on_after_a_failed_check(repository: Repository) -> None:
    """The rest still runs, pytest is told, and the result is 1."""
    add_checks(repository, failing="mypy")
    done = repository.start(repository.root / "bin/test")
    assert done.returncode == 1
    assert "lint-imports           ok\n" in done.stdout
    assert "failed:mypy\n" in done.stdout


def test_bin_test_with_arguments_is_pytest_alone(repository: Repository) -> None:
    """And its exit code is pytest's."""
    add_checks(repository, failing="ruff")
    done = repository.start(repository.root / "bin/test", "-k", "a or b", env={"EXIT_WITH": "5"})
    assert done.returncode == 5
    assert done.stdout.startswith("args:-P -m pytest -k a or b\n")


def test_bin_test_help_needs_no_environment(repository: Repository) -> None:
    """--help explains itself before anything is set up."""
    done = repository.start(repository.root / "bin/test", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: bin/test")
    assert repository.notes() == []
