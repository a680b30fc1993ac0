"""Locks between real processes: one winner, freed by any death, private files."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from runner.errors import HeldByAnother
from runner.locks import FileLock, acquire_all, is_held

HOLD = """
import sys, pathlib
from runner.errors import HeldByAnother
from runner.locks import acquire_all
sys.stdin.readline()
try:
    with acquire_all(pathlib.Path(sys.argv[1]), sys.argv[2:], "run 01KH"):
        print("held", flush=True)
        sys.stdin.readline()
except HeldByAnother as error:
    print(error, flush=True)
"""


class Holder:
    """Another process that takes the locks when told to `go`, and keeps them until told to `end`."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder), *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextmanager
def holder(folder: Path, *names: str) -> Iterator[Holder]:
    another = Holder(folder, *names)
    try:
        yield another
    finally:
        another.process.kill()
        another.process.communicate()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "var" / "locks"


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def open_files() -> int:
    return len(os.listdir("/dev/fd"))


# --- between processes ----------------------------------------------------------------------------


def test_of_30_processes_one_wins_and_the_others_say_who(folder: Path) -> None:
    with ExitStack() as stack:
        others = [stack.enter_context(holder(folder, "job.daily_mail")) for _ in range(30)]
        for other in others:
            other.tell()
        answers = [other.answer() for other in others]
        (winner,) = [other for other, answer in zip(others, answers, strict=True) if answer == "held"]
        refused = [answer for answer in answers if answer != "held"]
        assert len(refused) == 29
        assert all(answer.startswith("job daily_mail is held by ") for answer in refused)
        with pytest.raises(HeldByAnother) as caught:
            acquire_all(folder, ["job.daily_mail"], "run 02")
        assert caught.value.resource == "job daily_mail"
        assert caught.value.holder.startswith(f"run 01KH (process {winner.process.pid}, since 20")
        assert caught.value.holder.endswith("Z)")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_any_death_frees_the_lock(folder: Path, how: signal.Signals) -> None:
    with holder(folder, "job.a", "job.b") as other:
        other.tell()
        assert other.answer() == "held"
        assert is_held(folder / "job.b.lock")
        other.process.send_signal(how)
        other.process.wait(10)
        assert not is_held(folder / "job.b.lock")
        acquire_all(folder, ["job.a", "job.b"], "run 02").release()


def test_a_program_started_by_the_holder_does_not_keep_the_lock(folder: Path) -> None:
    lock = acquire_all(folder, ["job.a"], "run 01")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        lock.release()
        assert not is_held(folder / "job.a.lock")
        child.kill()


# --- in one process -------------------------------------------------------------------------------


def test_two_runners_in_one_process_exclude_each_other(folder: Path) -> None:
    held = acquire_all(folder, ["job.a"], "run 01")
    with pytest.raises(HeldByAnother, match=rf"job a is held by run 01 \(process {os.getpid()}, since"):
        acquire_all(folder, ["job.a"], "run 02")
    held.release()
    acquire_all(folder, ["job.a"], "run 02").release()


def test_all_or_none(folder: Path) -> None:
    files = open_files()
    with acquire_all(folder, ["job.c"], "run 01"):
        with pytest.raises(HeldByAnother, match="job c"):
            acquire_all(folder, ["job.d", "job.c", "job.b", "job.b"], "run 02")
        assert not is_held(folder / "job.b.lock")
        assert not is_held(folder / "job.d.lock")
        assert is_held(folder / "job.c.lock")
    assert open_files() == files


def test_names_are_locked_once(folder: Path) -> None:
    with acquire_all(folder, ["job.a", "job.b", "job.a"], "run 01") as locks:
        assert len(locks) == 2


def test_releasing_twice_does_no_harm(folder: Path) -> None:
    locks = acquire_all(folder, ["job.a"], "run 01")
    locks.release()
    with acquire_all(folder, ["job.a"], "run 02"):
        locks.release()
        assert is_held(folder / "job.a.lock")


def test_a_lock_is_acquired_once(folder: Path) -> None:
    folder.mkdir(parents=True)
    with FileLock(folder / "warehouse.lock").acquire("run 01") as lock:
        with pytest.raises(HeldByAnother, match="warehouse is held by this very lock"):
            lock.acquire("run 01")
        assert is_held(folder / "warehouse.lock")


def test_the_file_stays_and_names_nobody_when_nobody_holds_it(folder: Path) -> None:
    file = folder / "job.a.lock"
    with acquire_all(folder, ["job.a"], "a much longer name of a holder"):
        number = file.stat().st_ino
    assert file.read_bytes() == b""
    with acquire_all(folder, ["job.a"], "x"):
        assert file.read_text().startswith("x (process ")
        assert file.read_text().endswith(")\n")
    assert file.stat().st_ino == number


def test_a_holders_name_cannot_drive_the_terminal(folder: Path) -> None:
    folder.mkdir(parents=True)
    file = folder / "job.a.lock"
    with FileLock(file).acquire("run 01"):
        file.write_bytes(b"\x1b]0;title\x07evil\xff\xe2\x80\xae\nmore")
        with pytest.raises(HeldByAnother) as caught:
            FileLock(file).acquire("run 02")
    assert caught.value.holder == "]0;titleevil\ufffd"


def test_looking_at_a_lock_refuses_nobody(folder: Path) -> None:
    """`is_held` takes a shared lock for a moment; whoever wants the lock then must get it all the same."""
    acquire_all(folder, ["job.a"], "run 00").release()
    file = folder / "job.a.lock"
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            is_held(file)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(200):
            FileLock(file).acquire("run 01").release()
    finally:
        stop.set()
        for looker in lookers:
            looker.join()


def test_a_lock_that_was_never_taken_is_not_held(folder: Path) -> None:
    assert not is_held(folder / "job.a.lock")
    assert not folder.exists()


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o277])
def test_files_are_private_under_any_umask(folder: Path, mask: int) -> None:
    with umask(mask), acquire_all(folder, ["job.a"], "run 01"):
        assert stat.S_IMODE((folder / "job.a.lock").stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_a_symbolic_link_is_refused_and_its_target_untouched(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(parents=True)
    target = tmp_path / "precious"
    target.write_text("keep")
    (folder / "job.a.lock").symlink_to(target)
    with pytest.raises(OSError, match=r"job\.a\.lock"):
        acquire_all(folder, ["job.a"], "run 01")
    with pytest.raises(OSError, match=r"job\.a\.lock"):
        is_held(folder / "job.a.lock")
    assert target.read_text() == "keep"


@pytest.mark.parametrize("name", ["", "../outside", "a/b", "a\0b"])
def test_a_name_cannot_leave_the_folder(folder: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a lock"):
        acquire_all(folder, [name], "run 01")


TOO_MANY = """
import pathlib, resource, sys
from runner.errors import UsageError
from runner.locks import acquire_all, is_held
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
folder = pathlib.Path(sys.argv[1])
try:
    acquire_all(folder, [f"job.j{number:03}" for number in range(200)], "run 01")
except UsageError as error:
    print(error)
assert not is_held(folder / "job.j000.lock")
"""


def test_too_many_open_files_says_what_to_raise(folder: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c", TOO_MANY, str(folder)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ).stdout
    assert said == (
        "200 locks need 200 open files, and this process may open 64 in all (raise it with `ulimit -n 1200`,"
        " or LimitNOFILE=1200 in the systemd unit)\n"
    )
