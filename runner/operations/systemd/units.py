"""The text of units: a service that runs a pipeline or job, its timer, and what is started when it has failed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from pathlib import Path
from string import Template

from runner.errors import UsageError

DEFAULT_PREFIX = "run-pipeline"
HEADER = "Made by run-pipeline systemd for the project "
"""What the first line of every unit begins with, after `# `; the project's folder follows."""
MARGIN_S = 60.0
"""Seconds that systemd waits for longer than the time limit of the run itself, which also records its end."""
_PREFIX = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_USER_LENGTH = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One unit: the name of its file, and its text."""

    file: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What is to be started, when, and as whom. `name` "": a template for all pipelines and jobs of the project.

    `program`: the words before the options of `run-pipeline`, the first an absolute path. `calendars`: times as
    systemd.time(7) has them. `is_user`: for the service manager of a user. `run_as`: a user that exists; else systemd
    makes one. `state_dir`: the state folder that runner.toml sets, absolute; None: systemd makes one. `credentials`:
    NAME or NAME:PATH. `on_failure`: the words of a command that gets the failed unit's name. Times in seconds.
    """

    project: Path
    program: Sequence[str]
    calendars: Sequence[str]
    name: str = ""
    prefix: str = DEFAULT_PREFIX
    is_user: bool = False
    run_as: str = ""
    state_dir: Path | None = None
    credentials: Sequence[str] = ()
    on_failure: Sequence[str] = ()
    random_delay_s: float = 0
    run_limit_s: float | None = None
    memory_max: str | None = None
    tasks_max: int | None = None
    has_network: bool = True

    def __post_init__(self) -> None:
        """Raises `UsageError` for what cannot be a unit of systemd."""
        if not _PREFIX.fullmatch(self.prefix):
            raise UsageError(f"{self.prefix!r} cannot begin the names of units", hint="expected a-z 0-9 _ -")
        words = (str(self.project), *self.program, *self.calendars, *self.credentials, *self.on_failure)
        for word in words:
            if not word.isprintable():
                raise UsageError(f"{word!r} cannot stand in a unit: it has control characters")
        for program in (self.program[0], *self.on_failure[:1]):
            if set(program) & set("\"'\\"):
                raise UsageError(
                    f"{program!r}: systemd starts no program with quotes or backslashes in its path"
                )

    @property
    def unit(self) -> str:
        """The name of service and timer without their ending: `run-pipeline-daily`, or `run-pipeline@`."""
        return f"{self.prefix}-{self.name}" if self.name else f"{self.prefix}@"

    @property
    def state_name(self) -> str:
        """The state folder below /var/lib: one for a project, since its pipelines share the warehouse."""
        return f"{self.prefix}/{_plain(self.project.name)}"

    @property
    def user_name(self) -> str:
        """The user that systemd makes: the same for all units of a project, since they share the state."""
        name = f"{self.prefix}-{_plain(self.project.name)}"
        if len(name) <= _USER_LENGTH:
            return name
        return f"{name[: _USER_LENGTH - 9]}-{sha256(name.encode()).hexdigest()[:8]}"


def render(schedule: Schedule) -> tuple[Unit, ...]:
    """Return service and timer, and the service that tells of failures if there is a command for that."""
    if schedule.state_dir and not (schedule.is_user or schedule.run_as):
        raise UsageError(
            f"configs/runner.toml sets state_dir = {str(schedule.state_dir)!r}, where a user made by systemd cannot "
            "write",
            hint="say as whom with --run-as, or leave state_dir to systemd",
        )
    units = [
        Unit(file=f"{schedule.unit}.service", text=_service(schedule)),
        Unit(file=f"{schedule.unit}.timer", text=_timer(schedule)),
    ]
    if schedule.on_failure:
        units.append(Unit(file=f"{schedule.prefix}-alert@.service", text=_alert(schedule)))
    return tuple(units)


def _service(schedule: Schedule) -> str:
    project = _specifiers(str(schedule.project))
    words = [*schedule.program, "--project", str(schedule.project), "--log-format", "json", "run"]
    online = ["Wants=network-online.target", "After=network-online.target"]
    limits = [f"MemoryMax={schedule.memory_max}" if schedule.memory_max else ""]
    limits += [f"TasksMax={schedule.tasks_max}" if schedule.tasks_max else ""]
    return _filled(
        "service",
        header=_header(schedule),
        description=_description(schedule),
        network_online=online if schedule.has_network and not schedule.is_user else (),
        alert=f"OnFailure={schedule.prefix}-alert@%n.service" if schedule.on_failure else "",
        command=f"{_command(words)} {schedule.name or '%i'}",
        project=project,
        identity=_identity(schedule),
        credentials=[f"LoadCredential={_specifiers(each)}" for each in schedule.credentials],
        run_limit=_run_limit(schedule),
        limits=[line for line in limits if line],
        sandbox=_sandbox(schedule),
    )


