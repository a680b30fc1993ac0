"""Units that were written for a project, read back from the folders of systemd."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.operations.systemd.units import HEADER

SYSTEM_FOLDER = Path("/etc/systemd/system")
STATE_FOLDER = Path("/var/lib")
"""Where `StateDirectory` of system units is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledTimer:
    """A timer of a project. `name`: the pipeline or job; `calendars`: when; `state_dir`: where its service keeps its
    state, None for the project's own; `is_enabled`: whether the machine's start starts it.
    """

    timer: str
    service: str
    name: str
    calendars: tuple[str, ...]
    state_dir: Path | None
    is_enabled: bool
    is_user: bool


def installed_timers(folder: Path, project: Path, *, is_user: bool) -> Iterator[InstalledTimer]:
    """Yield the timers of a folder that were written for a project, by name; of a template its enabled instances."""
    if not folder.is_dir():
        return
    enabled = {link.name for link in (folder / "timers.target.wants").glob("*.timer")}
    for path in sorted(folder.glob("*.timer")):
        text = read_unit(path)
        if text is None or project_of(text) != str(project):
            continue
        service = read_unit(path.with_suffix(".service")) or ""
        stem, is_template = path.stem, path.stem.endswith("@")
        instances = sorted(name for name in enabled if is_template and name.startswith(stem))
        for timer in instances if is_template else [path.name]:
            instance = timer.removesuffix(".timer").removeprefix(stem)
            yield InstalledTimer(
                timer=timer,
                service=f"{timer.removesuffix('.timer')}.service",
                name=instance or _run_name(service),
                calendars=tuple(values(text, "OnCalendar")),
                state_dir=_state_dir(service),
                is_enabled=timer in enabled,
                is_user=is_user,
            )


def read_unit(path: Path) -> str | None:
    """Return the text of a unit; None where there is none that can be read as text."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError, IsADirectoryError):
        return None


def project_of(text: str) -> str:
    """Return the project that a unit was written for, "" if it was not written by us."""
    first = text.partition("\n")[0]
    start = f"# {HEADER}"
    return first.removeprefix(start) if first.startswith(start) else ""


def state_names(folder: Path) -> dict[str, str]:
    """Return the projects of the services in a folder that were written by us, by their `StateDirectory`."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.service")) if folder.is_dir() else ():
        text = read_unit(path) or ""
        if owner := project_of(text):
            found |= dict.fromkeys(values(text, "StateDirectory"), owner)
    return found


def values(text: str, key: str) -> list[str]:
    """Return the values of a key of a unit, in their order."""
    return [
        line.partition("=")[2].strip() for line in text.splitlines() if line.partition("=")[0].strip() == key
    ]


def _run_name(service: str) -> str:
    """Return the pipeline or job that a service runs: the last word of its command."""
    command = "".join(values(service, "ExecStart"))
    return command.rpartition(" ")[2]


def _state_dir(service: str) -> Path | None:
    name = "".join(values(service, "StateDirectory"))
    return STATE_FOLDER / name if name else None
