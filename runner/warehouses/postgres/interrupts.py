"""Cancelling what a connection is doing, without blocking who asks for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from runner.logs import get_logger

_log = get_logger("warehouses.postgres")


class Interrupts:
    """Cancels of one connection. `cancel` blocks: it opens a connection of its own to the server, tells it whom to
    stop, and waits for it to close.
    """

    def __init__(self, cancel: Callable[[], object]) -> None:
        self._cancel = cancel
        self._thread: threading.Thread | None = None
        self.sent = False

    def __call__(self) -> None:
        """Send a cancel in a thread of its own, unless one is still on its way. Does not block."""
        self.sent = True
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="run-pipeline cancel", daemon=True)
            self._thread.start()

    def join(self) -> None:
        """Wait for the cancel that is on its way. Blocks: afterwards none can hit another statement."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._cancel()
        except Exception as error:  # noqa: BLE001 - it is sent again as long as the work goes on
            _log.debug("a cancel could not be sent: %s", type(error).__name__)
