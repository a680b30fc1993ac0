"""Files of the runner's own state: private, never half replaced, never outside of their folder.

Every operation is one blocking call that does all of its work, so that a cancelled task cannot stop it
between a write and a rename; async code runs it in a worker thread. Names are single names relative to an
open folder (`openat`), so neither `..` nor a folder swapped for a link leads elsewhere. Only `follow` is
async.

Files are 0600 and folders 0700 under any umask. Folders that exist already keep the mode they have.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Self

FILE_MODE = 0o600
FOLDER_MODE = 0o700
_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC
_READ_SIZE = 1 << 20


def check_name(name: str) -> str:
    """Return `name` if it is one plain file name; raise `ValueError` if it could lead out of its folder."""
    if not name or name in (".", "..") or "/" in name or "\0" in name or len(os.fsencode(name)) > 255:
        raise ValueError(
            f"{name!r} is not a file name; expected one name of at most 255 bytes without '/' or NUL"
        )
    return name


def make_folder(path: Path) -> Path:
    """Make a folder, and those above it that are missing, readable by nobody else. Return `path`."""
    if not path.is_dir():
        if path.parent != path:
            make_folder(path.parent)
        try:
            os.mkdir(path, FOLDER_MODE)
        except FileExistsError:
            if not path.is_dir():
                raise
        else:
            os.chmod(path, FOLDER_MODE)  # a umask such as 0277 takes bits from the owner, too
    return path


class Folder:
    """An open folder. Use it as a context manager, or `close` it."""

    def __init__(self, path: Path, *, make: bool = False, within: int | None = None) -> None:
        """Open the folder `path` (`make`: make it and its parents first). The last part must not be a link.

        `within`: descriptor of the folder above, to which `path.name` is then relative.
        Raises `OSError` that names the path.
        """
        self.path = path
        if make and within is None:
            make_folder(path)
        name = path if within is None else path.name
        try:
            self._fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _SAFE, dir_fd=within)
        except OSError as error:
            raise _at(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the folder; closing twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def names(self) -> list[str]:
        """Return the names in the folder, sorted."""
        return sorted(os.listdir(self._fd))

    def folder(self, name: str, *, make: bool = False) -> Folder:
        """Open a folder in this one. `make`: it must be new, else `FileExistsError`."""
        path = self.path / check_name(name)
        if make:
            try:
                os.mkdir(name, FOLDER_MODE, dir_fd=self._fd)
            except OSError as error:
                raise _at(path, error) from error
        folder = Folder(path, within=self._fd)
        if make:
            os.fchmod(folder._fd, FOLDER_MODE)
        return folder

    def open(self, name: str, flags: int) -> int:
        """Open a file of this folder and return its descriptor. Made private when `flags` has O_CREAT."""
        try:
            fd = os.open(check_name(name), flags | _SAFE, FILE_MODE, dir_fd=self._fd)
        except OSError as error:
            raise _at(self.path / name, error) from error
        if flags & os.O_CREAT:
            os.fchmod(fd, FILE_MODE)
        return fd

    def read(self, name: str) -> bytes:
        """Return the content of a file. Raises `FileNotFoundError`, or `OSError` for a link."""
        fd = self.open(name, os.O_RDONLY)
        try:
            return read_all(fd)
        finally:
            os.close(fd)

    def write_new(self, name: str, content: bytes) -> None:
        """Write a file that does not exist yet; raises `FileExistsError` if it does.

        One open and one write: for files that are written once and can be made again from elsewhere, since a
        crash between the two leaves it empty.
        """
        fd = self.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            _write(fd, content, self.path / name)
        except BaseException:
            self.remove(name)
            raise
        finally:
            os.close(fd)

    def replace(self, name: str, content: bytes, *, sync: bool = False) -> None:
        """Make `content` the whole of a file: any reader sees the old or the new, also after kill -9.

        `sync`: also after a power failure. On an error (no space) the old file is untouched. One writer at a
        time per file: the temporary file beside it has a fixed name, so that crashes do not pile them up.
        """
        temporary = f".{check_name(name)}.tmp"
        fd = self.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            try:
                _write(fd, content, self.path / name)
                if sync:
                    os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(temporary, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except BaseException:
            self.remove(temporary)
            raise
        if sync:
            os.fsync(self._fd)

    def append_to(self, name: str) -> AppendFile:
        """Make a new file for appending. Raises `FileExistsError`."""
        return AppendFile(
            self.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL), self.path / name
        )

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        try:
            os.unlink(check_name(name), dir_fd=self._fd)
        except FileNotFoundError:
            return


class AppendFile:
    """A file that only grows, in pieces that are there as a whole or not at all (unless the machine dies)."""

    def __init__(self, fd: int, path: Path) -> None:
        self.path = path
        self._fd = fd
        self._size = os.fstat(fd).st_size

    def lock(self) -> None:
        """Take the file's lock for as long as it is open. Waits: readers only hold it to see who has it."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def append(self, content: bytes) -> None:
        """Add `content`; once this returns, it survives the death of the process.

        When only a part can be written, that part is taken back and the `OSError` raised, so that the next
        piece does not begin in the middle of a line.
        """
        try:
            _write(self._fd, content, self.path)
        except BaseException:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(content)

    def sync(self) -> None:
        """Wait until what was appended survives a power failure."""
        try:
            (getattr(os, "fdatasync", None) or os.fsync)(self._fd)  # macOS has no fdatasync
        except OSError as error:
            raise _at(self.path, error) from error

    def close(self) -> None:
        """Close the file and thereby release its lock; closing twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read_all(fd: int, limit: int | None = None) -> bytes:
    """Read an open file from where it stands to its end, or at most about `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    while (limit is None or size < limit) and (part := os.read(fd, _READ_SIZE if limit is None else limit)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def is_locked(fd: int) -> bool:
    """Tell whether another open file holds the exclusive lock (`flock`) on this one."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def try_lock(fd: int) -> bool:
    """Take the exclusive lock (`flock`) of an open file, if nobody has it. Closing the file releases it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_folder(path: Path) -> bool:
    """Tell whether `path` is a folder itself, not a link to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False


async def follow(path: Path, finished: Callable[[], bool], *, every: float = 0.1) -> AsyncIterator[bytes]:
    """Yield the complete lines of a file, without their newline, as they are appended.

    Ends when `finished()` (called in a worker thread) was true before the end of the file was reached; a last
    line without newline is left out. Looks again every `every` seconds. asyncio only: this is where aiofiles
    reads as a stream. Raises `OSError` for a missing file or a link.
    """
    import aiofiles
    import anyio
    import anyio.to_thread

    async with aiofiles.open(path, "rb", opener=lambda name, flags: os.open(name, flags | _SAFE)) as file:
        rest = b""
        while True:
            ending = await anyio.to_thread.run_sync(finished)
            while part := await file.read(_READ_SIZE):
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    yield line
            if ending:
                return
            await anyio.sleep(every)


def _write(fd: int, content: bytes, path: Path) -> None:
    view = memoryview(content)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError as error:
        raise _at(path, error) from error


def _at(path: Path, error: OSError) -> OSError:
    """Return the same error, naming the whole path instead of a descriptor or a relative name."""
    return OSError(error.errno, error.strerror, os.fspath(path))
