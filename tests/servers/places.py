"""Where servers of the tests live: what is kept between runs, and what goes with one."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOM = 4_000_000_000
"""Bytes that must be free in memory for the files of a server to live there."""


def cache_folder() -> Path:
    """Return the folder of what is made once: outside of the repository, so that clones share it."""
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(root).expanduser() / "run-pipeline" / "test-servers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def in_memory() -> Path:
    """Return where short-lived files of servers are fast: in memory where there is room, else /tmp."""
    memory = Path("/dev/shm")
    fits = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM
    return memory if fits else Path("/tmp")


def new_folder(prefix: str) -> Path:
    """Make a folder that every user may enter, with a short path (sockets), in memory where there is room."""
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=in_memory()))
    folder.chmod(0o755)
    return folder


def owner() -> pwd.struct_passwd:
    """Return who runs servers that refuse to run as root: the current user, and nobody for root."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


def may_enter(folder: Path) -> bool:
    """Say whether a user with no rights of its own can enter a folder and read in it."""
    return os.geteuid() != 0 or all(
        path.stat().st_mode & 0o005 == 0o005 if path == folder else path.stat().st_mode & 0o001
        for path in (folder, *folder.parents)
    )


def free_port() -> int:
    """Return a port of loopback that nobody listens on at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made; wait for who holds it, also if that removes the file."""
    while True:
        with file.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock.fileno()).st_nlink:
                yield
                return
