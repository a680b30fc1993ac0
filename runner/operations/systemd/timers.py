"""When the timers of a project start next, and what became of the last start."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner.operations.systemd.calendars import next_elapse
from runner.operations.systemd.installed import InstalledTimer
from runner.operations.systemd.programs import ask
from runner.records import PipelineRun
from runner.run_store import FileRunStore


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerState:
    """One timer. `next_at` as its service manager says; where none answers, as `calendar` (computed) has it.

    `result` is what the manager says of the last start (`success`, `exit-code`, `watchdog`, …; "": unknown). `last` is
    the newest run of the name in the state folder that the timer's service uses; `hidden` says why it cannot be seen.
    """

    timer: InstalledTimer
    next_at: datetime | None
    next_by: str
    started_at: datetime | None
    result: str
    last: PipelineRun | None
    hidden: str = ""


def timer_states(timers: Sequence[InstalledTimer], state_dir: Path) -> list[TimerState]:
    """Return the states of timers. `state_dir` is the project's own, for services without one."""
    return [
        state
        for is_user in (False, True)
        for state in _states([timer for timer in timers if timer.is_user is is_user], state_dir, is_user)
    ]


def _states(timers: Sequence[InstalledTimer], state_dir: Path, is_user: bool) -> Iterable[TimerState]:
    if not timers:
        return
    manager = ("--user",) if is_user else ()
    elapses = _elapses(manager, timers)
    results = _results(manager, timers)
    for timer in timers:
        run, hidden = _last_run(timer, timer.state_dir or state_dir)
        elapse = elapses.get(timer.timer)
        yield TimerState(
            timer=timer,
            next_at=_time(elapse.get("next")) if elapse else next_elapse(timer.calendars),
            next_by="systemd" if elapse else "calendar",
            started_at=_time(elapse.get("last")) if elapse else None,
            result=results.get(timer.service, ""),
            last=run,
            hidden=hidden,
        )


def _elapses(manager: Sequence[str], timers: Sequence[InstalledTimer]) -> dict[str, dict[str, Any]]:
    """Return what the service manager says of its timers by their names; nothing where there is no manager."""
    names = [timer.timer for timer in timers]
    answer = ask("systemctl", *manager, "list-timers", "--all", "--output=json", "--", *names)
    if answer is None or answer.code:
        return {}
    return {entry["unit"]: entry for entry in json.loads(answer.out or "[]")}


def _results(manager: Sequence[str], timers: Sequence[InstalledTimer]) -> dict[str, str]:
    """Return how services ended when they were last started, by their names; those that never were are left out."""
    names = [timer.service for timer in timers]
    show = ("show", "--property=Id,Result,ExecMainStartTimestampMonotonic")
    answer = ask("systemctl", *manager, *show, "--", *names)
    if answer is None or answer.code:
        return {}
    found = {}
    for block in answer.out.strip().split("\n\n"):
        fields = dict(line.partition("=")[::2] for line in block.splitlines())
        if fields.get("ExecMainStartTimestampMonotonic", "0") != "0":
            found[fields.get("Id", "")] = fields.get("Result", "")
    return found


def _last_run(timer: InstalledTimer, state_dir: Path) -> tuple[PipelineRun | None, str]:
    try:
        runs = FileRunStore(state_dir / "runs").latest(limit=1, name=timer.name)
    except PermissionError as error:
        return None, f"{error.filename or state_dir}: {error.strerror}"
    return (runs[0] if runs else None), ""


def _time(microseconds: object) -> datetime | None:
    """Return a time of systemd's, microseconds since 1970; 0, null and its highest number mean never."""
    if isinstance(microseconds, int) and 0 < microseconds < 2**60:
        return datetime.fromtimestamp(microseconds / 1e6, UTC)
    return None
