"""Units as files of a folder. Written as a whole or not at all, and never over what somebody else wrote."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runner.errors import UsageError
from runner.operations.systemd.installed import project_of, read_unit, state_names
from runner.operations.systemd.units import Schedule, Unit

MODE = 0o644
"""Units hold no secrets, and tools that look at them are no root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A file of a unit, and whether it had to be written: it may have been there with the same text."""

    path: Path
    is_new: bool


def install(
    units: Sequence[Unit], schedule: Schedule, folder: Path, *, force: bool = False
) -> tuple[Written, ...]:
    """Write units into a folder, which is made if it is not there. A file with the same text is left alone.

    Raises `UsageError` when a file was not written for this project, or another project has the same state folder
    (`force`: neither is looked at), and `OSError` where nothing can be written. Nothing is written then.
    """
    if not force:
        _refuse_foreign(units, schedule.project, folder)
        _refuse_shared_state(schedule, folder)
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(_written(folder / unit.file, unit.text) for unit in units)


def _refuse_foreign(units: Sequence[Unit], project: Path, folder: Path) -> None:
    for unit in units:
        path = folder / unit.file
        if not (path.exists() or path.is_symlink()):
            continue
        text = None if path.is_symlink() else read_unit(path)
        owner = project_of(text or "")
        if text != unit.text and owner != str(project):
            whose = f"belongs to the project {owner}" if owner else "was not written by run-pipeline"
            raise UsageError(
                f"{path} {whose}; nothing was written", hint="--prefix for other names, or --force"
            )


def _refuse_shared_state(schedule: Schedule, folder: Path) -> None:
    """Two projects with folders of the same name: they would take each other's warehouse for their own."""
    if schedule.is_user or schedule.state_dir:
        return
    owner = state_names(folder).get(schedule.state_name, "")
    if owner not in ("", str(schedule.project)):
        message = (
            f"the state folder {schedule.state_name} belongs to the project {owner}; nothing was written"
        )
        raise UsageError(message, hint="--prefix for other names, or --force")


def _written(path: Path, text: str) -> Written:
    if not path.is_symlink() and path.exists() and read_unit(path) == text:
        return Written(path=path, is_new=False)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8", newline="\n") as stream:
            os.fchmod(stream.fileno(), MODE)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    return Written(path=path, is_new=True)
