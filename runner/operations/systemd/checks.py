"""What can be known to be wrong before systemd sees a unit."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from runner.errors import UsageError, did_you_mean
from runner.loader.index import index_project
from runner.operations.systemd.units import Schedule, in_a_home
from runner.settings import SETTINGS_FILE, Settings
from runner.settings.sources import keys_of, names_of

_CREDENTIAL = re.compile(r"[A-Za-z0-9_.-]{1,255}")


def check_name(settings: Settings, name: str) -> None:
    """Raise `UsageError` for what is no pipeline or job of the project."""
    ids = index_project(settings.project).ids
    if name not in ids:
        hint = did_you_mean(name, ids) or "run-pipeline list shows what there is"
        raise UsageError(f"there is no pipeline or job {name[:100]!r}", hint=hint)


def check_credential(text: str) -> None:
    """Raise `UsageError` for a NAME[:PATH] that systemd, or the settings, would not know what to do with."""
    name, colon, path = text.partition(":")
    if not _CREDENTIAL.fullmatch(name) or (colon and not Path(path).is_absolute()):
        raise UsageError(f"--credential {text!r} is not NAME or NAME:PATH", hint="PATH is a whole path")
    keys = keys_of(name.lower().removeprefix("run_pipeline_"))
    if keys is None or (len(keys) > 1 and keys[0] not in names_of(Settings)):
        hint = did_you_mean(keys[0] if keys else name, names_of(Settings))
        raise UsageError(f"--credential {name!r} names no setting", hint=hint or "connections__NAME__KEY")


def declared_state_dir(project: Path) -> Path | None:
    """Return the state folder that runner.toml sets, absolute; None if it leaves it to systemd."""
    text = (project / SETTINGS_FILE).read_text(encoding="utf-8")
    found = tomllib.loads(text).get("state_dir")
    return project / Path(found).expanduser() if found else None


def hidden_paths(schedule: Schedule) -> Iterator[tuple[Path, str]]:
    """Yield the places that a service of the system cannot reach, and why."""
    if schedule.is_user:
        return
    places = [schedule.project, Path(schedule.program[0])]
    if schedule.program[0] == sys.executable:
        places.append(Path(sys.executable).resolve())
    for path in places:
        if any(path.is_relative_to(folder) for folder in ("/tmp", "/var/tmp")):  # noqa: S108 - no file is made
            yield path, "is in a folder that the service has for itself (PrivateTmp): it will not be found"
        elif in_a_home(path) and not schedule.run_as:
            yield path, "is in a home folder, which the service's user may not be able to read"
