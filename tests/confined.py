"""Start a program as a unit of systemd confines it, without systemd: `confined.py UNIT`.

Takes of the unit: ExecStart, WorkingDirectory, Environment, UMask, SystemCallFilter, SystemCallErrorNumber,
MemoryDenyWriteExecute and RestrictAddressFamilies, all of them as systemd does it (libseccomp, NoNewPrivileges). Root
becomes nobody. What needs mounts (ProtectSystem, PrivateTmp, …) is left out. The rest of the environment is ours.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

NOBODY = 65534
PR_SET_NO_NEW_PRIVS = 38
ALLOW, DENY = 0x7FFF0000, 0x00050000 | errno.EPERM
PROT_WRITE, PROT_EXEC = 2, 4
MASKED_EQUAL, EQUAL = 7, 4
"""Comparisons of libseccomp (seccomp.h)."""


class Comparison(ctypes.Structure):
    """`struct scmp_arg_cmp`."""

    _fields_ = (
        ("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64),
    )  # fmt: skip


def values(unit: str, key: str) -> list[str]:
    """Return the values of a key, in their order."""
    return [line.partition("=")[2] for line in unit.splitlines() if line.partition("=")[0] == key]


def sets_of_calls() -> dict[str, list[str]]:
    """Return what systemd's sets of system calls (`@system-service`) hold: names, and names of other sets."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True)
    found: dict[str, list[str]] = {}
    name = ""
    for line in listed.stdout.splitlines():
        if line.startswith("@"):
            name = line.strip()
            found[name] = []
        elif line.startswith("    ") and not line.strip().startswith("#"):
            found[name].append(line.strip())
    return found


def allowed(unit: str) -> set[str]:
    """Return the system calls that the filter of a unit lets through."""
    sets = sets_of_calls()

    def calls(word: str) -> Iterator[str]:
        if word.startswith("@"):
            for inner in sets[word]:
                yield from calls(inner)
        else:
            yield word

    found: set[str] = set()
    for line in values(unit, "SystemCallFilter"):
        for word in line.lstrip("~").split():
            found = found - set(calls(word)) if line.startswith("~") else found | set(calls(word))
    return found


def confine(unit: str) -> None:
    """Give up privileges for good, and what the unit's filters do not allow."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    libc, seccomp = ctypes.CDLL(None, use_errno=True), ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0

    def rule(context: ctypes.c_void_p, action: int, call: str, *comparisons: Comparison) -> None:
        number = seccomp.seccomp_syscall_resolve_name(call.encode())
        array = (Comparison * len(comparisons))(*comparisons)
        if number >= 0:  # others are not of this processor
            assert seccomp.seccomp_rule_add_array(context, action, number, len(comparisons), array) == 0, call

    def load(context: ctypes.c_void_p) -> None:
        assert seccomp.seccomp_load(context) == 0

    denying = ctypes.c_void_p(seccomp.seccomp_init(ALLOW))
    assert values(unit, "MemoryDenyWriteExecute") == ["yes"]
    both = PROT_WRITE | PROT_EXEC
    rule(denying, DENY, "mmap", Comparison(2, MASKED_EQUAL, both, both))
    for call in ("mprotect", "pkey_mprotect"):
        rule(denying, DENY, call, Comparison(2, MASKED_EQUAL, PROT_EXEC, PROT_EXEC))
    families = {
        getattr(socket, name) for line in values(unit, "RestrictAddressFamilies") for name in line.split()
    }
    for family in set(range(1, 46)) - {int(family) for family in families}:
        rule(denying, 0x00050000 | errno.EAFNOSUPPORT, "socket", Comparison(0, EQUAL, family))
    allowing = ctypes.c_void_p(seccomp.seccomp_init(DENY))
    assert values(unit, "SystemCallErrorNumber") == ["EPERM"]
    for call in allowed(unit):
        rule(allowing, ALLOW, call)
    load(denying)
    load(allowing)


def main(path: str) -> None:
    """Become the program of the unit."""
    unit = Path(path).read_text(encoding="utf-8")
    os.umask(int(values(unit, "UMask")[0], 8))
    for setting in values(unit, "Environment"):
        name, _, value = setting.partition("=")
        os.environ[name] = value
    os.chdir(values(unit, "WorkingDirectory")[0])
    words = shlex.split(values(unit, "ExecStart")[0])
    confine(unit)
    os.execv(words[0], words)


if __name__ == "__main__":
    main(sys.argv[1])
