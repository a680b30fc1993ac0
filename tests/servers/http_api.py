"""A JSON API on loopback that does what its test scripts: pages, waits, refusals, garbage. It notes each request.

One thread a connection. What it answers is a function of the test: `Request -> Reply`.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came: its path, its query (last value of each name), its headers, and when (seconds)."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    at: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered. `body`: bytes as they are, anything else as JSON. `cut`: bytes that are promised, not sent.

    `wait`: seconds before the answer. `hang`: seconds after the headers and before the body. `drip`: seconds between
    two bytes of the body.
    """

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = 0
    wait: float = 0
    hang: float = 0
    drip: float = 0


Answer = Callable[[Request], Reply]


class Api(ThreadingHTTPServer):
    """The server. `requests` are those that came, `most_at_once` how many it answered at a time.

    `connections` are the addresses of the clients, one for each connection.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.requests: list[Request] = []
        self.connections: list[tuple[str, int]] = []
        self.most_at_once = 0
        self.stopping = threading.Event()
        self._at_once = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.server_port}"

    @contextmanager
    def counted(self, request: Request) -> Iterator[None]:
        """Count a request while it is answered."""
        with self._lock:
            self.requests.append(request)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note a connection."""
        self.connections.append(client_address)
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that went away are nothing to print."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Api

    def do_GET(self) -> None:
        """Answer as the test says."""
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        request = Request(
            parts.path, query, {k.lower(): v for k, v in self.headers.items()}, time.monotonic()
        )
        with self.server.counted(request):
            reply = self.server.answer(request)
            self.server.stopping.wait(reply.wait)
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) + reply.cut))
        self.end_headers()
        self.wfile.flush()
        self.server.stopping.wait(reply.hang)
        for piece in (body[i : i + 1] for i in range(len(body))) if reply.drip else (body,):
            self.wfile.write(piece)
            self.server.stopping.wait(reply.drip)
        self.close_connection = bool(reply.cut)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


@contextmanager
def serving(answer: Answer, *, certificate: Path | None = None) -> Iterator[Api]:
    """Serve until the block ends; over TLS with a certificate (and its key, in one file)."""
    with Api(answer) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join()


def numbered_pages(pages: int, *, rows: int = 2, wait: float = 0) -> Answer:
    """Answer `?page=N` with `rows` items, ids counting from 1; after `pages` pages the list is empty."""

    def answer(request: Request) -> Reply:
        page = int(request.query.get("page", "1"))
        items = [{"id": (page - 1) * rows + n} for n in range(1, rows + 1)] if page <= pages else []
        return Reply({"items": items}, wait=wait)

    return answer
