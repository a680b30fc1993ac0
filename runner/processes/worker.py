"""What runs in a worker process: batches come in, are given to a function, and what it makes of them goes back."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from runner.errors import FunctionFailed
from runner.functions import Drained, Function, call_batch, drain_rows, load_function, load_package
from runner.memory import peak_memory_bytes
from runner.processes import wire
from runner.types import Column, RowEncoder, SchemaMismatch
from runner.types.shapes import decode_arrow
from runner.types.values import EPOCH

if TYPE_CHECKING:
    import pyarrow as pa

    from runner.ports import Row, StopFlag


class CallSetup(NamedTuple):
    """`runner.ports.processes.ProcessCall` as it goes to a process, with the place of the project's code."""

    project: Path
    package: str
    function: str
    shape: str
    arguments: dict[str, Any]
    names: tuple[str, ...] | None
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    declared: tuple[Column, ...]
    chunk_rows: int


class _Running:
    """Stands for the stop flag: a process is not asked to stop, it is killed."""

    stopped = False


_RUNNING = cast("StopFlag", _Running())


class Work:
    """One call, made ready for its batches."""

    def __init__(self, setup: CallSetup) -> None:
        self._setup = setup

    @cached_property
    def _function(self) -> Function:
        load_package(self._setup.project, self._setup.package)
        return load_function(self._setup.function)

    @cached_property
    def _encoder(self) -> RowEncoder:
        return RowEncoder(self._setup.columns, key=self._setup.key)

    def outputs(self, kind: bytes, body: memoryview) -> Iterator[tuple[bytes, Any]]:
        """Yield the frames, as kind and body, that come of a batch. Raises what the function makes fail."""
        if self._setup.shape == "batch":
            yield self._checked(call_batch(self._function, self._arrow(kind, body), self._setup.arguments))
            return
        setup = self._setup
        for drained in drain_rows(
            self._function, self._rows(kind, body), setup.arguments,
            stop=_RUNNING, names=setup.names, chunk_rows=setup.chunk_rows,
        ):  # fmt: skip
            if drained.failures:
                yield wire.FAILURES, wire.pickled([(bad.index, bad.reason) for bad in drained.failures])
            if drained.length:
                yield self._encoded(drained)

    def _encoded(self, drained: Drained) -> tuple[bytes, Any]:
        """Return the outputs as Arrow of the target's columns; as they are where some do not fit, or for no write."""
        if drained.columns is None:
            return wire.ROWS, self._pickled(drained.rows)
        if self._setup.columns:
            encoded = self._encoder.encode_columns(drained.columns, drained.length)
            if not encoded.bad:
                return wire.CHECKED, wire.arrow_bytes(encoded.batch)
        return wire.COLUMNS, self._pickled((drained.length, drained.columns))

    def _pickled(self, outputs: object) -> bytes:
        """Return outputs as bytes. Raises `FunctionFailed` for what cannot leave the process, as a lock in a row."""
        try:
            return wire.pickled(outputs)
        except Exception as error:
            problem = TypeError(f"gave a value that cannot leave its process: {error}")
            raise FunctionFailed(self._setup.function, problem) from error

    def _checked(self, result: pa.RecordBatch) -> tuple[bytes, Any]:
        """Return what a batch function gave, converted for the write that takes it. What does not fit goes as it is:
        the write will say why.
        """
        if self._setup.columns:
            with suppress(SchemaMismatch):
                encoded = self._encoder.encode_arrow(result)
                if not encoded.bad:
                    return wire.CHECKED, wire.arrow_bytes(encoded.batch)
        return wire.ARROW, wire.arrow_bytes(result)

    def _rows(self, kind: bytes, body: memoryview) -> list[Row]:
        if kind == wire.ARROW:
            return decode_arrow(wire.arrow_from(body), self._setup.declared)
        if kind == wire.ROWS:
            return cast("list[Row]", wire.unpickled(body))
        _, columns = wire.unpickled(body)
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def _arrow(self, kind: bytes, body: memoryview) -> pa.RecordBatch:
        import pyarrow as pa

        return (
            wire.arrow_from(body)
            if kind == wire.ARROW
            else pa.RecordBatch.from_pylist(self._rows(kind, body))
        )


def serve(channel: socket.socket) -> None:
    """Work on what comes until the other end closes."""
    calls: dict[int, Work] = {}
    while (frame := wire.receive(channel)) is not None:
        kind, number, body = frame
        if kind == wire.CALL:
            calls[number] = Work(wire.unpickled(body))
        else:
            _work(channel, number, calls[number].outputs(kind, body))


def _work(channel: socket.socket, number: int, outputs: Iterator[tuple[bytes, Any]]) -> None:
    """Send what comes of a batch. The time in which nobody takes it is not counted."""
    busy = 0
    kind = b""
    while kind not in (wire.DONE, wire.ERROR):
        began = perf_counter_ns()
        try:
            kind, body = next(outputs, (wire.DONE, b""))
        except Exception as error:  # noqa: BLE001 - it is raised again in the runner
            kind, body = wire.ERROR, wire.error_bytes(error)
        busy += perf_counter_ns() - began
        wire.send(channel, kind, number, _end(busy) if kind == wire.DONE else body)


def _end(busy_ns: int) -> bytes:
    """Return what ends a batch: how long it took, and the most memory that this process has held."""
    return wire.pickled((busy_ns, peak_memory_bytes() or 0))


def main(descriptor: int) -> None:
    """Serve the runner at the other end of the socket `descriptor`, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = socket.socket(fileno=descriptor)
    # What a function starts must not hold the channel: the runner sees the end of this process by it.
    channel.set_inheritable(False)
    os.register_at_fork(after_in_child=channel.close)
    threading.Thread(target=_end_with_the_runner, args=(descriptor,), daemon=True).start()
    _warm_up()
    with suppress(BrokenPipeError, ConnectionResetError):  # the runner is gone, or wants no more
        serve(channel)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # a function may have closed it
            stream.flush()
    os._exit(0)  # tearing down Arrow takes longer than a small batch


def _warm_up() -> None:
    """Load Arrow while the runner still opens the warehouse: the first batch need not wait for it."""
    RowEncoder([Column("at", "timestamp")]).encode_columns({"at": [EPOCH]}, 1)


_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL
"""The other end was closed, or a function has closed this one."""


def _end_with_the_runner(descriptor: int) -> None:
    """Wait until the other end is closed, as the system does for a runner that was killed, and end at once: the main
    thread may be within a function for hours.
    """
    poll = select.poll()
    poll.register(descriptor, 0)  # hang-ups are told without being asked for
    while not any(event & _GONE for _, event in poll.poll()):
        ...
    os._exit(1)
