"""systemctl and systemd-analyze, where there are."""

from __future__ import annotations

import shutil
import subprocess
from typing import NamedTuple

TIMEOUT_S = 30
"""Seconds that a program may take; systemctl waits for the manager."""


class Answer(NamedTuple):
    """What a program answered: its exit code (0: done), stdout and stderr."""

    code: int
    out: str
    err: str


def ask(program: str, *words: str) -> Answer | None:
    """Run a program to its end, in English; None where it is not installed or does not answer in time."""
    path = shutil.which(program)
    if path is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - the words are arguments, no shell reads them
            ["/usr/bin/env", "LC_ALL=C", path, *words],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
    return Answer(done.returncode, done.stdout, done.stderr.strip())
