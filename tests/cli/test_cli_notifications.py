"""People are told by the command line: whole processes, a receiver on loopback, real kills."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time

import pytest

from runner.run_store import FileRunStore
from tests.cli.demo_project import DemoProject, command_line, environment
from tests.receivers import LIMIT_S, Receiver, receiver, silent_server

__all__ = ["receiver"]

CODE = """
from pathlib import Path

def apply(row):
    if Path("fail").exists():
        raise RuntimeError("the till answers with hunter2-secret")
    return {"person_id": row["person_id"], "greeting": "x"}
"""
SECRET = "hunter2-secret"


@pytest.fixture
def shop(loaded: DemoProject) -> DemoProject:
    """A demo project with a job that fails while there is a file `fail`."""
    loaded.add_job("greet", CODE)
    return loaded


def notify(project: DemoProject, text: str) -> None:
    file = project.folder / "configs" / "runner.toml"
    file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")


def webhook(project: DemoProject, url: str, more: str = "") -> None:
    notify(project, f'\n[notify.chat]\nkind = "webhook"\nurl = "{url}"\n{more}\n')


def fail(project: DemoProject) -> None:
    (project.folder / "fail").touch()
    assert project.run("greet", "-q").returncode == 1


def succeed(project: DemoProject) -> None:
    (project.folder / "fail").unlink(missing_ok=True)
    done = project.run("greet", "-q")
    assert done.returncode == 0, done.stderr


def outbox(project: DemoProject) -> list[str]:
    folder = project.folder / "var" / "notifications" / "chat"
    # What is written at this moment has a name that begins with a point.
    return sorted(file.name for file in folder.glob("[!.]*") if file.name != "told.json")


@pytest.mark.slow
def test_one_failure_no_repeat_one_recovery(shop: DemoProject, receiver: Receiver) -> None:
    """Each run is a process of its own."""
    webhook(shop, receiver.url, 'headers = {Authorization = "Bearer abcdefgh"}')
    notify(shop, f'[connections.till]\npassword = "{SECRET}"\n')

    fail(shop)
    receiver.wait_for(1)
    fail(shop)
    succeed(shop)
    receiver.wait_for(2)
    succeed(shop)
    assert shop.run("notify", "check").returncode == 0

    assert receiver.events == ["failure", "recovery"]
    failure, recovery = receiver.messages
    runs = list(FileRunStore(shop.folder / "var" / "runs").latest(name="greet"))[::-1]
    assert (failure["run_id"], recovery["run_id"]) == (runs[0].pipeline_run_id, runs[2].pipeline_run_id)
    assert SECRET not in json.dumps(receiver.messages)
    assert "the till answers with ***" in failure["text"]
    assert receiver.headers[0]["authorization"] == "Bearer abcdefgh"
    assert receiver.headers[0]["idempotency-key"] == failure["id"]
    assert outbox(shop) == []
    words = failure["link"].split(" show ")[1].split()
    assert "the till answers" in shop.run("show", *words).stdout


@pytest.mark.slow
def test_a_receiver_that_hangs_costs_the_run_nothing(shop: DemoProject) -> None:
    """The record and the exit code are as without it, and the process does not wait."""
    plain_s, _ = timed_failure(shop)
    with silent_server() as url:
        webhook(shop, url, 'timeout = "3s"')
        first_s, duration_ms = timed_failure(shop)
        again_s, _ = timed_failure(shop)  # not tried again so soon

    assert duration_ms < 1000
    assert first_s < plain_s + 0.75  # the start of the other process, on a busy machine
    assert again_s < plain_s + 0.75
    assert len(outbox(shop)) == 1


def timed_failure(project: DemoProject) -> tuple[float, float]:
    """Return seconds of wall time of a failing run's process, and the run's own duration in ms."""
    start = time.monotonic()
    fail(project)
    wall_s = time.monotonic() - start
    (run,) = FileRunStore(project.folder / "var" / "runs").latest(limit=1)
    print(f"wall {wall_s:.3f} s, run {run.duration_ms:.0f} ms")
    return wall_s, run.duration_ms


@pytest.mark.slow
def test_a_service_ends_after_its_receiver_was_told(shop: DemoProject, receiver: Receiver) -> None:
    """systemd ends everything with the main process: that gives the message a moment."""
    webhook(shop, receiver.url)
    (shop.folder / "fail").touch()

    done = as_service(shop, "greet", "-q")

    assert done.returncode == 1
    assert receiver.events == ["failure"]
    with silent_server() as url:
        file = shop.folder / "configs" / "runner.toml"
        file.write_text(file.read_text().replace(receiver.url, url).replace("notify.chat", "notify.other"))
        start = time.monotonic()
        assert as_service(shop, "greet", "-q").returncode == 1
    assert 1 <= time.monotonic() - start < 5


def as_service(project: DemoProject, *args: str) -> subprocess.CompletedProcess[str]:
    line = f"SYSTEMD_EXEC_PID=$$ exec {shlex.join(command_line(*args))}"
    return subprocess.run(
        ["sh", "-c", line],
        cwd=project.folder,
        env=environment({}),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.chaos
def test_a_sender_that_is_killed_tells_again_under_the_same_id(shop: DemoProject, receiver: Receiver) -> None:
    """Kill -9 after the receiver took the message and before that was noted."""
    fail(shop)
    webhook(shop, receiver.url)
    receiver.on_message = lambda headers: os.kill(sending.pid, signal.SIGKILL)
    sending = shop.start("notify", "check")
    assert sending.wait(LIMIT_S) == -signal.SIGKILL

    receiver.on_message = lambda headers: None
    assert shop.run("notify", "check").returncode == 0
    assert shop.run("notify", "check").returncode == 0

    assert receiver.events == ["failure", "failure"]
    assert len({message["id"] for message in receiver.messages}) == 1


@pytest.mark.chaos
@pytest.mark.parametrize("who", ["check", "run"])
def test_a_run_that_is_killed_is_told_by_a_check_or_the_next_run(
    who: str, shop: DemoProject, receiver: Receiver
) -> None:
    webhook(shop, receiver.url)
    succeed(shop)
    shop.add_job("greet", "import os, signal\ndef apply(row):\n    os.kill(os.getpid(), signal.SIGKILL)\n")
    assert shop.run("greet").returncode == -signal.SIGKILL
    shop.add_job("greet", CODE)
    if who == "check":
        assert shop.run("notify", "check").returncode == 0
        assert receiver.events == ["failure"]
    succeed(shop)
    receiver.wait_for(2)

    assert receiver.events == ["failure", "recovery"]
    assert receiver.messages[0]["status"] == "crashed"


def test_an_address_is_a_secret_that_the_environment_can_give(
    project: DemoProject, receiver: Receiver
) -> None:
    notify(project, '\n[notify.Chat]\nkind = "webhook"\n')
    env = {"RUN_PIPELINE_NOTIFY__CHAT__URL": f"{receiver.url}/hooks/abcdefgh"}

    shown = project.run("config", **env)
    done = project.run("notify", "test", "Chat", **env)

    assert done.returncode == 0, done.stderr
    assert "abcdefgh" not in shown.stdout + shown.stderr
    assert receiver.messages[0]["event"] == "test"


def test_without_receivers_there_is_a_hint(project: DemoProject) -> None:
    done = project.run("notify", "check")

    assert done.returncode == 2
    assert "needs a section [notify.NAME]" in done.stderr


def test_a_misspelt_name_is_said(project: DemoProject, receiver: Receiver) -> None:
    webhook(project, receiver.url, 'names = ["helo"]')

    assert (
        "there is no pipeline or job 'helo' (did you mean 'hello'?)" in project.run("notify", "check").stderr
    )
    done = project.run("notify", "test", "chta")
    assert done.returncode == 2
    assert "did you mean 'chat'?" in done.stderr
