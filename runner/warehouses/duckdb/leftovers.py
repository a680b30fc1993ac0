"""Files of stages that a killed process left behind."""

from __future__ import annotations

from pathlib import Path

SUFFIX = ".staged"
"""Ending of the names of a stage's files."""


def remove_leftovers(folder: Path) -> None:
    """Remove them. Blocks. Called with the database open, which no other process can have meanwhile: so nobody else
    is staging in its folder.
    """
    for file in folder.glob(f"*{SUFFIX}"):
        file.unlink(missing_ok=True)
