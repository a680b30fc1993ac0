"""The units as systemd sees them: it reads them without a word, finds them hardened, and what they start works."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.cli import main
from runner.operations.init import init_project
from runner.run_store import FileRunStore
from tests.projects import REPOSITORY

PROGRAM = f"{sys.executable} -P -m runner"
NOBODY = 65534
HERE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(HERE is None, reason="systemd-analyze (package systemd) is not installed")
EXPOSURE = re.compile(r"Overall exposure level for \S+: (\d+\.\d) ")
VARIANTS = {
    "plain": ["hello"],
    "template": [],
    "alert": ["hello", "--on-failure", '/bin/echo "100 % of" $HOME'],
    "bounds": [
        "hello",
        "--memory-max",
        "1G",
        "--tasks-max",
        "200",
        "--run-limit",
        "10m",
        "--random-delay",
        "30s",
    ],
    "secret": ["hello", "--credential", "connections__mail__password:/etc/demo/password"],
    "offline": ["hello", "--no-network"],
    "run as": ["hello", "--run-as", "daemon"],
    "user": ["hello", "--user", "--on-failure", "/bin/echo"],
}


def test_continuous_integration_has_systemd_analyze() -> None:
    """There the tests below must not be skipped without anybody seeing it."""
    assert HERE or not os.environ.get("CI") or sys.platform != "linux", "install the package systemd"


@pytest.fixture(scope="module")
def project() -> Iterator[Path]:
    """A project that anybody may read and nobody may write, not even its owner; removed with what is beside it."""
    top = Path(tempfile.mkdtemp(prefix="run-pipeline-units-"))
    top.chmod(0o755)
    folder = init_project(top / "demo").folder
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(top)


@pytest.fixture(scope="module")
def python() -> str:
    """A Python that an unprivileged user can start, with what a run needs; the tests' own may be in root's home."""
    for candidate in (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"):
        try:
            done = subprocess.run(
                [candidate, "-P", "-c", "import runner, duckdb, pyarrow, click"],
                env=minimal(), cwd="/", capture_output=True, text=True, check=False, **as_nobody(),
            )  # fmt: skip
        except OSError:
            continue
        if done.returncode == 0:
            return candidate
    pytest.skip(
        "neither the tests' Python nor the system's can be used by nobody, or this checkout is closed to it"
    )


def as_nobody() -> dict[str, Any]:
    """Options of `subprocess.run` for root to start a program without privileges."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def minimal(**more: str) -> dict[str, str]:
    """Hardly any environment: where this checkout and the packages of the tests' Python are."""
    packages = os.pathsep.join([str(REPOSITORY), sysconfig.get_path("platlib")])
    return {"PATH": os.defpath, "PYTHONPATH": packages, **more}


def install(project: Path, folder: Path, *words: str, program: str = PROGRAM) -> list[Path]:
    """Install units for the demo project into a folder, and return their files."""
    options = [
        "--project",
        str(project),
        "--on-calendar",
        "*:0/15",
        "--dir",
        str(folder),
        "--program",
        program,
    ]
    assert main(["systemd", "install", *words, *options]) == 0
    return sorted(folder.iterdir())


@needs_systemd
@pytest.mark.parametrize("words", VARIANTS.values(), ids=VARIANTS)
def test_systemd_reads_them_without_a_word_and_finds_them_hardened(
    words: list[str], project: Path, tmp_path: Path
) -> None:
    units = install(project, tmp_path / "units", *words)

    manager = "--user" if "--user" in words else "--system"
    # A user's manager wants a folder for its sockets, also to verify.
    verified = analyze("verify", manager, *map(str, units), XDG_RUNTIME_DIR=str(tmp_path))

    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    for unit in units:
        if unit.suffix == ".service" and manager == "--system":
            judged = analyze("security", "--offline=yes", "--threshold=20", str(unit))
            assert judged.returncode == 0, judged.stdout
            found = EXPOSURE.search(judged.stdout)
            assert found is not None
            assert float(found[1]) <= (0.7 if "--no-network" in words else 1.2)


@needs_systemd
def test_verify_would_say_something(project: Path, tmp_path: Path) -> None:
    """What the test above stands on: a word that systemd does not know is only told on stderr, with code 0."""
    (unit,) = [path for path in install(project, tmp_path / "units", "hello") if path.suffix == ".service"]
    unit.write_text(
        unit.read_text(encoding="utf-8").replace("WatchdogSec=", "WatchDogSec="), encoding="utf-8"
    )

    verified = analyze("verify", str(unit))

    assert verified.returncode == 0
    assert "Unknown key" in verified.stderr


