"""A batch on its way through a worker process: what a serving thread puts in, a step takes out."""

from __future__ import annotations

import threading
from collections import deque

from runner.ports import Batch
from runner.ports.processes import Piece, ProcessCall

BUFFERED = 16
"""Pieces that wait for their step, at most; then the process waits. A piece has up to `batch_rows` rows."""


class Task:
    """One batch of one call. `put`, `fail`, `end` are the serving thread's, `take` and `abandon` the step's."""

    def __init__(self, call: ProcessCall, number: int, batch: Batch) -> None:
        self.call = call
        self.number = number
        self.batch = batch
        self._changed = threading.Condition()
        self._pieces: deque[Piece] = deque()
        self._ended = False
        self._error: BaseException | None = None
        self.abandoned = False
        self.wanted = False
        """Whether the step waits for it, or has."""

    @property
    def crowded(self) -> bool:
        """Whether `put` would wait; asked by who puts."""
        return len(self._pieces) >= BUFFERED and not self.abandoned

    def put(self, piece: Piece) -> None:
        """Add a piece; waits while there are many. What nobody wants any more is dropped."""
        with self._changed:
            while self.crowded:
                self._changed.wait()
            if not self.abandoned:
                self._pieces.append(piece)
            self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes, because of an error if there is one."""
        with self._changed:
            self._ended = True
            self._error = error
            self._changed.notify_all()

    def take(self) -> Piece | None:
        """Wait for the next piece; None when there are no more. Raises the error that ended the work."""
        with self._changed:
            while not self._pieces and not self._ended and not self.abandoned:
                self._changed.wait()
            if self._pieces:
                piece = self._pieces.popleft()
                self._changed.notify_all()
                return piece
            error, self._error = self._error, None
        if error is not None:
            raise error
        return None

    def drop(self) -> None:
        """Forget everything, and let go whoever waits."""
        with self._changed:
            self.abandoned = True
            self._pieces.clear()
            self._changed.notify_all()
