"""`systemd` and `timers`: what is printed and written, what is refused, and what is known of timers."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
import string
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.cli.commands.systemd import units_folder
from runner.errors import UsageError
from runner.operations.systemd.calendars import next_elapse
from runner.operations.systemd.installed import InstalledTimer
from runner.operations.systemd.timers import timer_states
from runner.operations.systemd.units import Schedule, render
from tests.cli.demo_project import DemoProject

Run = Callable[..., int]
Captured = pytest.CaptureFixture[str]

PROGRAM = ("--program", "/opt/bin/run-pipeline")
HELLO = ("hello", "--on-calendar", "*:0/15", *PROGRAM)
SYSTEMCTL = """#!/bin/sh
echo "$*" >> {folder}/asked
case "$*" in
*list-timers*) cat {folder}/timers.json ;;
*show*) cat {folder}/services ;;
*) exit {code} ;;
esac
"""


@pytest.fixture
def in_loaded(loaded: DemoProject, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process, in a project whose pipeline has run once."""
    from runner.cli import main

    monkeypatch.chdir(loaded.folder)
    return lambda *args: main(args)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    return tmp_path / "units"


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A service manager: a folder with what its systemctl answers (timers.json, services) and was asked (asked)."""
    folder = tmp_path / "manager"
    folder.mkdir()
    (folder / "timers.json").write_text("[]", encoding="utf-8")
    (folder / "services").touch()
    answering(folder, code=0)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def answering(folder: Path, *, code: int) -> None:
    script = folder / "systemctl"
    script.write_text(SYSTEMCTL.format(folder=folder, code=code), encoding="utf-8")
    script.chmod(0o755)


@pytest.fixture
def without_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where neither systemctl nor systemd-analyze are."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


def value(text: str, key: str) -> str:
    """Return the value of a key that stands in a unit once."""
    (found,) = re.findall(rf"(?m)^{key}=(.*)$", text)
    return str(found)


# --- print ---


def test_print_shows_each_unit_with_its_file(in_project: Run, capsys: Captured) -> None:
    assert in_project("systemd", "print", *HELLO, "--on-failure", "/usr/bin/tell 'the team'") == 0

    out = capsys.readouterr().out
    names = ("run-pipeline-hello.service", "run-pipeline-hello.timer", "run-pipeline-alert@.service")
    assert re.findall(r"(?m)^# /etc/systemd/system/(.*)$", out) == list(names)
    assert "OnFailure=run-pipeline-alert@%n.service" in out
    assert 'ExecStart=/usr/bin/tell "the team" %i' in out


def test_the_service_is_what_the_options_say(in_project: Run, capsys: Captured) -> None:
    project = str(Path.cwd())
    words: tuple[str, ...] = ("--run-limit", "10m", "--memory-max", "1G", "--tasks-max", "99", "--no-network")
    words += ("--credential", "connections__mail__password:/etc/secret", "--random-delay", "30s")

    assert in_project("systemd", "print", *HELLO, *words, "-o", "json") == 0

    service, timer = (each["text"] for each in json.loads(capsys.readouterr().out))
    assert value(service, "ExecStart") == (
        f"/opt/bin/run-pipeline --project {project} --log-format json run hello"
    )
    assert value(service, "WorkingDirectory") == project
    assert value(service, "Type") == "notify"
    assert value(service, "NotifyAccess") == "main"
    assert value(service, "WatchdogSec") == "60"
    assert value(service, "RuntimeMaxSec") == "660", "the run's own limit comes first"
    assert value(service, "TimeoutStopSec") == "90"
    assert value(service, "KillMode") == "mixed"
    assert value(service, "SuccessExitStatus") == "75 143"
    assert value(service, "DynamicUser") == "yes"
    assert value(service, "StateDirectory") == "run-pipeline/demo"
    assert value(service, "LoadCredential") == "connections__mail__password:/etc/secret"
    assert value(service, "MemoryMax") == "1G"
    assert value(service, "TasksMax") == "99"
    assert value(service, "PrivateNetwork") == "yes"
    assert value(service, "RestrictAddressFamilies") == "AF_UNIX"
    assert value(timer, "OnCalendar") == "*:0/15"
    assert value(timer, "RandomizedDelaySec") == "30"
    assert value(timer, "Persistent") == "true"
    assert value(timer, "AccuracySec") == "1s"
    assert value(timer, "Unit") == "run-pipeline-hello.service"


def test_the_run_limit_is_that_of_the_settings(
    in_project: Run, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_project("systemd", "print", *HELLO) == 0
    assert "RuntimeMaxSec" not in capsys.readouterr().out

    monkeypatch.setenv("RUN_PIPELINE_TIMEOUTS__RUN", "5m")
    assert in_project("systemd", "print", *HELLO) == 0
    assert value(capsys.readouterr().out, "RuntimeMaxSec") == "360"


def test_without_a_name_the_units_are_templates(in_project: Run, capsys: Captured) -> None:
    assert in_project("systemd", "print", "--on-calendar", "daily", *PROGRAM, "-o", "jsonl") == 0

    service, timer = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert service["path"].endswith("/run-pipeline@.service")
    assert value(service["text"], "ExecStart").endswith(" run %i")
    assert timer["path"].endswith("/run-pipeline@.timer")
    assert value(timer["text"], "Unit") == "run-pipeline@%i.service"


def test_a_users_unit_leaves_out_what_his_manager_cannot_do(in_project: Run, capsys: Captured) -> None:
    assert in_project("systemd", "print", *HELLO, "--user") == 0

    out = capsys.readouterr().out
    assert "NoNewPrivileges=yes" in out
    assert "SystemCallFilter=" in out
    for key in ("User", "DynamicUser", "StateDirectory", "ProtectSystem", "PrivateTmp", "After", "OnFailure"):
        assert f"\n{key}=" not in out


def test_the_folder_of_a_users_units(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert units_folder(True) == tmp_path / ".config" / "systemd" / "user"
    monkeypatch.setenv("XDG_CONFIG_HOME", "/elsewhere")
    assert units_folder(True) == Path("/elsewhere/systemd/user")
    assert units_folder(False) == Path("/etc/systemd/system")


def test_a_state_folder_of_runner_toml_needs_a_user_that_owns_it(
    in_project: Run, project: DemoProject, capsys: Captured
) -> None:
    project.write("configs/runner.toml", 'package = "demo_jobs"\nstate_dir = "/srv/state of demo"\n')
    assert in_project("systemd", "print", *HELLO) == 2
    assert "--run-as" in capsys.readouterr().err

    assert in_project("systemd", "print", *HELLO, "--run-as", "pipeline") == 0
    out = capsys.readouterr().out
    assert "\nUser=pipeline\n" in out
    assert '\nReadWritePaths="/srv/state of demo"\n' in out
    assert "\nProtectHome=yes\n" in out
    assert "DynamicUser" not in out
    assert "StateDirectory=" not in out

    project.write("configs/runner.toml", 'package = "demo_jobs"\nstate_dir = "/run/user/17/state"\n')
    assert in_project("systemd", "print", *HELLO, "--run-as", "pipeline") == 0
    assert "\nProtectHome=read-only\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("helo", "--on-calendar", "daily"), "did you mean 'hello'?"),
        (("hello",), "--on-calendar"),
        (("hello", "--on-calendar", "sometimes"), "Failed to parse calendar specification 'sometimes'"),
        (("hello", "--on-calendar", "--bad"), "Failed to parse calendar specification '--bad'"),
        ((*HELLO, "--credential", "connection__mail__password:/x"), "did you mean 'connections'?"),
        ((*HELLO, "--credential", "connections__mail__password:x"), "PATH is a whole path"),
        ((*HELLO, "--on-failure", "tell"), "'tell' is not a whole path"),
        ((*HELLO, "--on-failure", "/bin/tell 'x"), "No closing quotation"),
        ((*HELLO, "--on-failure", "/bin/tell 'x\ny'"), "control characters"),
        ((*HELLO, "--memory-max", "much"), "is not a size"),
        ((*HELLO, "--random-delay", "soon"), "is not a duration"),
        ((*HELLO, "--prefix", "../x"), "cannot begin the names of units"),
        ((*HELLO, "--user", "--run-as", "me"), "--user runs as you"),
        ((*HELLO, "--now"), "--now starts the timer of an installed NAME"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said_before_anything_is_printed(
    words: tuple[str, ...], message: str, in_project: Run, capsys: Captured
) -> None:
    if "calendar specification" in message and not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze (package systemd) is not installed")
    assert in_project("systemd", "print", *words) == 2

    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err


def test_where_there_is_no_systemd_analyze_it_says_so(
    in_project: Run, capsys: Captured, without_systemd: None
) -> None:
    assert in_project("systemd", "print", *HELLO) == 0

    assert "--on-calendar was not checked" in capsys.readouterr().err


# --- install ---


def test_install_writes_units_that_anybody_may_read_and_says_what_comes_next(
    in_project: Run, units: Path, capsys: Captured
) -> None:
    previous = os.umask(0o077)
    try:
        assert in_project("systemd", "install", *HELLO, "--dir", str(units)) == 0
    finally:
        os.umask(previous)

    shown = capsys.readouterr()
    written = [Path(line) for line in shown.out.splitlines()]
    assert written == [units / "run-pipeline-hello.service", units / "run-pipeline-hello.timer"]
    assert sorted(units.iterdir()) == written
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o644}
    assert "systemctl daemon-reload && systemctl enable --now run-pipeline-hello.timer" in shown.err


def test_installing_again_changes_what_is_other_and_nothing_else(
    in_project: Run, units: Path, capsys: Captured
) -> None:
    assert in_project("systemd", "install", *HELLO, "--dir", str(units)) == 0
    service, timer = sorted(units.iterdir())
    before = service.stat().st_ino, timer.stat().st_ino
    capsys.readouterr()

    words = ("hello", "--on-calendar", "daily", *PROGRAM, "--dir", str(units), "-o", "json")
    assert in_project("systemd", "install", *words) == 0

    assert [each["is_new"] for each in json.loads(capsys.readouterr().out)] == [False, True]
    assert service.stat().st_ino == before[0]
    assert timer.stat().st_ino != before[1], "replaced, not written over"
    assert value(timer.read_text(encoding="utf-8"), "OnCalendar") == "daily"


@pytest.mark.parametrize("kind", ["by hand", "other project", "link", "folder"])
def test_nothing_is_written_where_a_unit_is_not_ours(
    kind: str, in_project: Run, units: Path, capsys: Captured, tmp_path: Path
) -> None:
    timer = units / "run-pipeline-hello.timer"
    units.mkdir()
    if kind == "link":
        timer.symlink_to(tmp_path / "nowhere")
    elif kind == "folder":
        timer.mkdir()
    else:
        header = (
            "# Made by run-pipeline systemd for the project /srv/other\n" if kind == "other project" else ""
        )
        timer.write_text(f"{header}[Timer]\nOnCalendar=daily\n", encoding="utf-8")

    assert in_project("systemd", "install", *HELLO, "--dir", str(units)) == 2

    assert "nothing was written" in capsys.readouterr().err
    assert list(units.iterdir()) == [timer]
    if kind != "folder":
        assert in_project("systemd", "install", *HELLO, "--dir", str(units), "--force") == 0
        assert not timer.is_symlink()
        assert "run-pipeline-hello.service" in timer.read_text(encoding="utf-8")


def test_two_projects_with_folders_of_one_name_do_not_share_state_by_accident(
    in_project: Run, units: Path, capsys: Captured
) -> None:
    units.mkdir()
    (units / "run-pipeline-other.service").write_text(
        "# Made by run-pipeline systemd for the project /srv/demo\n[Service]\nStateDirectory=run-pipeline/demo\n",
        encoding="utf-8",
    )

    assert in_project("systemd", "install", *HELLO, "--dir", str(units)) == 2
    assert "belongs to the project /srv/demo" in capsys.readouterr().err
    assert in_project("systemd", "install", *HELLO, "--dir", str(units), "--prefix", "mine") == 0
    assert "mine-hello.timer" in capsys.readouterr().out


def test_now_starts_the_timer(in_project: Run, units: Path, capsys: Captured, systemctl: Path) -> None:
    assert in_project("systemd", "install", *HELLO, "--dir", str(units), "--user", "--now") == 0

    asked = (systemctl / "asked").read_text(encoding="utf-8").splitlines()
    assert asked == ["--user daemon-reload", "--user enable --now run-pipeline-hello.timer"]
    assert "started run-pipeline-hello.timer" in capsys.readouterr().err


def test_now_fails_with_systemctl(in_project: Run, units: Path, capsys: Captured, systemctl: Path) -> None:
    answering(systemctl, code=3)

    assert in_project("systemd", "install", *HELLO, "--dir", str(units), "--now") == 1
    assert "error: systemctl daemon-reload" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_an_error(in_project: Run, capsys: Captured) -> None:
    assert in_project("systemd", "install", *HELLO, "--dir", "/proc/units") == 1

    assert "/proc/units" in capsys.readouterr().err


# --- timers ---


def test_a_project_without_timers(in_project: Run, units: Path, capsys: Captured) -> None:
    assert in_project("timers", "--dir", str(units)) == 0

    shown = capsys.readouterr()
    assert shown.out == ""
    assert "no timers" in shown.err


def enable(units: Path, *timers: str) -> None:
    """Do what `systemctl enable` does."""
    wants = units / "timers.target.wants"
    wants.mkdir(exist_ok=True)
    for timer in timers:
        (wants / timer).symlink_to(units / timer)


def test_timers_tell_the_next_start_by_the_calendar_and_the_last_run(
    in_loaded: Run, units: Path, capsys: Captured
) -> None:
    """A user's units have the project's own state; its folder is then known to hold a run."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze (package systemd) is not installed")
    assert in_loaded("systemd", "install", *HELLO, "--user", "--dir", str(units)) == 0
    assert in_loaded("systemd", "install", "load_people", *HELLO[1:], "--user", "--dir", str(units)) == 0
    enable(units, "run-pipeline-hello.timer")
    capsys.readouterr()

    assert in_loaded("timers", "--user", "--dir", str(units), "-o", "json") == 0
    hello, load_people = json.loads(capsys.readouterr().out)
    assert in_loaded("timers", "--user", "--dir", str(units)) == 0
    shown = capsys.readouterr().out.splitlines()

    assert (hello["name"], hello["on_calendar"], hello["is_enabled"]) == ("hello", ["*:0/15"], True)
    assert hello["next_by"] == "calendar"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:(00|15|30|45):00\.000000Z", hello["next_at"])
    assert hello["last_run"]["status"] == "success"
    assert load_people["last_run"] is None, "it has run as a part of hello only"
    assert load_people["is_enabled"] is False
    assert shown[0].split() == ["timer", "when", "next", "last", "run", "status", "duration", "service"]
    assert "success" in shown[1]
    assert "not enabled" in shown[2]


