"""Web servers on loopback that take notifications, and that do not."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

LIMIT_S = 20


@dataclass
class Receiver:
    """A web server that takes notifications, and how it answers."""

    answer: int = 200
    on_message: Callable[[dict[str, str]], None] = lambda headers: None
    messages: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""
    came: threading.Event = field(default_factory=threading.Event)

    @property
    def events(self) -> list[str]:
        return [message["event"] for message in self.messages]

    def wait_for(self, count: int) -> None:
        """Wait until so many messages have come: the process that sends may outlive the run."""
        deadline = time.monotonic() + LIMIT_S
        while len(self.messages) < count:
            self.came.clear()
            if len(self.messages) < count and not self.came.wait(max(0, deadline - time.monotonic())):
                pytest.fail(f"{len(self.messages)} messages, expected {count}")


@contextmanager
def listening(receiver: Receiver) -> Iterator[Receiver]:
    """Open a receiver's address for as long as the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.headers.append(headers)
            receiver.messages.append(json.loads(body))
            receiver.came.set()
            receiver.on_message(headers)
            self.send_response(receiver.answer)
            if receiver.answer == 302:
                self.send_header("Location", f"{receiver.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that takes everything."""
    with listening(Receiver()) as opened:
        yield opened


@contextmanager
def silent_server() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
