"""A line to a mail server that is opened when it is needed, and again when it broke."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from runner.clock import monotonic_ns
from runner.errors import SourceError, is_retryable
from runner.functions import Stopped
from runner.logs import get_logger
from runner.ports import StopFlag
from runner.retry import Backoff
from runner.sources.imap.account import Account
from runner.sources.imap.names import Folder
from runner.sources.imap.session import Session
from runner.sources.imap.wire import POLL

T = TypeVar("T")

_logger = get_logger("sources.imap")


class Line:
    """Asks one thing after the other, and the same thing again on a new connection, `reconnects` times at most."""

    def __init__(
        self, account: Account, stop: StopFlag, *, reconnects: int, backoff: Backoff | None = None
    ) -> None:
        self._account = account
        self._stop = stop
        self._reconnects = reconnects
        self._backoff = backoff or Backoff(base=0.5, maximum=10.0)
        self._session: Session | None = None

    def ask(self, work: Callable[[Session], T], folder: Folder | None = None) -> T:
        """Return what `work` makes of a session in which `folder` is open.

        Raises `SourceUnavailable` when it still fails after the last reconnection, other errors of sources at once.
        """
        attempt = 0
        while True:
            try:
                session = self._session = self._session or Session(self._account, self._stop, folder)
                if folder is not None and session.folder != folder:
                    session.examine(folder)
                return work(session)
            except SourceError as error:
                self.close()
                attempt += 1
                if attempt > self._reconnects or not is_retryable(error):
                    raise
                _logger.info("%s; connecting again (%d of %d)", error, attempt, self._reconnects)
            self._pause(self._backoff.delay(attempt))

    def log_out(self) -> None:
        """End the session, if there is one, as a client should."""
        if self._session is not None:
            self._session.log_out()
            self._session = None

    def close(self) -> None:
        """Drop the session, if there is one, without waiting."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _pause(self, seconds: float) -> None:
        deadline = monotonic_ns() + int(seconds * 1e9)
        while (left := deadline - monotonic_ns()) > 0:
            if self._stop.stopped:
                raise Stopped
            time.sleep(min(POLL, left / 1e9))