def test_timers_ask_the_service_manager(
    in_loaded: Run, units: Path, capsys: Captured, systemctl: Path
) -> None:
    """What systemctl of systemd 246 and later answers: microseconds since 1970, and blocks of properties."""
    assert in_loaded("systemd", "install", *HELLO, "--user", "--dir", str(units)) == 0
    answer = {"next": 1770876000000000, "left": 0, "last": 1770872400000000, "passed": 0,
              "unit": "run-pipeline-hello.timer", "activates": "run-pipeline-hello.service"}  # fmt: skip
    (systemctl / "timers.json").write_text(json.dumps([answer]), encoding="utf-8")
    (systemctl / "services").write_text(
        "Id=run-pipeline-hello.service\nResult=watchdog\nExecMainStartTimestampMonotonic=17\n",
        encoding="utf-8",
    )
    capsys.readouterr()

    assert in_loaded("timers", "--user", "--dir", str(units), "-o", "jsonl") == 0

    found = json.loads(capsys.readouterr().out)
    assert found["next_by"] == "systemd"
    assert found["next_at"] == "2026-02-12T06:00:00.000000Z"
    assert found["started_at"] == "2026-02-12T05:00:00.000000Z"
    assert found["result"] == "watchdog"
    asked = (systemctl / "asked").read_text(encoding="utf-8").splitlines()
    assert all(line.startswith("--user ") for line in asked)


