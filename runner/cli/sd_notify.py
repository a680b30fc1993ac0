"""Tells systemd how a run goes (the protocol of sd_notify(3)). Imported only where it asks to be told.

The unit of `run-pipeline systemd` is of `Type=notify`: it counts as started when the run has begun, shows the job
that runs, and is ended when the event loop no longer turns.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import MutableMapping

import anyio

from runner.events import Event, JobFinished, JobStarted, RunFinished, RunStarted
from runner.logs import get_logger

PATIENCE_S = 600.0
"""Seconds for which a start, and an end, may be prolonged altogether."""
BEAT_S = 20.0
"""Seconds between two signs of life when there is no watchdog."""
LAST_WORDS_S = 1.0
"""Seconds that the last messages may wait for a manager that does not read."""

logger = get_logger(__name__)


class ServiceManager:
    """The service manager that started this process. All methods are called on the event loop's thread.

    A message that cannot be delivered never fails a run, and nothing waits for the manager to read.
    """

    def __init__(self, address: str, *, watchdog_s: float | None = None) -> None:
        """`address`: a path, or `@name` in the abstract namespace. `watchdog_s`: seconds after which the manager
        takes silence for a hang, None: it does not watch.
        """
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._watched = watchdog_s is not None
        self._interval_s = BEAT_S if watchdog_s is None else watchdog_s / 3
        self._unsent: dict[str, str] = {}
        """By name, so that of two the later counts: a manager reads no more than 4096 bytes at once."""
        self._begun: set[str] = set()
        self._jobs = 0
        self._is_ready = self._is_stopping = self._is_lost = False
        self._patient_until = time.monotonic() + PATIENCE_S

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """Make one of NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and take them out of `environment`.

        What this process starts must not speak for it. A watchdog that is meant for another process is none.
        """
        address = environment.pop("NOTIFY_SOCKET")
        limit_us, pid = (environment.pop(name, "") for name in ("WATCHDOG_USEC", "WATCHDOG_PID"))
        is_ours = limit_us.isdecimal() and int(limit_us) > 0 and pid in ("", str(os.getpid()))
        if is_ours:
            import faulthandler

            if sys.__stderr__ is not None:
                faulthandler.enable(sys.__stderr__)  # the watchdog's SIGABRT then shows what blocked the loop
        return cls(address, watchdog_s=int(limit_us) / 1e6 if is_ours else None)

    def on_event(self, event: Event) -> None:
        """Pass on what of an event is of interest: readiness, the job that began, the end."""
        match event:
            case RunStarted():
                self._jobs = len(event.jobs)
                self._is_ready = True
                self._send("READY=1", f"STATUS=job 0/{self._jobs}")
            case JobStarted():
                self._begun.add(event.job_id)
                self._send(f"STATUS=job {len(self._begun)}/{self._jobs} {event.job_id}")
            case JobFinished():
                self._begun.add(event.job_id)  # one that was skipped has not been started
            case RunFinished():
                self.stopping(f"{event.status}, job {len(self._begun)}/{self._jobs}")
            case _:
                return

    def stopping(self, status: str) -> None:
        """Say that the end has begun, and why."""
        if not self._is_stopping:
            self._is_stopping = True
            self._patient_until = time.monotonic() + PATIENCE_S
            self._send("STOPPING=1", self._extension(), _status(status))

    def ended(self, status: str, *, is_fine: bool) -> None:
        """Say that nothing more comes. `is_fine`: the end is none of a failure, though no run has begun.

        A service that ends before it was ready has failed, whatever its exit code says (systemd.service(5)). To be
        called when the event loop is no more: it may wait a second for a manager that is slow to read.
        """
        self._socket.settimeout(LAST_WORDS_S)
        if is_fine and not self._is_ready:
            self._send("READY=1")
        self.stopping(status)
        self._send()
        self._socket.close()

    async def beat(self) -> None:
        """Give signs of life, as long as the event loop turns."""
        while True:
            self._send(*(["WATCHDOG=1"] if self._watched and self._is_ready else []), *self._prolonged())
            await anyio.sleep(self._interval_s)

    def _prolonged(self) -> list[str]:
        """Return what prolongs a start or an end that takes its time."""
        waited_for = self._is_stopping or not self._is_ready
        return [self._extension()] if waited_for and time.monotonic() < self._patient_until else []

    def _extension(self) -> str:
        return f"EXTEND_TIMEOUT_USEC={int(max(self._interval_s * 3, 1) * 1e6)}"

    def _send(self, *lines: str) -> None:
        """Send assignments, together with those that the manager had no room for."""
        self._unsent |= dict(line.split("=", 1) for line in lines)
        if not self._unsent:
            return
        message = "\n".join(f"{name}={value}" for name, value in self._unsent.items())
        try:
            self._socket.sendto(message.encode(), self._address)
        except BlockingIOError:
            return  # with the next message
        except OSError as error:
            if not self._is_lost:
                logger.warning("systemd cannot be told how the run goes: %s", error)
            self._is_lost = True
        self._unsent.clear()


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())[:200]}"
