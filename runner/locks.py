"""Locks between processes: one file a lock, `flock` on it, the holder's name inside for messages.

The kernel frees a lock when its holder dies, however it dies, so nothing is ever stale. Lock files are never
deleted: whoever was about to lock a deleted file would hold a lock that nobody else sees. The lock belongs to
the open file, not to the process: two runners in one process exclude each other as well, and a child made by
`fork` without `exec` shares its parent's locks until the parent releases them.

Works where `flock` does (Linux, macOS; not on every network file system). All of it blocks, briefly.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from runner.clock import format_utc, utc_now
from runner.errors import HeldByAnother, UsageError

FILE_MODE = 0o600
FOLDER_MODE = 0o700
SUFFIX = ".lock"

_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW
_HOLDER_BYTES = 300
_ATTEMPTS = 200
"""How often a lock is asked for while only `is_held` of others stands in the way, up to 1 ms apart."""


class FileLock:
    """An exclusive lock on the file `path`, from `acquire` until `release` or the end of its context."""

    __slots__ = ("_fd", "path")

    def __init__(self, path: Path | str) -> None:
        self.path = os.fspath(path)
        self._fd = -1

    @property
    def resource(self) -> str:
        """What is locked, in words: `job.daily_mail.lock` is the lock of `job daily_mail`."""
        return os.path.basename(self.path).removesuffix(SUFFIX).replace(".", " ", 1)

    def acquire(self, holder: str, *, since: str | None = None) -> Self:
        """Take the lock without waiting. `holder` tells others who has it, for example `run 01KH…`; `since`
        is the time as text, now unless given.

        Raises `HeldByAnother`, and `OSError` that names the file when it cannot be opened or locked.
        """
        if self._fd >= 0:
            raise HeldByAnother(self.resource, "this very lock, which was acquired before")
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | _SAFE, FILE_MODE)
        try:
            self._take(fd, f"{holder} (process {os.getpid()}, since {since or format_utc(utc_now())})\n")
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        return self

    def _take(self, fd: int, line: str) -> None:
        if not _lock(fd, self.path):
            raise HeldByAnother(self.resource, _holder(fd))
        if os.fstat(fd).st_mode & 0o777 != FILE_MODE:
            os.fchmod(fd, FILE_MODE)  # the umask took bits from the owner, or the file was made by hand
        os.ftruncate(fd, os.pwrite(fd, line.encode(), 0))

    def release(self) -> None:
        """Give the lock back; twice does no harm. The file stays, empty."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            with suppress(OSError):  # the name is only for messages
                os.ftruncate(fd, 0)
            fcntl.flock(fd, fcntl.LOCK_UN)
        finally:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class LockSet:
    """Locks that are held together, until `release` or the end of its context."""

    __slots__ = ("_locks",)

    def __init__(self, locks: Iterable[FileLock]) -> None:
        self._locks = list(locks)

    def __len__(self) -> int:
        return len(self._locks)

    def release(self) -> None:
        """Give all locks back; twice does no harm."""
        while self._locks:
            self._locks.pop().release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def acquire_all(folder: Path, names: Iterable[str], holder: str) -> LockSet:
    """Take the locks `folder/NAME.lock` of all `names`, or none of them. Each keeps one file open.

    They are taken in sorted order: of two runners that want some of the same, one gets all it wants. The
    folder is made if it is not there. `holder` as for `FileLock.acquire`.

    Raises `HeldByAnother` for the first that is held, `UsageError` when the process may not open so many
    files, and otherwise `OSError` that names the file.
    """
    wanted = sorted(set(names))
    _make_folder(folder)
    since = format_utc(utc_now())
    locks: list[FileLock] = []
    try:
        for name in wanted:
            locks.append(FileLock(_path(folder, name)).acquire(holder, since=since))  # noqa: PERF401
    except BaseException as error:
        LockSet(locks).release()
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            raise _too_many(len(wanted)) from error
        raise
    return LockSet(locks)


def is_held(path: Path | str) -> bool:
    """Tell whether someone alive holds the lock; False as well when there is no such file.

    To see it, this takes a shared lock for a moment, which would refuse a runner that asks for the exclusive
    one just then; `acquire` knows that case from a holder and asks again.
    """
    try:
        fd = os.open(path, os.O_RDONLY | _SAFE)
    except FileNotFoundError:
        return False
    try:
        return not _flock(fd, fcntl.LOCK_SH, os.fspath(path))
    finally:
        os.close(fd)


def _lock(fd: int, path: str) -> bool:
    """Take the exclusive lock; False when somebody has it. A look by `is_held` is waited for."""
    for _ in range(_ATTEMPTS):
        if _flock(fd, fcntl.LOCK_EX, path):
            return True
        if not _flock(fd, fcntl.LOCK_SH, path):
            return False
        fcntl.flock(fd, fcntl.LOCK_UN)  # shared is to be had: nobody holds it, somebody looks
        time.sleep(random.random() / 1000)  # noqa: S311 - spreads, hides nothing
    return False


def _flock(fd: int, kind: int, path: str) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise OSError(error.errno, f"cannot be locked: {error.strerror}", path) from error
    return True


def _holder(fd: int) -> str:
    """Read who holds the lock. Empty for the moment between taking it and writing the name."""
    line = os.pread(fd, _HOLDER_BYTES, 0).decode(errors="replace").partition("\n")[0]
    return "".join(char for char in line if char.isprintable()) or "another process"


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir(FOLDER_MODE)
            folder.chmod(FOLDER_MODE)


def _path(folder: Path, name: str) -> str:
    if not name or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} cannot name a lock; expected a file name")
    return os.path.join(folder, name + SUFFIX)


def _too_many(count: int) -> UsageError:
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UsageError(
        f"{count} locks need {count} open files, and this process may open {limit} in all",
        hint=f"raise it with `ulimit -n {count + 1000}`, or LimitNOFILE={count + 1000} in the systemd unit",
    )
