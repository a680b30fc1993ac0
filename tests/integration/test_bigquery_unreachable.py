"""A service that is not there, or goes away in the middle: one sentence with host, port and why."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from runner.errors import WarehouseUnavailable
from runner.retry import Backoff
from runner.settings import BigQuerySettings
from runner.warehouses.bigquery import BigQueryWarehouse
from tests.servers.places import free_port
from tests.warehouse_lab import EVENTS

pytestmark = pytest.mark.asyncio

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes `close` a reset."""
CUT = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"'


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A socket that listens, whose connections the kernel takes."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield listening


async def message_of(folder: Path, **settings: Any) -> str:
    """Return what the first question to a service ends with."""
    given = BigQuerySettings(kind="bigquery", project="p", **settings)
    async with BigQueryWarehouse(given, stage_folder=folder, backoff=Backoff(0.01, 0.1)) as warehouse:
        with pytest.raises(WarehouseUnavailable) as raised:
            await warehouse.inspect([EVENTS.ref])
    return str(raised.value)


async def test_nobody_listens(tmp_path: Path) -> None:
    port = free_port()
    told = await message_of(tmp_path, endpoint=f"http://127.0.0.1:{port}")
    assert told == f"bigquery: cannot reach 127.0.0.1:{port}: Connection refused"


async def test_there_is_no_such_name(tmp_path: Path) -> None:
    """What the resolver says of it is its own affair."""
    told = await message_of(tmp_path, endpoint="http://bigquery.invalid")
    assert re.fullmatch(r"bigquery: cannot reach bigquery\.invalid:80: [A-Z][a-z -]+", told)


async def test_nobody_answers(tmp_path: Path, server: socket.socket) -> None:
    port = server.getsockname()[1]
    told = await message_of(tmp_path, endpoint=f"http://127.0.0.1:{port}", request_timeout=0.2)
    assert told == f"bigquery: no whole answer from 127.0.0.1:{port}: timed out"


@pytest.mark.parametrize(
    ("answer", "linger", "expected"),
    [
        (b"", RESET, "no whole answer from 127.0.0.1:PORT: Connection reset by peer"),
        (b"", None, "no whole answer from 127.0.0.1:PORT: Remote end closed connection without response"),
        (CUT, None, "no whole answer from the service: IncompleteRead(2 bytes read, 3 more expected)"),
    ],
)
async def test_the_connection_breaks(
    tmp_path: Path, server: socket.socket, answer: bytes, linger: bytes | None, expected: str
) -> None:
    port = server.getsockname()[1]
    threading.Thread(target=break_off, args=(server, answer, linger), daemon=True).start()
    told = await message_of(tmp_path, endpoint=f"http://127.0.0.1:{port}")
    assert told == f"bigquery: {expected.replace('PORT', str(port))}"


async def test_who_gives_out_tokens_cannot_be_reached(tmp_path: Path) -> None:
    port = free_port()
    key = tmp_path / "key.json"
    key.write_text(json.dumps(service_account(f"http://127.0.0.1:{port}/token")), encoding="utf-8")
    told = await message_of(tmp_path, credentials_file=str(key))
    assert told == f"bigquery: cannot reach 127.0.0.1:{port}: Connection refused"


def break_off(server: socket.socket, answer: bytes, linger: bytes | None) -> None:
    """Give every connection this answer and close it, until the server is closed."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        connection.recv(65536)
        connection.sendall(answer)
        if linger is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        connection.close()


def service_account(token_uri: str) -> dict[str, str]:
    """Return a key file of nobody's."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account", "project_id": "p", "private_key_id": "1", "private_key": pem.decode(),
        "client_email": "nobody@p.iam.gserviceaccount.com", "client_id": "1", "token_uri": token_uri,
    }  # fmt: skip