def test_instances_of_a_template_are_those_that_are_enabled(
    in_loaded: Run, units: Path, capsys: Captured
) -> None:
    words = ("--on-calendar", "daily", *PROGRAM, "--user", "--dir", str(units))
    assert in_loaded("systemd", "install", *words) == 0
    enable(units, "run-pipeline@hello.timer", "run-pipeline@load_people.timer", "other@x.timer")
    capsys.readouterr()

    assert in_loaded("timers", "--user", "--dir", str(units), "-o", "json") == 0

    found = json.loads(capsys.readouterr().out)
    assert [(each["timer"], each["service"], each["name"]) for each in found] == [
        ("run-pipeline@hello.timer", "run-pipeline@hello.service", "hello"),
        ("run-pipeline@load_people.timer", "run-pipeline@load_people.service", "load_people"),
    ]


def test_timers_of_other_projects_are_not_ours(in_loaded: Run, units: Path, capsys: Captured) -> None:
    units.mkdir()
    (units / "run-pipeline-x.timer").write_text(
        "# Made by run-pipeline systemd for the project /srv/x\n[Timer]\n", encoding="utf-8"
    )
    (units / "binary.timer").write_bytes(b"\xff\xfe")

    assert in_loaded("timers", "--dir", str(units)) == 0
    assert capsys.readouterr().out == ""


