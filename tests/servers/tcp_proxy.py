"""A TCP proxy on loopback that breaks connections where a test says: after the n-th byte or packet, either way.

A *packet* is what one read of the socket gave (up to 64 KB): for a client that waits for answers, mostly one message.
Bytes and packets are counted over all connections, from the last `reset_counts` or `fail`, so that a test can first
count what a healthy run sends, and then cut at every point of it.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Literal

Direction = Literal["to_server", "to_client"]

CHUNK = 65_536
_TICK = 0.02
_LINGER_ZERO = struct.pack("ii", 1, 0)


class Break(Enum):
    """How a connection is broken."""

    CUT = "cut"
    """Closed properly on both sides: the client reads an end of file."""

    RESET = "reset"
    """Thrown away on both sides: the client gets ECONNRESET."""

    STALL = "stall"
    """Kept open; nothing passes any more, in either direction, until `heal`. (A cable that was pulled.)"""


@dataclass(frozen=True, slots=True)
class Fault:
    """Break as soon as `direction` has passed `bytes` bytes, or `packets` packets; what comes after does not pass.

    `times`: how often; the count starts anew after each break.
    `refuse`: whether nobody listens from then on, until `heal`.
    """

    how: Break
    direction: Direction = "to_server"
    bytes: int | None = None
    packets: int | None = None
    times: int = 1
    refuse: bool = False


class TcpProxy:
    """The proxy. `port` is where clients connect; `connections` counts those that were accepted."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._lock = threading.RLock()
        self._fault: Fault | None = None
        self._left = 0
        self._stalled = threading.Event()
        self._open: set[_Connection] = set()
        self._closed = threading.Event()
        self._listener: socket.socket | None = None
        self.connections = 0
        self.broken = 0
        self.passed: dict[Direction, tuple[int, int]] = {}
        self.port = 0
        self.heal()
        self.reset_counts()

    def fail(self, fault: Fault) -> None:
        """Set the fault, counted from now; it replaces another."""
        with self._lock:
            self._fault, self._left, self.broken = fault, fault.times, 0
            self.reset_counts()

    def heal(self) -> None:
        """Forget the fault, accept connections, let what was held back pass."""
        self._stalled.clear()
        with self._lock:
            self._fault = None
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", self.port))
                self.port = self._listener.getsockname()[1]
                threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def refuse(self) -> None:
        """Listen no more (ECONNREFUSED) until `heal`. Open connections go on."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            _discard(listener, reset=False)

    def break_now(self, how: Break = Break.RESET) -> None:
        """Break every open connection at this moment."""
        if how is Break.STALL:
            self._stalled.set()
            return
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            connection.end(reset=how is Break.RESET)

    def reset_counts(self) -> None:
        """Count `passed` anew: (bytes, packets) of each direction."""
        with self._lock:
            self.passed = {"to_server": (0, 0), "to_client": (0, 0)}

    def open_connections(self) -> int:
        """Return how many connections are open."""
        with self._lock:
            return len(self._open)

    def close(self) -> None:
        """Break everything, and stop."""
        self._closed.set()
        self.refuse()
        self.break_now()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            _discard(client, reset=True)
            return
        for end in (client, server):
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(client, server)
        with self._lock:
            self.connections += 1
            self._open.add(connection)
        for source, sink, direction in ((client, server, "to_server"), (server, client, "to_client")):
            threading.Thread(
                target=self._pump, args=(connection, source, sink, direction), daemon=True
            ).start()

    def _pump(
        self, connection: _Connection, source: socket.socket, sink: socket.socket, direction: Direction
    ) -> None:
        """Pass on what comes, up to the fault's point."""
        try:
            while data := source.recv(CHUNK):
                self._wait_while_stalled()
                passes, how = self._count(direction, data)
                if passes:
                    sink.sendall(passes)
                if how is Break.STALL:
                    self._stalled.set()
                    self._wait_while_stalled()
                    sink.sendall(data[len(passes) :])
                elif how is not None:
                    connection.end(reset=how is Break.RESET)
                    return
            if not connection.broken:
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            connection.end(reset=True)
        finally:
            if connection.half_done():
                with self._lock:
                    self._open.discard(connection)

    def _count(self, direction: Direction, data: bytes) -> tuple[bytes, Break | None]:
        """Return what of a packet passes, and how the connection breaks after it."""
        with self._lock:
            size, packets = self.passed[direction]
            fault = self._fault if self._left and self._fault and self._fault.direction == direction else None
            cut = self._room(fault, size, packets)
            passes = data if cut is None or cut > len(data) else data[:cut]
            self.passed[direction] = (size + len(passes), packets + 1)
            if cut is None or fault is None or cut > len(data):
                return passes, None
            self._left -= 1
            self.broken += 1
            if self._left:
                self.reset_counts()
            if fault.refuse:
                self.refuse()
            return passes, fault.how

    @staticmethod
    def _room(fault: Fault | None, size: int, packets: int) -> int | None:
        """Return how many bytes of the next packet pass before the break; None: all of them, and no break."""
        if fault is None:
            return None
        if fault.packets is not None:
            return 0 if packets >= fault.packets else None
        return max(0, (fault.bytes or 0) - size)

    def _wait_while_stalled(self) -> None:
        while self._stalled.is_set():
            if self._closed.is_set():
                raise ConnectionAbortedError
            time.sleep(_TICK)


class _Connection:
    """Both sockets of a connection through the proxy."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.broken = False
        self._ends = (client, server)
        self._halves = 2
        self._lock = threading.Lock()

    def end(self, *, reset: bool) -> None:
        """Close both sides; the threads that read from them find an end."""
        self.broken = True  # first, so that who wakes up from reading does not take it for an end of file
        for end in self._ends:
            _discard(end, reset=reset)

    def half_done(self) -> bool:
        """Note that one direction has ended; when it was the second, close, and return True."""
        with self._lock:
            self._halves -= 1
            if self._halves:
                return False
        self.end(reset=False)
        return True


def _discard(end: socket.socket, *, reset: bool) -> None:
    """Close a socket at once, with a reset or with an end of file, also while another thread reads from it."""
    with suppress(OSError):
        if reset:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        # A reader must wake up, since the kernel closes a socket when nobody is in it any more.
        end.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
    end.close()
