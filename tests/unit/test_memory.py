"""The peak of a process is its own, not that of who started it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from runner.memory import peak_memory_bytes

MIB = 1 << 20


@pytest.mark.slow
def test_a_peak_is_found_after_it_was_given_back() -> None:
    """A process that held 300 MiB for a moment; the small one that it started then is small all the same."""
    small = "from runner.memory import peak_memory_bytes; print(peak_memory_bytes())"
    large = f"""
import subprocess, sys
from runner.memory import peak_memory_bytes
before = peak_memory_bytes()
held = bytearray({300 * MIB})
for at in range(0, len(held), 4096):
    held[at] = 1
small = subprocess.run([sys.executable, "-c", {small!r}], capture_output=True, check=True).stdout
del held
print(before, peak_memory_bytes(), int(small))
"""
    done = subprocess.run([sys.executable, "-c", large], capture_output=True, check=True, text=True)
    before, after, child = map(int, done.stdout.split())
    assert 280 * MIB < after - before < 320 * MIB
    assert child < 150 * MIB


def test_it_grows_only() -> None:
    """And counts in bytes."""
    first = peak_memory_bytes()
    assert first is not None
    assert first > 10 * MIB
    assert (peak_memory_bytes() or 0) >= first