def test_runs_that_cannot_be_seen_are_said_to_be_so(tmp_path: Path) -> None:
    timer = InstalledTimer(
        timer="run-pipeline-hello.timer", service="run-pipeline-hello.service", name="hello", calendars=(),
        state_dir=tmp_path / "state", is_enabled=True, is_user=False,
    )  # fmt: skip
    (tmp_path / "state").mkdir(mode=0o000)
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)  # root may read everything
    try:
        (state,) = timer_states([timer], tmp_path)
    finally:
        os.seteuid(me)

    assert state.last is None
    assert "Permission denied" in state.hidden


def test_without_systemd_nothing_is_guessed(
    in_loaded: Run, units: Path, capsys: Captured, without_systemd: None
) -> None:
    assert in_loaded("systemd", "install", *HELLO, "--user", "--dir", str(units)) == 0
    capsys.readouterr()

    assert in_loaded("timers", "--user", "--dir", str(units), "-o", "json") == 0

    (found,) = json.loads(capsys.readouterr().out)
    assert (found["next_at"], found["result"], found["started_at"]) == (None, None, None)
    assert found["last_run"]["status"] == "success"


def test_the_next_time_is_in_utc_wherever_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze (package systemd) is not installed")
    monkeypatch.setenv("TZ", "Asia/Kathmandu")  # 05:45 ahead

    found = next_elapse(["*-*-* 06:00:00", "2020-01-01"])

    assert found is not None
    assert (found.hour, found.minute) == (0, 15)
    assert next_elapse(["2020-01-01"]) is None


