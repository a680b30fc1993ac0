"""What goes between runner and worker process: frames on a socket, batches, errors.

Arrow goes as an IPC stream, which is read in place; rows are pickled. Both ends are the same program of the same user,
connected by a socket that has no name: unpickling is as safe as calling.
"""

from __future__ import annotations

import pickle
import socket
import struct
from typing import TYPE_CHECKING, Any, NoReturn

from runner.errors import FunctionFailed, RunPipelineError, text_of

if TYPE_CHECKING:
    import pyarrow as pa

CALL, ARROW, CHECKED, ROWS, COLUMNS = b"c", b"a", b"t", b"r", b"k"
FAILURES, DONE, ERROR = b"f", b"d", b"e"
"""Kinds of frames. To the process: CALL, then batches (ARROW, ROWS, COLUMNS). Back: batches and FAILURES in order,
and last DONE or ERROR. CHECKED is Arrow that fits the table that it will be written to.
"""

_HEADER = struct.Struct("<cQQ")

Body = bytes | memoryview

Frame = tuple[bytes, int, memoryview]
"""Kind, number of the call, body."""


def send(channel: socket.socket, kind: bytes, call: int, body: Body = b"") -> None:
    """Send a frame; blocks until it is taken. Raises `OSError` when the other end is gone."""
    view = memoryview(body)
    channel.sendall(_HEADER.pack(kind, call, view.nbytes))
    if view.nbytes:
        channel.sendall(view)


def receive(channel: socket.socket) -> Frame | None:
    """Receive a frame; None when the other end has closed. Raises `OSError` when it ended within one."""
    header = _exactly(channel, _HEADER.size)
    if header is None:
        return None
    kind, call, length = _HEADER.unpack(header)
    body = _exactly(channel, length)
    if body is None:
        raise ConnectionResetError("the other end closed within a frame")
    return kind, call, body


def _exactly(channel: socket.socket, length: int) -> memoryview | None:
    view = memoryview(bytearray(length))
    got = 0
    while got < length:
        count = channel.recv_into(view[got:])
        if not count:
            if got:
                raise ConnectionResetError("the other end closed within a frame")
            return None
        got += count
    return view


def arrow_bytes(batch: pa.RecordBatch) -> Body:
    """Return a record batch as an IPC stream."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return memoryview(sink.getvalue())


def arrow_from(body: memoryview) -> pa.RecordBatch:
    """Return the record batch of an IPC stream, which it keeps in memory."""
    import pyarrow as pa

    with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
        return reader.read_next_batch()


def pickled(value: Any) -> bytes:
    """Return a value as bytes. Raises what pickle raises for one that cannot be pickled."""
    return pickle.dumps(value, protocol=5)


def unpickled(body: Body) -> Any:
    """Return the value of `pickled`."""
    return pickle.loads(body)  # noqa: S301 - see above


# --- errors ----------------------------------------------------------------------------------------------------------


def error_bytes(error: BaseException) -> bytes:
    """Describe an error for the other process, as itself where it can be pickled, else by what is known of it."""
    if isinstance(error, FunctionFailed):
        inner = error.error
        described = (error.function, _itself(inner), type(inner).__name__, text_of(inner), _transient(inner),
                     error.location)  # fmt: skip
        return pickled(("function", described))
    itself = _itself(error)
    return (
        pickled(("error", itself))
        if itself
        else pickled(("bug", f"{type(error).__name__}: {text_of(error)}"))
    )


def raise_from(body: Body) -> NoReturn:
    """Raise the error that `error_bytes` described."""
    kind, described = unpickled(body)
    if kind == "function":
        function, itself, name, text, transient, location = described
        raise FunctionFailed(function, _again(itself, name, text, transient=transient), location=location)
    if kind == "error":
        raise unpickled(described)
    raise RuntimeError(f"a worker process failed: {described}")


def _itself(error: BaseException) -> bytes | None:
    """Pickle an error, if it comes out again as what it was: many with arguments of their own do not."""
    if isinstance(error, Exception | SystemExit) and (
        isinstance(error, RunPipelineError) or _is_builtin(error)
    ):
        try:
            body = pickled(error)
            return body if type(unpickled(body)) is type(error) else None
        except Exception:  # noqa: BLE001 - whatever the class does: then its text must do
            return None
    return None


def _is_builtin(error: BaseException) -> bool:
    return type(error).__module__ == "builtins"


def _transient(error: BaseException) -> bool:
    return isinstance(error, TimeoutError | ConnectionError)


def _again(itself: bytes | None, name: str, text: str, *, transient: bool) -> BaseException:
    """Return the error, or one of the same name and text; a transient one stays transient (see `is_retryable`)."""
    if itself is not None:
        error: BaseException = unpickled(itself)
        return error
    base = ConnectionError if transient else Exception
    like: type[Exception] = type(name, (base,), {})
    return like(text)