def _timer(schedule: Schedule) -> str:
    delay = schedule.random_delay_s
    return _filled(
        "timer",
        header=_header(schedule),
        description=_description(schedule),
        calendars=[f"OnCalendar={each}" for each in schedule.calendars],
        delay=f"RandomizedDelaySec={delay:g}" if delay else "",
        service=f"{schedule.unit}{'' if schedule.name else '%i'}.service",
    )


def _alert(schedule: Schedule) -> str:
    # The journal is what a command that tells of a failure wants to read.
    dynamic = ["DynamicUser=yes", "SupplementaryGroups=systemd-journal"]
    return _filled(
        "alert",
        header=_header(schedule),
        command=f"{_command(schedule.on_failure)} %i",
        identity=() if schedule.is_user else dynamic,
        sandbox=_sandbox(schedule, has_network=True),
    )


def _header(schedule: Schedule) -> str:
    return f"{HEADER}{schedule.project}"


def _description(schedule: Schedule) -> str:
    return f"{schedule.name or '%i'} of {_specifiers(str(schedule.project))}"


def _identity(schedule: Schedule) -> list[str]:
    """Return the lines that say as whom the service runs and where its state is."""
    if schedule.is_user:
        return []
    state = [f"StateDirectory={schedule.state_name}", "StateDirectoryMode=0700"]
    if schedule.run_as:
        place = schedule.state_dir
        return [f"User={schedule.run_as}", *([f"ReadWritePaths={_quoted(str(place))}"] if place else state)]
    return ["DynamicUser=yes", f"User={schedule.user_name}", *state]


def _run_limit(schedule: Schedule) -> list[str]:
    if schedule.run_limit_s is None:
        return []
    why = "# The run's own time limit ([timeouts] run) comes first, and is recorded."
    return [why, f"RuntimeMaxSec={schedule.run_limit_s + MARGIN_S:g}"]


def _sandbox(schedule: Schedule, *, has_network: bool | None = None) -> list[str]:
    if schedule.is_user:
        return _template("sandbox-user").splitlines()
    network = ["RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"]
    if not (schedule.has_network if has_network is None else has_network):
        network = ["RestrictAddressFamilies=AF_UNIX", "PrivateNetwork=yes", "IPAddressDeny=any"]
    needed = (schedule.project, Path(schedule.program[0]), schedule.state_dir)
    homes = any(in_a_home(path) for path in needed if path)
    return _filled(
        "sandbox-system", network=network, protect_home="read-only" if homes else "yes"
    ).splitlines()


def in_a_home(path: Path) -> bool:
    """Tell whether `ProtectHome=yes` would hide a path."""
    return any(path.is_relative_to(home) for home in ("/home", "/root", "/run/user"))


def _filled(template: str, **values: str | Sequence[str]) -> str:
    """Return a template with its placeholders filled; a line whose placeholder is empty is left out."""
    texts = {name: value if isinstance(value, str) else "\n".join(value) for name, value in values.items()}
    kept = [
        line
        for line in _template(template).splitlines()
        if not (line.startswith("$") and not texts[line.removeprefix("$")])
    ]
    text = Template("\n".join(kept)).substitute(texts)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _template(name: str) -> str:
    folder = resources.files("runner.operations") / "templates" / "systemd"
    return (folder / f"{name}.unit").read_text(encoding="utf-8")


def _command(words: Sequence[str]) -> str:
    """Return the words as ExecStart reads them (systemd.service(5), COMMAND LINES)."""
    program, *rest = words
    return " ".join([_quoted(program), *(_quoted(word).replace("$", "$$") for word in rest)])


def _quoted(word: str) -> str:
    text = _specifiers(word.replace("\\", "\\\\").replace('"', '\\"'))
    return text if re.fullmatch(r"[\w@%+=:,./\\-]+", text, re.ASCII) else f'"{text}"'


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")


def _plain(name: str) -> str:
    """Return a folder's name as a part of the name of a user and of a folder."""
    return re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-") or "project"
