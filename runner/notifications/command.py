"""A program that is told: the message on stdin, its main words in the environment."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import Any

MAX_OUTPUT = 500


def run_command(words: tuple[str, ...], message: dict[str, Any], body: bytes, timeout_s: float) -> str:
    """Run a program and return "" when it ended with 0 in time, else what went wrong. Blocks.

    After `timeout_s` seconds it is killed, with everything that it has started and that did not leave its group.
    """
    # env(1) adds variables to those of this process, which only settings and the command line read.
    variables = [
        f"NOTIFY_{name.upper()}={message[name] or ''}"
        for name in ("id", "event", "pipeline", "run_id", "status")
    ]
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator's own program, without a shell
            ["/usr/bin/env", *variables, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return f"{words[0]} cannot be started: {error.strerror}"
    try:
        _, errors = process.communicate(body, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"{words[0]} did not end within {timeout_s:g} s and was killed"
    if process.returncode == 0:
        return ""
    said = errors[-MAX_OUTPUT:].decode(errors="replace").strip()
    return f"{words[0]} ended with {process.returncode}" + (f": {said}" if said else "")
