"""Become another program that ends when the process that started it ends, however that ends.

`python -I -S dies_with_parent.py SIGNAL UID GID PARENT PROGRAM [ARGUMENT...]`, as `command` writes it. The kernel sends
the signal (a number) when the thread that started this process ends; so it is to be started by a thread that lives as
long as the program should. UID and GID are those it becomes first, if it is root; PARENT is the process that starts it.
Where there is no such kernel (macOS), the program is merely run.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1

FILE = Path(__file__)


def command(signal: int, owner: tuple[int, int], *program: str | Path) -> list[str]:
    """Return the command that runs `program` so, as user and group `owner`."""
    return [sys.executable, "-I", "-S", str(FILE), *map(str, (signal, *owner, os.getpid(), *program))]


def main(signal: str, user: str, group: str, parent: str, *program: str) -> None:
    """Change the user, ask for the signal, become the program."""
    if os.geteuid() == 0 and int(user) != 0:
        os.setgroups([])
        os.setgid(int(group))
        os.setuid(int(user))
    if sys.platform == "linux":
        # After the change of the user, which would undo it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal))
        if os.getppid() != int(parent):
            sys.exit("the process that wanted this program has ended")
    os.execv(program[0], program)


if __name__ == "__main__":
    main(*sys.argv[1:])