# --- words that systemd reads as they were given ---

WORDS = st.text(
    string.ascii_letters + string.digits + " %$\"'\\;#&|*?~{}[]()<>=é€-/.", min_size=1, max_size=20
)


@given(words=st.lists(WORDS, min_size=1, max_size=4))
def test_a_command_reaches_the_program_as_it_was_given(words: list[str]) -> None:
    schedule = Schedule(
        project=Path("/srv/demo"), program=("/opt/bin/rp",), calendars=("daily",), name="hello",
        on_failure=("/bin/tell", *words),
    )  # fmt: skip
    line = value(render(schedule)[2].text, "ExecStart")

    assert as_systemd_reads(line) == ["/bin/tell", *words, "<instance>"]


def as_systemd_reads(line: str) -> list[str]:
    """Return the words of ExecStart by the rules of systemd.service(5): quotes, C escapes, specifiers, variables."""
    words = []
    for position, word in enumerate(shlex.split(line)):
        text = re.sub(r"%(.)", lambda found: {"%": "%", "i": "<instance>"}[found[1]], word)
        words.append(text if position == 0 else text.replace("$$", "$"))
    return words


def test_systemd_itself_reads_the_path_so(tmp_path: Path) -> None:
    """systemd-analyze tells of a command only when it cannot be executed: by the path that it has read."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze (package systemd) is not installed")
    program = ("/bin/no such 100 % program $HOME",)
    schedule = Schedule(project=tmp_path, program=program, calendars=("daily",), name="hello")
    unit = tmp_path / "hello.service"
    unit.write_text(render(schedule)[0].text, encoding="utf-8")

    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )

    assert "Command /bin/no such 100 % program $HOME is not executable" in done.stderr


@pytest.mark.parametrize("name", ['/bin/"quoted"', "/bin/it's", "/bin/back\\slash"])
def test_a_program_that_systemd_refuses_to_start_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="systemd starts no program"):
        Schedule(project=Path("/srv/demo"), program=(name,), calendars=("daily",), name="hello")
