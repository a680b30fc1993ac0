"""How much memory this process has held at most."""

from __future__ import annotations

import sys

_UNIT = 1 if sys.platform == "darwin" else 1024
"""What `ru_maxrss` counts in: bytes on macOS, KiB elsewhere."""


def peak_memory_bytes() -> int | None:
    """Return the most resident memory that this process has had, in bytes; None where the system does not tell.

    Linux: `VmHWM`. The `ru_maxrss` of a process begins there with what its parent held when it started it, so that a
    small program started by a large one would look as large.
    """
    try:
        with open("/proc/self/status", "rb") as status:
            for line in status:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass  # no such file on this system
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT
