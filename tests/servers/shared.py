"""One server for all processes of a test run: started by the first that asks, ended when the last of them has ended.

Each process holds a lock as long as it lives, and the operating system takes it away however the process ends. The
server is kept by a process of its own (`tests.servers.keeper`) that waits for all of these locks to be gone. So nothing
remains after a run, also if it was killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

from tests.servers.debian_packages import NotToBeHadError
from tests.servers.places import in_memory, locked

ROOT = Path(__file__).parents[2]
NOT_TO_BE_HAD = 3
"""The exit code of a keeper whose server cannot be had."""

_STALE = 24 * 3600
"""Seconds after which the folder of a run is removed by another run: its keeper was killed."""

_held: dict[Path, IO[str]] = {}


class ServerNotStartedError(Exception):
    """A server can be had, and does not start: a fault of the tests or of the machine, never a reason to skip."""


def shared_server(run: str, kind: str, seconds: float = 300) -> dict[str, Any]:
    """Return the description of this run's server of a kind of `keeper.KINDS`; start it if it is the first call.

    `run` names the test run, the same in all its processes. `seconds`: how long a start may take, with what it fetches.
    Raises `NotToBeHadError`, in each process that asks; `ServerNotStartedError` if it can be had.
    """
    folder = run_folder(run)
    description = folder / f"{kind}.json"
    with locked(folder / f"{kind}.lock"):
        _hold(folder / f"{kind}.users")
        if not description.exists():
            _start_keeper(folder, kind, seconds)
        read: dict[str, Any] = json.loads(description.read_text())
        return read


def _start_keeper(folder: Path, kind: str, seconds: float) -> None:
    command = [sys.executable, "-m", "tests.servers.keeper", str(folder), kind]
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    if done.returncode == NOT_TO_BE_HAD:
        raise NotToBeHadError(done.stderr.strip())
    if done.returncode:
        raise ServerNotStartedError(f"the server {kind} did not start: {done.stderr.strip()}")


def run_folder(run: str) -> Path:
    """Return the folder of a test run, made if it is missing; those that killed runs have left are removed."""
    runs = in_memory() / f"run-pipeline-tests-{os.geteuid()}"
    folder = runs / run
    folder.mkdir(parents=True, exist_ok=True)
    for made in (runs, folder):
        made.chmod(0o755)  # a server of another user lives below
    for other in runs.iterdir():
        if time.time() - other.stat().st_mtime > _STALE:
            shutil.rmtree(other, ignore_errors=True)
    return folder


def _hold(users: Path) -> None:
    """Hold a shared lock up to the end of this process. The lock is the process's: forked ones do not have it."""
    if users not in _held:
        file = users.open("a+")
        fcntl.lockf(file, fcntl.LOCK_SH)  # waits for a keeper that is about to end
        _held[users] = file
