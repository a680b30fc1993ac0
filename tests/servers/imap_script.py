"""A mail server on loopback that says what its test tells it to, right or wrong. What it heard is kept.

One thread a connection. A script is a function of the words of a command: it returns the untagged lines of the answer
and the status, for example `b"* 1 EXISTS\\r\\n", "OK done"`; None closes the connection.
"""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Answer = tuple[bytes, str] | None
Script = Callable[[str], Answer]


class ImapScript(socketserver.ThreadingTCPServer):
    """The server. `heard`: all commands without their tags; `connections`: how many there were."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, script: Script, greeting: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.script = script
        self.greeting = greeting
        self.heard: list[str] = []
        self.connections = 0

    def connection(self, **more: Any) -> dict[str, Any]:
        """Return the settings of a connection."""
        host, port = self.server_address[:2]
        return {"host": host, "port": port, "user": "u", "password": "p", "tls": "none", "timeout": 5, **more}


class _Connection(socketserver.StreamRequestHandler):
    server: ImapScript

    def handle(self) -> None:
        """Greet, and answer commands until the client or the script ends it."""
        self.server.connections += 1
        self.wfile.write(self.server.greeting)
        while line := self.rfile.readline():
            tag, _, command = line.decode().strip().partition(" ")
            self.server.heard.append(command)
            answer = self.server.script(command) or usual(command)
            if answer == HANG_UP:
                return
            status = answer[1] if " " in answer[1] else f"{answer[1]} done"
            self.wfile.write(answer[0] + f"{tag} {status}\r\n".encode())


HANG_UP: tuple[bytes, str] = (b"", "")
"""Closes the connection."""


def usual(command: str) -> tuple[bytes, str]:
    """Answer as a server with an INBOX of one message, UID 7, of 5 bytes."""
    word = " ".join(command.upper().split()[:2])
    if word.startswith("CAPABILITY"):
        return b"* CAPABILITY IMAP4rev1\r\n", "OK"
    if word.startswith("EXAMINE"):
        return b"* 1 EXISTS\r\n* OK [UIDVALIDITY 3] fine\r\n", "OK [READ-ONLY] done"
    if word == "UID SEARCH":
        return b"* SEARCH 7\r\n", "OK"
    if word == "UID FETCH" and "BODY" in command:
        return b"* 1 FETCH (UID 7 BODY[]<0> {5}\r\nhello)\r\n", "OK"
    if word == "UID FETCH":
        date = b'INTERNALDATE "22-Nov-2026 01:02:03 +0000"'
        return b"* 1 FETCH (UID 7 FLAGS () " + date + b" RFC822.SIZE 5)\r\n", "OK"
    return b"", "OK"


@contextmanager
def imap_script(script: Script, greeting: bytes = b"* OK ready\r\n") -> Iterator[ImapScript]:
    """Serve in a thread while the context is open. A script answers None for what is as usual."""
    with ImapScript(script, greeting) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
