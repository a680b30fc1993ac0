"""Ending jobs on the server, from the event loop: `interrupt` never blocks, a thread of its own sends what it takes."""

from __future__ import annotations

import threading
from collections.abc import Callable

from runner.logs import get_logger

_log = get_logger("warehouses.bigquery")

_LONGEST_PAUSE = 1.0
"""Seconds between two cancel requests: the service takes them as a wish, and answers before the job has ended."""


class Stopped(Exception):
    """Work that was told to stop before it had anything under way on the server."""


class Stop:
    """Whether a piece of blocking work is to end. Its thread asks `check` and waits in `wait`; the event loop calls
    `interrupt`, again and again. `cancel` sends one cancel request for a job id, in a location if that is known.
    """

    def __init__(self, cancel: Callable[[str, str | None], object]) -> None:
        self._cancel = cancel
        self._wanted = threading.Event()
        self._ended = threading.Event()
        self._sender: threading.Thread | None = None
        self._job: tuple[str, str | None] = ("", None)
        self._closings: list[Callable[[], object]] = []

    @property
    def wanted(self) -> bool:
        """Whether the work is to end."""
        return self._wanted.is_set()

    def check(self) -> None:
        """Raise `Stopped` when the work is to end."""
        if self.wanted:
            raise Stopped

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than until the work is to end; then for a moment only, since the end is near."""
        if self._wanted.wait(seconds):
            self._ended.wait(min(seconds, 0.02))

    def watch(self, job_id: str, location: str | None = None) -> None:
        """Cancel this job, too, when the work is to end; "": there is none under way. `location`: where it runs, once
        that is known.
        """
        self._job = (job_id, location)

    def also(self, closing: Callable[[], object]) -> None:
        """Call this as well when the work is to end, from the event loop: it must not block."""
        self._closings.append(closing)

    def interrupt(self) -> None:
        """Tell the work to end. Does not block."""
        self._wanted.set()
        for closing in self._closings:
            closing()
        if self._sender is None and not self._ended.is_set():
            self._sender = threading.Thread(target=self._send, name="bigquery-cancel", daemon=True)
            self._sender.start()

    def close(self) -> None:
        """Note that the work has ended, and wait for the thread that cancelled. Blocks; called by the work's thread."""
        self._ended.set()
        if self._sender is not None:
            self._sender.join()

    def _send(self) -> None:
        pause = 0.05
        while not self._ended.is_set():
            job_id, location = self._job
            if job_id:
                try:
                    self._cancel(job_id, location)
                except Exception as error:  # noqa: BLE001 - it is sent again until the job has ended
                    _log.debug("cancelling job %s: %s", job_id, error)
            self._ended.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
