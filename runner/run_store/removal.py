"""Removes runs. A run is there or it is not: its folder first gets a name that is no run's, then it is emptied."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from runner.errors import HeldByAnother
from runner.files import is_folder
from runner.run_store.layout import id_of
from runner.run_store.stored import StoredRun

_PREFIX = ".removed-"


def remove_run(path: Path) -> int:
    """Remove the folder of a run, and that of its day if it was the last. Return the bytes of its files."""
    if StoredRun(path).is_alive():
        raise HeldByAnother(f"run {id_of(path)}", "the runner that writes it")
    size = sum(_sizes(path))
    hidden = path.with_name(f"{_PREFIX}{path.name}")
    os.rename(path, hidden)
    remove_leftover(hidden)
    return size


def is_leftover(name: str) -> bool:
    """Tell whether a folder's name is that of a run which is being removed, or whose removal was interrupted."""
    return name.startswith(_PREFIX)


def remove_leftover(path: Path) -> None:
    """Empty and remove what `remove_run` has renamed, also beside another that does. Links in it are not followed."""
    while is_folder(path):
        with suppress(FileNotFoundError):  # what the other has removed; one of the two comes to the end
            shutil.rmtree(path)
    with suppress(OSError):  # not empty: the day has other runs
        os.rmdir(path.parent)


def _sizes(path: Path) -> list[int]:
    return [
        os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names
    ]
