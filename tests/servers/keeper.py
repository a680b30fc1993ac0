"""Keep one server of a test run, as long as a process of the run lives: `python -m tests.servers.keeper FOLDER KIND`.

Returns when the server runs, with its description in FOLDER/KIND.json; what keeps it goes on behind.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from tests.servers.debian_packages import NotToBeHadError
from tests.servers.shared import NOT_TO_BE_HAD


class Process(Protocol):
    """A server as `keeper` needs it."""

    def start(self) -> None:
        """Start, and wait until it answers."""

    def remove(self) -> None:
        """End it, and remove its files."""

    def description(self) -> dict[str, Any]:
        """Return what others need to reach it, as JSON values."""


def _postgres(version: int) -> Callable[[Path], Process]:
    def make(folder: Path) -> Process:
        from tests.servers.postgres import PostgresProcess

        return PostgresProcess(version, folder)

    return make


def _bigquery(folder: Path) -> Process:
    from tests.servers.bigquery import BigQueryProcess

    return BigQueryProcess(folder)


KINDS: dict[str, Callable[[Path], Process]] = {
    "bigquery": _bigquery,
    "postgres-15": _postgres(15),
    "postgres-18": _postgres(18),
}
"""What can be kept, and how it is made in an empty folder."""


def main(folder: Path, kind: str) -> int:
    """Fork what keeps the server; return its first word."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        os._exit(_keep(folder, kind, writing))
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    if said == "ready":
        return 0
    sys.stderr.write(said.removeprefix(f"{NOT_TO_BE_HAD}"))
    return NOT_TO_BE_HAD if said.startswith(f"{NOT_TO_BE_HAD}") else 1


def _keep(folder: Path, kind: str, writing: int) -> int:
    """Start the server, say so, and end it when nobody is left who uses it, or on SIGTERM."""
    _leave_the_terminal(folder / f"{kind}.keeper.log")
    home, description = folder / kind, folder / f"{kind}.json"
    try:
        with _served(kind, home) as process, (folder / f"{kind}.users").open("a") as users:
            description.write_text(json.dumps(process.description()))
            _say(writing, "ready")
            fcntl.lockf(users, fcntl.LOCK_EX)
            description.unlink()
    except NotToBeHadError as error:
        _say(writing, f"{NOT_TO_BE_HAD}{error}")
    except Exception:
        _say(writing, traceback.format_exc())
        raise
    finally:
        description.unlink(missing_ok=True)
        shutil.rmtree(home, ignore_errors=True)
        _tidy(folder, kind)
    return 0


@contextmanager
def _served(kind: str, home: Path) -> Iterator[Process]:
    """Start the server in a new folder, and end it."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    process = KINDS[kind](home)
    try:
        process.start()
        yield process
    finally:
        process.remove()


def _tidy(folder: Path, kind: str) -> None:
    """Remove this keeper's files, unless there is a new process that asks for a server."""
    with (folder / f"{kind}.lock").open("a") as lock, suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in ("users", "keeper.log", "lock"):
            (folder / f"{kind}.{name}").unlink(missing_ok=True)
        folder.rmdir()  # fails where another keeper has files


def _leave_the_terminal(log: Path) -> None:
    """Be a session of its own, with no file open that a waiting program reads."""
    os.setsid()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with log.open("ab") as output, open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)


def _say(writing: int, word: str) -> None:
    """Answer once; whoever reads gets an end after it."""
    try:
        os.write(writing, word.encode())
        os.close(writing)
    except OSError:  # it was said before
        return


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
