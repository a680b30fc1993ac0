"""The socket and the server, up to a signal."""

from __future__ import annotations

import contextlib
import errno
import secrets
import socket
from collections.abc import Callable, Iterator

import anyio
import anyio.to_thread
import uvicorn

from runner.cli.interruption import Interruption
from runner.cli.page.reading import Reading
from runner.cli.signals import Interrupted, signals
from runner.cli.ui.app import Ui
from runner.cli.ui.pages import Pages
from runner.errors import UsageError

GRACE_S = 3
"""Seconds that open connections have to end."""


class _Server(uvicorn.Server):
    """uvicorn without handlers of its own: the command line has them (`runner.cli.signals`)."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises `UsageError` where the port is taken or the address is not this machine's."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except socket.gaierror as error:
        raise UsageError(f"{host!r} is no address: {error.strerror}", hint="--host 127.0.0.1") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"port {port} is taken", hint="--port 0 takes a free one") from error
        raise UsageError(f"cannot listen on {host} port {port}: {error.strerror}") from error


def serve(
    reading: Reading,
    redact: Callable[[str], str],
    host: str,
    listener: socket.socket,
    ready: Callable[[str], None],
) -> None:
    """Serve until a signal comes. `ready` is told the address to open, with the token.

    Raises `Interrupted` at the end, as the signal was.
    """
    port = listener.getsockname()[1]
    token = secrets.token_urlsafe(24)
    closing: list[anyio.Event] = []
    pages = Pages(reading, redact)
    ui = Ui(pages, lambda: closing[0])
    app = ui.guarded(token=token, cookie=f"run_pipeline_ui_{port}", host=host)
    config = uvicorn.Config(
        app, lifespan="off", log_config=None, access_log=False, server_header=False, proxy_headers=False, ws="none",
        http="h11", timeout_graceful_shutdown=GRACE_S,
    )  # fmt: skip
    server = _Server(config)

    async def until_signal(interruption: Interruption) -> None:
        closing.append(anyio.Event())

        def end() -> None:
            closing[0].set()
            server.should_exit = True

        interruption.bind(end)
        await anyio.to_thread.run_sync(
            pages.overview().draw
        )  # the first look costs most: not when somebody waits for it
        ready(f"http://{_shown(host)}:{port}/?token={token}")
        await server.serve(sockets=[listener])

    with Interruption(grace=GRACE_S + 1) as interruption:
        anyio.run(until_signal, interruption, backend="asyncio")
    raise Interrupted(signals.received or 0)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
