"""Files of the runner's state: private, replaced as a whole, inside their folder, locked by the living."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from runner.files import Folder, check_name, follow, is_folder, is_locked, make_folder, try_lock


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o277], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Each of the umasks a service may run under."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """`small_files(n)` lets no file of this process grow beyond n bytes, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def mode(path: Path) -> int:
    """The permission bits of a path."""
    return stat.S_IMODE(path.lstat().st_mode)


def test_everything_made_is_private(tmp_path: Path, umask: int) -> None:
    """Folders 0700 and files 0600, whatever the umask."""
    with Folder(tmp_path / "state" / "runs", make=True) as folder, folder.folder("one", make=True) as inner:
        inner.write_new("new", b"x")
        inner.replace("replaced", b"x")
        inner.append_to("appended").close()
    made = [tmp_path / "state", *sorted((tmp_path / "state").rglob("*"))]
    assert {path.relative_to(tmp_path).as_posix(): oct(mode(path)) for path in made} == {
        "state": "0o700",
        "state/runs": "0o700",
        "state/runs/one": "0o700",
        "state/runs/one/appended": "0o600",
        "state/runs/one/new": "0o600",
        "state/runs/one/replaced": "0o600",
    }


def test_a_folder_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    """The operator may have shared the state folder on purpose."""
    tmp_path.chmod(0o750)
    make_folder(tmp_path / "runs")
    assert (mode(tmp_path), mode(tmp_path / "runs")) == (0o750, 0o700)


def test_a_file_in_the_way_of_a_folder_is_an_error(tmp_path: Path) -> None:
    """It is named, not replaced."""
    (tmp_path / "runs").write_text("mine")
    with pytest.raises(FileExistsError, match="runs"):
        make_folder(tmp_path / "runs")
    with pytest.raises(NotADirectoryError, match="runs"):
        Folder(tmp_path / "runs")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/etc/passwd", "a\0b", "x" * 256, "ä" * 128])
def test_names_cannot_leave_their_folder(tmp_path: Path, name: str) -> None:
    """Not one operation takes a name that is more than a name."""
    with Folder(tmp_path) as folder:
        for operation in (
            lambda: folder.read(name),
            lambda: folder.write_new(name, b""),
            lambda: folder.replace(name, b""),
            lambda: folder.append_to(name),
            lambda: folder.folder(name, make=True),
            lambda: folder.remove(name),
        ):
            with pytest.raises(ValueError, match="is not a file name"):
                operation()
        assert folder.names() == []


def test_names_may_be_odd(tmp_path: Path) -> None:
    """Dots, blanks and bytes that are not UTF-8 are only names."""
    for name in ("..a", "a b", "\udcff", "-rf", "x" * 255):
        assert check_name(name) == name


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Neither a linked file nor a linked folder is opened, and what they point to is untouched."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"theirs")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "file").symlink_to(outside / "file")
    (inside / "folder").symlink_to(outside)
    with Folder(inside) as folder:
        for operation in (
            lambda: folder.read("file"),
            lambda: folder.write_new("file", b"ours"),
            lambda: folder.append_to("file"),
            lambda: folder.folder("folder"),
        ):
            with pytest.raises(OSError, match="inside/"):
                operation()
        folder.replace("file", b"ours")
    assert not is_folder(inside / "folder")
    assert (outside / "file").read_bytes() == b"theirs"
    assert (inside / "file").read_bytes() == b"ours"


def test_write_new_is_for_new_files(tmp_path: Path) -> None:
    """What is there stays."""
    with Folder(tmp_path) as folder:
        folder.write_new("record.json", b"first")
        with pytest.raises(FileExistsError, match=r"record\.json"):
            folder.write_new("record.json", b"second")
        assert folder.read("record.json") == b"first"


def test_no_space_leaves_the_old_content_and_no_rubbish(
    tmp_path: Path, small_files: Callable[[int], None]
) -> None:
    """A file that cannot be written in full is not written at all."""
    with Folder(tmp_path) as folder:
        folder.replace("run.json", b"old")
        log = folder.append_to("events.jsonl")
        log.append(b"a" * 60)
        small_files(100)
        with pytest.raises(OSError, match=r"run\.json"):
            folder.replace("run.json", b"n" * 101)
        with pytest.raises(OSError, match=r"new\.json"):
            folder.write_new("new.json", b"n" * 101)
        with pytest.raises(OSError, match=r"events\.jsonl"):
            log.append(b"b" * 60)
        log.append(b"c" * 40)
        log.close()
        assert folder.names() == ["events.jsonl", "run.json"]
        assert folder.read("run.json") == b"old"
        assert folder.read("events.jsonl") == b"a" * 60 + b"c" * 40


REPLACING = """
import itertools, sys
from pathlib import Path
from runner.files import Folder
folder = Folder(Path(sys.argv[1]))
folder.replace("run.json", b"0" * 5000)
print("ready", flush=True)
for number in itertools.count(1):
    folder.replace("run.json", str(number % 10).encode() * 5000)
"""


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """While another process replaces a file, and after it was killed in the middle of that."""
    child = subprocess.Popen(
        [sys.executable, "-c", REPLACING, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child, Folder(tmp_path) as folder:
        assert child.stdout.readline() == "ready\n"
        seen = set()
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            seen.add(folder.read("run.json"))
        child.kill()
        child.wait()
        seen.add(folder.read("run.json"))
    assert len(seen) > 1
    assert all(len(content) == 5000 and len(set(content)) == 1 for content in seen)


def test_a_lock_lasts_as_long_as_its_file_is_open(tmp_path: Path) -> None:
    """Looking does not take it, and closing gives it back."""
    with Folder(tmp_path) as folder:
        log = folder.append_to("events.jsonl")
        reading = folder.open("events.jsonl", os.O_RDONLY)
        assert not is_locked(reading)
        log.lock()
        assert is_locked(reading)
        assert not try_lock(reading)
        log.close()
        log.close()
        assert not is_locked(reading)
        assert try_lock(reading)
        os.close(reading)


def test_closed_descriptors_are_closed_once(tmp_path: Path) -> None:
    """Closing a folder twice must not close a descriptor that someone else has got in the meantime."""
    folder = Folder(tmp_path)
    folder.close()
    other = os.open(tmp_path, os.O_RDONLY)
    folder.close()
    os.fstat(other)
    os.close(other)


@pytest.mark.asyncio
async def test_follow_yields_lines_as_they_come_and_ends_when_finished(tmp_path: Path) -> None:
    """Whole lines only, wherever the writes were cut; what was there at the end is not missed."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"one\ntw")
    finished = False
    lines: list[bytes] = []
    got = anyio.Event()

    async def read() -> None:
        async for line in follow(path, lambda: finished, every=0.005):
            lines.append(line)
            got.set()

    def append(content: bytes) -> None:
        with path.open("ab") as file:
            file.write(content)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await got.wait()
        assert lines == [b"one"]
        append(b"o\nthree\nfo")
        got = anyio.Event()
        await got.wait()
        append(b"ur\ntorn")
        finished = True
    assert lines == [b"one", b"two", b"three", b"four"]
