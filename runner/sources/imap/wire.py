"""A connection to a server, every wait of which ends when the step is stopped or the server is silent for too long.

A thread that is blocked in `recv` hears no stop flag. So each operation waits for `POLL` seconds at most, looks at the
flag, and goes on; TLS allows that for reading, writing and the handshake, which all continue where they were.
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
from collections.abc import Callable
from errno import EINPROGRESS
from typing import TypeVar

from runner.clock import monotonic_ns
from runner.errors import SourceError, SourceUnavailable
from runner.functions import Stopped
from runner.ports import StopFlag

POLL = 0.05
"""Seconds between two looks at the stop flag."""

_PIECE = 1 << 16

T = TypeVar("T")


class Wire:
    """A stream of bytes to `server` (its name in errors). `timeout`: seconds without a byte until it counts as gone.

    All methods raise `Stopped` once the flag is raised, and `SourceUnavailable` when the server is not there any more.
    """

    def __init__(self, server: str, timeout: float, stop: StopFlag) -> None:
        self.server = server
        self.timeout = timeout
        self._stop = stop
        self._socket: socket.socket | None = None
        self._buffer = bytearray()

    def connect(self, host: str, port: int) -> None:
        """Connect to the first address of the host that answers. Looking up the name is the one wait without polls."""
        try:
            places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise SourceUnavailable(self.server, f"the host cannot be found: {error}") from error
        for number, (family, kind, protocol, _, address) in enumerate(places, start=1):
            self._socket = socket.socket(family, kind, protocol)
            try:
                self._await_connected(self._socket, address)
            except SourceUnavailable:
                self.close()
                if number == len(places):
                    raise
            except BaseException:
                self.close()
                raise
            else:
                return

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Go on in TLS, after the certificate was verified for `host`. Raises `SourceError` for one that is not."""
        if self._buffer:  # a text before TLS that would count as one within it: an attack, or a broken server
            raise SourceError(self.server, "sent text between STARTTLS and TLS")
        plain = self._connected()
        plain.settimeout(POLL)
        secured = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        self._socket = secured
        try:
            self._patiently(secured.do_handshake, "the TLS handshake")
        except ssl.SSLCertVerificationError as error:
            text = f"its certificate is not trusted: {error.verify_message}"
            hint = "expected host as in the certificate, and its authority in ca_file if it is no public one"
            raise SourceError(self.server, text, hint=hint) from error
        except ssl.SSLError as error:
            hint = f'tls = "starttls" is for port 143, "implicit" for 993: {error.reason or error}'
            raise SourceError(self.server, "TLS failed", hint=hint) from error

    def read(self, size: int) -> bytes:
        """Read exactly `size` bytes."""
        content = bytearray(self._buffer[:size])
        del self._buffer[:size]
        while len(content) < size:
            content += self._receive(min(size - len(content), 16 * _PIECE))
        return bytes(content)

    def readline(self, limit: int) -> bytes:
        """Read up to a line end. Raises `SourceError` for a line of more than `limit` bytes."""
        looked = 0
        while (end := self._buffer.find(b"\n", looked)) < 0:
            looked = len(self._buffer)
            if looked > limit:
                raise SourceError(self.server, f"sent a line of more than {limit} bytes")
            self._buffer += self._receive(_PIECE)
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return line

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        connected, rest = self._connected(), memoryview(data)
        while rest:
            piece = rest
            rest = rest[self._guarded(lambda piece=piece: connected.send(piece), "sending") :]  # type: ignore[misc]

    def close(self) -> None:
        """Close without a word, and without waiting."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._buffer.clear()

    def _receive(self, size: int) -> bytes:
        connected = self._connected()
        data = self._guarded(lambda: connected.recv(size), "waiting for its answer")
        if not data:
            raise SourceUnavailable(self.server, "closed the connection")
        return data

    def _connected(self) -> socket.socket:
        if self._socket is None:
            raise SourceUnavailable(self.server, "the connection is closed")
        return self._socket

    def _await_connected(self, unconnected: socket.socket, address: object) -> None:
        unconnected.setblocking(False)
        problem = unconnected.connect_ex(address)  # type: ignore[arg-type]
        if problem == EINPROGRESS:
            with selectors.DefaultSelector() as selector:
                selector.register(unconnected, selectors.EVENT_WRITE)

                def ready() -> None:
                    if not selector.select(POLL):
                        raise TimeoutError

                self._patiently(ready, "connecting")
            problem = unconnected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            raise SourceUnavailable(self.server, f"cannot be reached: {os.strerror(problem)}")
        unconnected.settimeout(POLL)

    def _guarded(self, work: Callable[[], T], doing: str) -> T:
        """Wait for `work`; what a connection that breaks raises becomes `SourceUnavailable`."""
        try:
            return self._patiently(work, doing)
        except ssl.SSLError as error:
            raise SourceUnavailable(self.server, f"TLS broke off: {error.reason or error}") from error

    def _patiently(self, work: Callable[[], T], doing: str) -> T:
        """Repeat `work`, which gives up after `POLL` seconds each time, until it has done something."""
        deadline = monotonic_ns() + int(self.timeout * 1e9)
        while not self._stop.stopped:
            try:
                return work()
            except (TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if monotonic_ns() > deadline:
                    text = f"no answer for {self.timeout:g} s while {doing}"
                    raise SourceUnavailable(self.server, text) from None
            except ssl.SSLError:
                raise
            except OSError as error:
                text = f"the connection broke while {doing}: {error.strerror or error}"
                raise SourceUnavailable(self.server, text) from error
        raise Stopped
