"""SIGINT and SIGTERM: the first cancels, the second ends at once. Only the command line handles signals.

Handlers are Python's own and not the event loop's: they work before the loop is up and after it has
closed, and also while a project's coroutine blocks it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from runner.cli.exit_codes import ExitCode

SAME_SIGNAL_S = 0.2
"""Seconds in which a repeated signal counts as the same one: timeout(1) signals the process and then its
group.
"""


class Interrupted(BaseException):
    """A signal came while there was nothing to cancel in order.

    Not an `Exception`: nothing may catch it midway.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def signal_name(self) -> str:
        """SIGINT or SIGTERM."""
        return signal.Signals(self.number).name

    @property
    def exit_code(self) -> ExitCode:
        """130 or 143."""
        return exit_code_of(self.number)


class SignalWatch:
    """Holds the handlers while a command runs. `received` is the number of the first signal, or None."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._at = 0.0
        self._cancel: Callable[[int], object] | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> SignalWatch:
        self.received = None
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup and background jobs of a shell
                try:
                    self._previous[number] = signal.signal(number, self._handle)
                except ValueError:  # not the main thread: whoever calls us there keeps its signals
                    break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._previous.clear()

    def on_first(self, cancel: Callable[[int], object] | None) -> None:
        """Set what the first signal does instead of raising `Interrupted`; None: raise again."""
        self._cancel = cancel

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.received is None:
            self.received, self._at = number, time.monotonic()
            if self._cancel is None:
                raise Interrupted(number)
            self._cancel(number)
        elif time.monotonic() - self._at > SAME_SIGNAL_S:
            os._exit(exit_code_of(number))


def exit_code_of(number: int) -> ExitCode:
    """Return the exit code for the number of a signal."""
    return ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED


signals = SignalWatch()
"""The watch of this process."""
