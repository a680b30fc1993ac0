"""Cancelling what a connection is doing, without blocking who asks for it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from runner.logs import get_logger

_log = get_logger("warehouses.postgres")

CANCEL_SECONDS = 5.0
"""How long a server may take to take a cancel. One that takes none in this time will not end the work either."""

_TICK = 0.05

FILES = "/dev/fd"
"""The open files of this process, on Linux and elsewhere."""


class Interrupts:
    """Cancels of one connection. `cancel` blocks: it opens a connection of its own to the server, tells it whom to
    stop, and waits for it to close. `cut` ends the connection on our side, so that who waits for its answer wakes up:
    where the server takes no cancel (it is frozen, or what stands between is), this is all that can be done.
    """

    def __init__(self, cancel: Callable[[], object], cut: Callable[[], object]) -> None:
        self._cancel = cancel
        self._cut = cut
        self._thread: threading.Thread | None = None
        self._was_cut = threading.Event()
        self.sent = False

    def __call__(self) -> None:
        """Send a cancel in a thread of its own, unless one is still on its way. Does not block."""
        self.sent = True
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="run-pipeline cancel", daemon=True)
            self._thread.start()

    def join(self) -> bool:
        """Wait for the cancel that is on its way. Blocks: afterwards none can hit another statement. False: it has not
        come back although the connection was cut, and still uses it.
        """
        if self._thread is None:
            return True
        while self._thread.is_alive() and not self._was_cut.is_set():
            self._thread.join(_TICK)
        self._thread.join(_TICK)
        return not self._thread.is_alive()

    def _run(self) -> None:
        too_late = threading.Timer(CANCEL_SECONDS, self._give_up)
        too_late.daemon = True
        too_late.start()
        try:
            self._cancel()
        except Exception as error:  # noqa: BLE001 - then the connection is cut
            _log.debug("a cancel could not be sent: %s", type(error).__name__)
            self._give_up()
        finally:
            too_late.cancel()
            too_late.join()  # nothing is left running behind the connection

    def _give_up(self) -> None:
        with suppress(Exception):  # it has ended meanwhile
            self._cut()
        self._was_cut.set()


def shut_down(file: int) -> None:
    """End a connection in both directions, whoever is waiting for it; the file stays open."""
    with socket.socket(fileno=os.dup(file)) as connection:
        connection.shutdown(socket.SHUT_RDWR)


def socket_between(own_port: int, server_port: int) -> int | None:
    """Return the file of this process's TCP connection with these ports; None where it has none."""
    for name in os.listdir(FILES):
        with suppress(OSError), socket.socket(fileno=os.dup(int(name))) as found:
            inet = found.family in (socket.AF_INET, socket.AF_INET6)
            if inet and (found.getsockname()[1], found.getpeername()[1]) == (own_port, server_port):
                return int(name)
    return None