@needs_systemd
def test_the_units_of_the_repository_are_those_that_the_command_prints(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = REPOSITORY / "configs" / "systemd"
    # The units name the state after the project's folder, and a clone may have any name.
    project = tmp_path / "run-pipeline"
    (project / "configs").mkdir(parents=True)
    shutil.copy(REPOSITORY / "configs" / "runner.toml", project / "configs")
    options = ["--on-calendar", "*:0/15", "--random-delay", "30s", "--on-failure", "/usr/local/bin/tell"]
    options += ["--program", "/opt/run-pipeline/bin/run-pipeline", "--project", str(project)]

    assert main(["systemd", "print", *options]) == 0

    printed = capsys.readouterr().out.replace(str(project), "/opt/run-pipeline")
    files = [
        shown / name
        for name in ("run-pipeline@.service", "run-pipeline@.timer", "run-pipeline-alert@.service")
    ]
    texts = [f"# /etc/systemd/system/{file.name}\n{file.read_text(encoding='utf-8')}" for file in files]
    assert printed == "\n".join(texts)
    assert {file.name for file in shown.iterdir()} == {file.name for file in files}


@needs_systemd
def test_what_the_service_starts_works_for_nobody_with_read_only_code(project: Path, python: str) -> None:
    """With the unit's own filter of system calls, once with a home that cannot be written and once without any."""
    units, state = project.parent / "units", project.parent / "state"
    install(project, units, "hello", program=f"{python} -P -m runner")
    user = NOBODY if os.geteuid() == 0 else os.geteuid()
    state.mkdir(mode=0o700)
    os.chown(state, user, -1)
    before = files_below(project)
    unit = units / "run-pipeline-hello.service"

    first = start(unit, STATE_DIRECTORY=str(state), HOME="/")
    assert first.returncode == 0, first.stderr
    second = start(unit, STATE_DIRECTORY=str(state))
    assert second.returncode == 0, second.stderr

    newest, oldest = FileRunStore(state / "runs").latest()
    assert (oldest.status, oldest.rows_written) == ("success", 6)
    assert (newest.status, newest.rows_read, newest.rows_written) == ("success", 0, 0)
    assert files_below(project) == before
    made = [path.lstat() for path in (state, *state.rglob("*"))]
    assert {each.st_uid for each in made} == {user}
    assert not any(stat.S_IMODE(each.st_mode) & 0o077 for each in made)


@needs_systemd
def test_the_filter_of_system_calls_is_one(project: Path, python: str, tmp_path: Path) -> None:
    """What the test above stands on: privileges are gone, and what is not allowed is refused."""
    unit = next(path for path in install(project, tmp_path / "units", "hello") if path.suffix == ".service")
    code = """
import os, socket, mmap
def refusal(call):
    try:
        call()
    except OSError as error:
        return error.errno
print(os.geteuid(), bool(socket.getaddrinfo("localhost", 80)))
print(refusal(lambda: socket.socket(socket.AF_NETLINK)), refusal(lambda: os.chown("/proc/self", -1, -1)))
print(refusal(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)), refusal(lambda: os.chroot("/")))
"""
    file = project.parent / "denied.service"
    text = unit.read_text(encoding="utf-8")
    file.write_text(re.sub(r"(?m)^ExecStart=.*", f"ExecStart={python} -P -", text), encoding="utf-8")

    done = start(file, stdin=code)

    user = NOBODY if os.geteuid() == 0 else os.geteuid()
    numbers = (errno.EAFNOSUPPORT, errno.EPERM, errno.EPERM, errno.EPERM)
    assert done.stdout.split() == [str(user), "True", *map(str, numbers)], done.stderr


def analyze(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *words],
        env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def start(unit: Path, *, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Start what a unit starts, confined as it says, with hardly any environment."""
    return subprocess.run(
        [sys.executable, "-P", str(REPOSITORY / "tests" / "confined.py"), str(unit)],
        env=minimal(**environment), input=stdin, capture_output=True, text=True, check=False,
    )  # fmt: skip


def files_below(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path.relative_to(folder)), path.lstat().st_mtime_ns) for path in folder.rglob("*"))
