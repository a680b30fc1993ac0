"""One worker process, seen from the runner: started when it is needed, spoken to by one thread at a time."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from runner.errors import WorkerFailed
from runner.ports import Batch
from runner.ports.processes import Piece, ProcessCall
from runner.processes import wire
from runner.processes.tasks import Task
from runner.processes.worker import CallSetup
from runner.types import Column, ColumnLike

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from runner.processes.worker import main; main(int(sys.argv[2]))"
)
"""The module path is handed over: the host application may have changed it."""

BUFFER = 1 << 20
"""Bytes that the socket should hold (the system may allow fewer)."""

PATIENCE = 1.0
"""Seconds that a process gets to end by itself when there is no more work."""


class WorkerProcess:
    """A process that calls functions of one project. All methods but `kill` are for its serving thread, and block."""

    def __init__(self, project: Path, package: str) -> None:
        self._project = project
        self._package = package
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._known: set[int] = set()
        self._killed = False

    def work(self, task: Task) -> Iterator[Piece]:
        """Yield what the process makes of a batch; nothing of one that has been given up. Raises what the function
        raised, and `WorkerFailed`.
        """
        if task.abandoned:
            return
        try:
            channel = self._started()
        except OSError as error:
            raise WorkerFailed(task.call.function, f"could not be started: {error}") from error
        # Who gives a batch up says so, and then kills: a kill before this moment has met no process, or the last one.
        if task.abandoned:
            return
        try:
            yield from self._work(channel, task)
        except OSError:
            raise WorkerFailed(task.call.function, _how_it_ended(self._reaped())) from None

    def kill(self) -> None:
        """End the process at once, from any thread; it starts again when there is more work."""
        self._killed = True
        if (process := self._process) is not None:
            process.kill()
        if (channel := self._channel) is not None:
            with suppress(OSError):  # what the function has started may keep the other end open
                channel.shutdown(socket.SHUT_RDWR)

    def start(self) -> None:
        """Start the process, if it does not run."""
        self._started()

    def stop(self) -> None:
        """Let the process end; kill it if it does not, or has nothing to tell since it had no work."""
        if not self._known:
            self.kill()
        elif self._channel is not None and self._process is not None:
            with suppress(OSError):
                self._channel.shutdown(socket.SHUT_WR)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE)
        self._reaped()

    def _work(self, channel: socket.socket, task: Task) -> Iterator[Piece]:
        if task.number not in self._known:
            wire.send(channel, wire.CALL, task.number, wire.pickled(self._setup(task.call)))
            self._known.add(task.number)
        wire.send(channel, *_given(task))
        while True:
            frame = wire.receive(channel)
            if frame is None:
                raise ConnectionResetError("the worker process ended")
            kind, _, body = frame
            if kind == wire.ERROR:
                wire.raise_from(body)
            yield _piece(kind, body)
            if kind == wire.DONE:
                return

    def _setup(self, call: ProcessCall) -> CallSetup:
        def plain(columns: Sequence[ColumnLike]) -> tuple[Column, ...]:
            return tuple(Column(column.name, column.type, column.required) for column in columns)

        return CallSetup(
            project=self._project,
            package=self._package,
            function=call.function,
            shape=call.shape,
            arguments=dict(call.arguments),
            names=call.names,
            columns=plain(call.columns),
            key=call.key,
            declared=plain(call.declared),
            chunk_rows=call.chunk_rows,
        )

    def _started(self) -> socket.socket:
        # One that was killed for a task it had just finished may not be gone yet.
        alive = self._process is not None and self._process.poll() is None and not self._killed
        if alive and self._channel is not None:
            return self._channel
        self._reaped()
        ours, theirs = socket.socketpair()
        with theirs:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            options = [f"-W{option}" for option in sys.warnoptions]
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter
                [sys.executable, *options, "-c", _START, json.dumps(sys.path), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._channel = ours
        return ours

    def _reaped(self) -> int:
        """Make sure that the process is gone; return its exit code."""
        process, self._process = self._process, None
        channel, self._channel = self._channel, None
        self._known.clear()
        self._killed = False
        if channel is not None:
            channel.close()
        if process is None:
            return 0
        with suppress(subprocess.TimeoutExpired):
            return process.wait(PATIENCE)  # one that closed its socket is about to end
        process.kill()
        return process.wait()


def _how_it_ended(exit_code: int) -> str:
    """Say an exit code, which is negative for a signal."""
    if exit_code >= 0:
        return f"ended with exit code {exit_code} in the middle of a batch"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    why = "; the system does so when memory runs out" if name == "SIGKILL" else ""
    return f"was ended by {name} in the middle of a batch{why}"


def _given(task: Task) -> tuple[bytes, int, wire.Body]:
    batch = task.batch
    if batch.arrow is not None:
        return wire.ARROW, task.number, wire.arrow_bytes(batch.arrow)
    if batch.rows is not None:
        return wire.ROWS, task.number, wire.pickled(batch.rows)
    return wire.COLUMNS, task.number, wire.pickled((batch.length, batch.columns))


def _piece(kind: bytes, body: memoryview) -> Piece:
    if kind in (wire.ARROW, wire.CHECKED):
        arrow = wire.arrow_from(body)
        return Piece(batch=Batch(arrow.num_rows, arrow=arrow, checked=kind == wire.CHECKED))
    value = wire.unpickled(body)
    if kind == wire.ROWS:
        return Piece(batch=Batch(len(value), rows=value))
    if kind == wire.COLUMNS:
        return Piece(batch=Batch(value[0], columns=value[1]))
    if kind == wire.FAILURES:
        return Piece(failures=tuple(value))
    return Piece(busy_ns=value[0], peak_memory_bytes=value[1])
