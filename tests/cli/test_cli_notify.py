"""What systemd hears of a run: datagrams at a socket, as a service manager binds it (sd_notify(3))."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from runner.cli.sd_notify import ServiceManager
from runner.events import JobStarted, RunStarted
from tests.cli.demo_project import DemoProject

WATCHDOG_S = 0.3
"""A third of it passes between two signs of life."""
PATIENT = """
import anyio, os

async def apply(row):
    print("working, knows", [name for name in os.environ if name in {names}], flush=True)
    await anyio.sleep({seconds})
"""
BLOCKING = """
import time

async def apply(row):
    print("working", flush=True)
    time.sleep(30)
"""
STARTED = RunStarted(
    run_id="",
    name="hello",
    jobs=(("load_people", ""),),
    max_workers=None,
    as_of=datetime(2026, 2, 12, tzinfo=UTC),
)
NAMES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Manager:
    """The receiving end: a socket, and what has come to it so far."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self.heard: list[str] = []
        """Assignments in the order in which they came."""

    def environment(self, *, watchdog_s: float = WATCHDOG_S, **more: str) -> dict[str, str]:
        """What a service manager sets for its service."""
        return {"NOTIFY_SOCKET": self.address, "WATCHDOG_USEC": str(int(watchdog_s * 1e6)), **more}

    def listen(self, seconds: float, until: str = "") -> bool:
        """Take what comes within some seconds, at most up to an assignment that begins with `until`."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                lines = self._socket.recv(4096).decode().split("\n")
            except TimeoutError:
                return False
            self.heard += lines
            if until and any(line.startswith(until) for line in lines):
                return True
        return False

    def drain(self) -> list[str]:
        """Take what is there, and return all that was heard."""
        self._socket.setblocking(False)
        try:
            while True:
                self.heard += self._socket.recv(4096).decode().split("\n")
        except BlockingIOError:
            return self.heard

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager() -> Iterator[Manager]:
    """A service manager that listens at a path (a short one: it has to fit into the address of a socket)."""
    with tempfile.TemporaryDirectory() as folder:
        made = Manager(f"{folder}/notify")
        yield made
        made.close()


def read_until(process: subprocess.Popen[str], word: str) -> str:
    assert process.stderr is not None
    text = ""
    for line in process.stderr:
        text += line
        if word in line:
            return text
    raise AssertionError(f"{word!r} never came: {text}")


def test_a_run_is_told_from_its_beginning_to_its_end(manager: Manager, loaded: DemoProject) -> None:
    loaded.add_job("waiting", PATIENT.format(names=NAMES, seconds=0.15))
    loaded.write(
        "configs/pipelines/both.yaml",
        "pipeline_id: both\nstages:\n  - {name: a, jobs: [load_people, waiting]}\n",
    )

    process = loaded.start("both", **manager.environment())

    assert manager.listen(20, until="STOPPING=1")  # as it goes: a socket keeps but ten messages
    _, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    heard = manager.drain()
    ready, stopping = heard.index("READY=1"), heard.index("STOPPING=1")
    assert heard[ready : ready + 2] == ["READY=1", "STATUS=job 0/2"]
    assert [line for line in heard if line.startswith("STATUS=")] == [
        "STATUS=job 0/2", "STATUS=job 1/2 load_people", "STATUS=job 2/2 waiting", "STATUS=success, job 2/2",
    ]  # fmt: skip
    assert "WATCHDOG=1" in heard[ready:stopping]
    assert "WATCHDOG=1" not in heard[:ready], "the manager does not watch a service that is not ready"
    before, after = heard[:ready], heard[stopping:]
    assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in before), "the start is prolonged"
    assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in after), "the end is prolonged"
    assert not any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in heard[ready:stopping])
    assert heard.count("READY=1") == heard.count("STOPPING=1") == 1
    assert "working, knows []" in err, "what a run starts must not speak for it"


def test_a_blocked_event_loop_is_silent_and_the_watchdogs_signal_shows_where(
    manager: Manager, loaded: DemoProject
) -> None:
    loaded.add_job("blocking", BLOCKING)
    process = loaded.start("blocking", **manager.environment())
    read_until(process, "working")
    manager.drain()
    manager.heard.clear()

    assert not manager.listen(3 * WATCHDOG_S, until="WATCHDOG=1"), manager.heard

    process.send_signal(signal.SIGABRT)  # what systemd sends when WatchdogSec= has passed
    _, err = process.communicate(timeout=10)
    assert process.returncode == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in err
    assert 'blocking.py", line 6 in apply' in err
    assert '"crashed"' in loaded.run("show", "-o", "json").stdout


def test_an_event_loop_that_turns_is_never_silent(manager: Manager, loaded: DemoProject) -> None:
    loaded.add_job("waiting", PATIENT.format(names=NAMES, seconds=30))
    process = loaded.start("waiting", **manager.environment())
    read_until(process, "working")
    manager.drain()
    for _ in range(5):
        assert manager.listen(10, until="WATCHDOG=1"), manager.heard  # sooner, but on a busy machine
    manager.heard.clear()

    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)

    assert process.returncode == 143
    heard = manager.drain()
    told = heard.index("STOPPING=1")
    assert heard[told + 1].startswith("EXTEND_TIMEOUT_USEC=")
    assert heard[told + 2] == "STATUS=cancelled by SIGTERM"
    assert heard.count("STOPPING=1") == 1


def test_a_held_lock_is_no_failed_start(manager: Manager, loaded: DemoProject) -> None:
    """A service that ends before READY=1 has failed for systemd, also with a code of SuccessExitStatus."""
    loaded.add_job("waiting", PATIENT.format(names=NAMES, seconds=30))
    holder = loaded.start("waiting")
    read_until(holder, "working")

    done = loaded.run("waiting", **manager.environment())

    assert done.returncode == 75, done.stderr
    heard = manager.drain()
    assert heard.index("READY=1") < heard.index("STOPPING=1")
    assert any(line.startswith("STATUS=") and "held by" in line for line in heard)


def test_a_run_that_cannot_begin_is_a_failed_start(manager: Manager, loaded: DemoProject) -> None:
    loaded.write("configs/jobs/load_people.yaml", "job_id: load_people\nsteps: 1\n")

    done = loaded.run("hello", **manager.environment())

    assert done.returncode == 2
    heard = manager.drain()
    assert "READY=1" not in heard
    assert "STOPPING=1" in heard


@pytest.mark.parametrize(
    ("more", "is_watched"),
    [
        ({}, True),
        ({"WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_PID": "1"}, False),
        ({"WATCHDOG_USEC": "0"}, False),
    ],
)
def test_the_variables_are_taken_once_and_a_watchdog_of_another_process_is_not_ours(
    manager: Manager, more: dict[str, str], is_watched: bool
) -> None:
    environment = {**manager.environment(), **more, "HOME": "/"}
    told = ServiceManager.from_environment(environment)
    assert environment == {"HOME": "/"}

    async def begin() -> None:
        told.on_event(STARTED)
        with anyio.move_on_after(0.01):
            await told.beat()

    anyio.run(begin)
    told.ended("over", is_fine=True)

    heard = manager.drain()
    assert heard[:2] == ["READY=1", "STATUS=job 0/1"]
    assert ("WATCHDOG=1" in heard) is is_watched


def test_the_abstract_namespace() -> None:
    manager = Manager(f"@run-pipeline-test-{os.getpid()}")
    ServiceManager(manager.address).ended("over", is_fine=True)

    assert manager.drain()[:2] == ["READY=1", "STOPPING=1"]
    manager.close()


def test_a_manager_that_is_gone_fails_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = ServiceManager(str(tmp_path / "nobody"))
    told.on_event(STARTED)
    told.ended("over", is_fine=True)

    assert caplog.text.count("systemd cannot be told how the run goes") == 1


def test_a_manager_that_is_slow_to_read_is_not_waited_for_and_misses_nothing(manager: Manager) -> None:
    told = ServiceManager(manager.address)
    told.on_event(STARTED)
    for number in range(1000):  # a socket keeps but ten messages
        told.on_event(JobStarted(run_id="", job_run_id="", job_id=f"job_{number}"))
    told.stopping("late")  # returned at once, all of them
    assert "STOPPING=1" not in manager.drain()
    seen = len(manager.heard)

    told.ended("over", is_fine=True)

    last = manager.drain()[seen:]
    assert last[0] == "STATUS=late", "of two the later counts"
    assert "STOPPING=1" in last
    assert manager.heard.count("READY=1") == 1


def test_a_status_is_one_short_line(manager: Manager) -> None:
    ServiceManager(manager.address).ended("first\nREADY=1\n" + "x" * 500, is_fine=False)

    heard = manager.drain()
    assert heard[-1].startswith("STATUS=first READY=1 xxx")
    assert len(heard[-1]) < 250
    assert "READY=1" not in heard
