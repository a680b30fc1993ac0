"""The proxy of the tests breaks connections where it was told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.servers.tcp_proxy import Break, Fault, TcpProxy

ProxyTo = Callable[[int], TcpProxy]


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back what it gets, on a port of loopback."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while data := connection.recv(1000):
                connection.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def client(proxy: TcpProxy) -> socket.socket:
    """Connect."""
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def ask(connection: socket.socket, text: bytes) -> bytes:
    """Send, and read until as much has come back, or the end."""
    connection.sendall(text)
    answer = b""
    while len(answer) < len(text) and (part := connection.recv(1000)):
        answer += part
    return answer


def test_it_passes_and_counts(echo: int, proxy_to: ProxyTo) -> None:
    """Without a fault everything passes."""
    proxy = proxy_to(echo)
    with client(proxy) as connection:
        assert [ask(connection, text) for text in (b"one", b"three")] == [b"one", b"three"]
    assert proxy.passed == {"to_server": (8, 2), "to_client": (8, 2)}
    assert proxy.connections == 1


def test_it_cuts_after_a_byte(echo: int, proxy_to: ProxyTo) -> None:
    """The rest of the packet does not pass; the next connection works."""
    proxy = proxy_to(echo)
    proxy.fail(Fault(Break.CUT, "to_client", bytes=5))
    with client(proxy) as connection:
        assert ask(connection, b"one") == b"one"
        assert ask(connection, b"three") == b"th"
        assert connection.recv(10) == b""
    with client(proxy) as connection:
        assert ask(connection, b"again") == b"again"
    assert proxy.broken == 1


def test_it_resets_before_a_packet(echo: int, proxy_to: ProxyTo) -> None:
    """Twice, as told, each after a packet; the third connection works."""
    proxy = proxy_to(echo)
    proxy.fail(Fault(Break.RESET, "to_server", packets=1, times=2))
    for _ in range(2):
        with client(proxy) as connection:
            assert ask(connection, b"one") == b"one"
            with pytest.raises(ConnectionResetError):
                ask(connection, b"two")
    with client(proxy) as connection:
        assert [ask(connection, text) for text in (b"one", b"two")] == [b"one", b"two"]


def test_it_stalls_until_healed(echo: int, proxy_to: ProxyTo) -> None:
    """Nothing is lost by a stall."""
    proxy = proxy_to(echo)
    proxy.fail(Fault(Break.STALL, "to_server", bytes=2))
    with client(proxy) as connection:
        connection.sendall(b"one")
        connection.settimeout(0.1)
        received = b""
        with suppress(TimeoutError):
            while len(received) < 3:
                received += connection.recv(3)
        assert received in (b"", b"o", b"on")
        proxy.heal()
        connection.settimeout(5)
        while len(received) < 3:
            received += connection.recv(3)
        assert received == b"one"
        assert ask(connection, b"two") == b"two"


def test_it_refuses_until_healed(echo: int, proxy_to: ProxyTo) -> None:
    """Nobody listens; what is open goes on, until it is broken too."""
    proxy = proxy_to(echo)
    with client(proxy) as connection:
        assert ask(connection, b"one") == b"one"
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            client(proxy)
        assert ask(connection, b"two") == b"two"
        proxy.break_now()
        with pytest.raises(ConnectionResetError):
            ask(connection, b"three")
    proxy.heal()
    with client(proxy) as connection:
        assert ask(connection, b"four") == b"four"
