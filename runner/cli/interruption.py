"""What the first signal does to a run: cancel it on its event loop, once.

And if the loop does not hear it: end.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from runner.cli.exit_codes import ExitCode
from runner.cli.signals import SignalWatch, exit_code_of, signals

HEARING_S = 0.3
"""Seconds, on top of the grace period, that a blocked event loop has to come back."""

LAST_WORDS = b"a function blocks the event loop: ended at once, the run will read as crashed\n"


class Interruption:
    """Ties the process's signals to one run.

    The handler itself only writes a byte to a pipe and asks the loop: printing or starting a thread there
    could meet a half-held lock. A thread that waits at the pipe ends the process when the loop stays
    deaf, because a project's coroutine blocks it: the records of the run cannot be written then, it reads
    as crashed.
    """

    def __init__(
        self,
        *,
        grace: float,
        announce: Callable[[str], object] | None = None,
        watch: SignalWatch = signals,
    ) -> None:
        """`grace` in seconds; `announce` is told the signal's name when the loop has heard it."""
        self._announce = announce or (lambda _name: None)
        self._limit = grace + HEARING_S
        self._watch = watch
        self._heard = threading.Event()
        self._reading, self._writing = os.pipe()
        self._guard = threading.Thread(target=self._wait, name="signal guard", daemon=True)

    def __enter__(self) -> Self:
        self._guard.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._watch.on_first(None)
        self._heard.set()
        os.close(self._writing)  # the guard reads the end
        self._guard.join()
        os.close(self._reading)

    def bind(self, cancel: Callable[[], object]) -> None:
        """From now on the first signal calls `cancel` on the running loop."""
        loop = asyncio.get_running_loop()

        def on_loop(number: int) -> None:
            self._heard.set()
            self._announce("Ctrl-C" if exit_code_of(number) is ExitCode.INTERRUPTED else "SIGTERM")
            cancel()

        def on_signal(number: int) -> None:
            os.write(self._writing, number.to_bytes())
            loop.call_soon_threadsafe(on_loop, number)

        self._watch.on_first(on_signal)

    def _wait(self) -> None:
        number = os.read(self._reading, 1)
        if number and not self._heard.wait(self._limit):
            # Not through the console: its lock may be held by the thread that blocks.
            os.write(2, LAST_WORDS)
            os._exit(exit_code_of(number[0]))
