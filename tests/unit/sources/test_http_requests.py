"""`source: http`: requests that are repeated, limited and refused, and secrets that stay with their host."""

from __future__ import annotations

import gc
import json
import logging
import socket
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from blockbuster import blockbuster_ctx

from runner.errors import SourceBusy, SourceDenied, SourceError, SourceUnavailable, is_retryable
from runner.settings import Connection
from runner.sources.http import records
from tests.servers.http_api import Api, Reply, Request, numbered_pages, serving

Answer = Callable[[Request], Reply]
OK = Reply([{"id": 1}])


def read(api: Api, path: str = "", **arguments: Any) -> list[dict[str, Any]]:
    """Read all records, on a loop that must not be blocked."""

    async def collect() -> list[dict[str, Any]]:
        with blockbuster_ctx("runner"):
            where = path if "connection" in arguments else api.url + path
            return [row async for row in records(path=where, **arguments)]

    return anyio.run(collect)


def first(*replies: Reply) -> Answer:
    """Answer with these in turn, then with a good page."""
    left: Iterator[Reply] = iter(replies)
    return lambda _: next(left, OK)


def gaps(api: Api) -> list[float]:
    """Return the seconds between requests, as the server measured them."""
    times = [request.at for request in api.requests]
    return [later - earlier for earlier, later in pairwise(times)]


# --- again ---


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=500), Reply(status=502), Reply(status=503), Reply(status=429, headers={"Retry-After": "0"}),
        Reply(b"[", cut=10), Reply(b"no gzip", headers={"Content-Encoding": "gzip"}), Reply([], hang=0.3),
        Reply([], wait=0.3),
    ],
    ids=["500", "502", "503", "429", "cut body", "no gzip", "slow body", "slow answer"],
)  # fmt: skip
def test_what_may_pass_is_tried_again(reply: Reply) -> None:
    with serving(first(reply, reply)) as api:
        assert read(api, request_timeout=0.1, max_wait="50ms") == [{"id": 1}]
    assert len(api.requests) == 3


def test_retry_after_in_seconds_is_honoured() -> None:
    with serving(first(Reply(status=429, headers={"Retry-After": "1"}))) as api:
        assert read(api, max_wait="2s") == [{"id": 1}]
    (gap,) = gaps(api)
    assert 1.0 <= gap < 2.5  # up to half a second of it is jitter


def test_retry_after_as_a_date_is_honoured() -> None:
    at = (datetime.now(UTC) + timedelta(seconds=1.2)).replace(
        microsecond=0
    )  # dates of HTTP are whole seconds
    reply = Reply(status=503, headers={"Retry-After": format_datetime(at, usegmt=True)})
    with serving(first(reply)) as api:
        assert read(api) == [{"id": 1}]
        assert datetime.now(UTC) >= at
    assert len(api.requests) == 2


@pytest.mark.parametrize("value", ["-1", "soon", "1.5", "", "Mon, 99 Foo 2026"])
def test_a_retry_after_that_says_nothing_counts_as_none(value: str) -> None:
    with serving(first(Reply(status=429, headers={"Retry-After": value}))) as api:
        assert read(api, max_wait="20ms") == [{"id": 1}]


@pytest.mark.parametrize("status", [429, 403])
def test_a_wait_that_is_too_long_is_no_wait(status: int) -> None:
    with serving(lambda _: Reply(status=status, headers={"Retry-After": "3600"})) as api:
        with pytest.raises(SourceBusy) as caught:
            read(api)
        assert len(api.requests) == 1
    assert "it asks to wait 3,600 s, max_wait is 60 s" in str(caught.value)
    assert is_retryable(caught.value)


def test_the_number_of_attempts_is_bounded() -> None:
    with serving(lambda _: Reply({"message": "down"}, status=503)) as api:
        with pytest.raises(SourceUnavailable) as caught:
            read(api, "/items", retries=2, max_wait="10ms")
        assert len(api.requests) == 3
    assert str(caught.value) == (
        f'source http: page 1, {api.url}/items: 503 Service Unavailable, it says \'{{"message": "down"}}\' (3 attempts)'
    )


def test_the_time_for_attempts_is_bounded() -> None:
    with serving(lambda _: Reply(status=429, headers={"Retry-After": "1"})) as api:
        started = time.monotonic()
        with pytest.raises(SourceBusy):
            read(api, retry_for="500ms")
        assert time.monotonic() - started < 0.9
    assert len(api.requests) == 1


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(
        SourceUnavailable, match=r"page 1, http://127.0.0.1:\d+/x: ConnectError: .*2 attempts"
    ):
        anyio.run(_one, f"http://127.0.0.1:{port}/x")


async def _one(url: str) -> None:
    async for _ in records(path=url, retries=1, max_wait="10ms"):
        raise AssertionError("a row from nowhere")


def test_an_answer_that_drips_ends_at_its_time_limit() -> None:
    """A read time-out of the client starts anew with each byte."""
    with serving(lambda _: Reply(b" " * 1000, drip=0.02)) as api, pytest.raises(SourceUnavailable) as caught:
        read(api, retries=0, request_timeout="200ms")
    assert "no complete answer within request_timeout 0.2 s" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, SourceDenied), (403, SourceDenied), (400, SourceError), (404, SourceError), (410, SourceError),
     (206, SourceError), (501, SourceUnavailable)],
)  # fmt: skip
def test_what_will_not_pass_is_told_at_once(status: int, kind: type[SourceError]) -> None:
    with serving(lambda _: Reply(b"no\x1b[1m", status=status)) as api:
        with pytest.raises(SourceError) as caught:
            read(api, "/things?page=2&access_token=abc")
        assert len(api.requests) == 1
    assert type(caught.value) is kind
    assert f"page 1, {api.url}/things?page=2&access_token=***: {status} " in str(caught.value)
    assert str(caught.value).endswith("it says 'no\\x1b[1m'")


# --- limits ---


def test_the_rate_is_kept() -> None:
    with serving(numbered_pages(3)) as api:
        read(api, pagination="page", rate_limit="20/s")
    assert len(api.requests) == 4
    # Three times 0.05, less what the first request took longer to arrive than the last.
    assert sum(gaps(api)) > 0.1


def test_one_connection_serves_all_pages_and_is_closed() -> None:
    with serving(numbered_pages(5)) as api:
        before = len(_open_sockets())
        read(api, pagination="page")
        assert len(api.connections) == 1
        assert len(_open_sockets()) <= before + 1  # the server's end may live a moment longer


def _open_sockets() -> list[Any]:
    import psutil

    return [one for one in psutil.Process().net_connections("tcp") if one.status == psutil.CONN_ESTABLISHED]


# --- redirects ---


def test_redirects_within_the_host_are_followed() -> None:
    def answer(request: Request) -> Reply:
        return OK if request.path == "/b" else Reply(status=302, headers={"Location": "/b"})

    with serving(answer) as api:
        assert read(api, "/a") == [{"id": 1}]


def test_redirects_in_circles_end() -> None:
    with serving(lambda _: Reply(status=302, headers={"Location": "/a"})) as api:
        with pytest.raises(SourceError, match="more than 5 redirects"):
            read(api, "/a")
        assert len(api.requests) == 5


# --- secrets ---

KNOWN = {
    "token": "tok-s3cret-1",
    "headers": {"X-Api-Key": "hdr-s3cret-2"},
    "params": {"api_key": "par-s3cret-3"},
}


def connected(api: Api, **more: Any) -> Connection:
    return Connection(base_url=f"{api.url}/v1/", **more)  # type: ignore[call-arg]


def test_a_connection_says_where_and_who() -> None:
    with serving(numbered_pages(1)) as api:
        rows = read(
            api, "items", connection=connected(api, **KNOWN), pagination="page", headers={"x-api-key": "no"}
        )
    assert len(rows) == 2
    for request in api.requests:
        assert request.path == "/v1/items"
        assert request.headers["authorization"] == "Bearer tok-s3cret-1"
        assert request.headers["x-api-key"] == "hdr-s3cret-2"
        assert request.query["api_key"] == "par-s3cret-3"


def test_user_and_password() -> None:
    with serving(numbered_pages(1)) as api:
        read(api, connection=connected(api, user="ada", password="pw"))
    assert api.requests[0].headers["authorization"] == "Basic YWRhOnB3"


def test_a_password_in_the_url_is_taken_out_of_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(numbered_pages(1)) as api:
        url = api.url.replace("//", "//ada:s3cret%40@")
        read(api, "items", connection=Connection(base_url=url))  # type: ignore[call-arg]
        with pytest.raises(SourceError, match="path has a user in it"):
            anyio.run(_one, f"{url}/items")
    assert api.requests[0].headers["authorization"] == "Basic YWRhOnMzY3JldEA="
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("token", ["two-s3cret\nlines", "s3cret-\x00", "s3cret-é"])
def test_a_secret_that_cannot_be_sent_is_not_shown(token: str) -> None:
    with serving(lambda _: Reply(status=404)) as api, pytest.raises(SourceError) as caught:
        read(api, connection=connected(api, token=token), retries=0)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def _elsewhere(answer: str, api: Api, other: Api) -> Reply:
    if answer == "redirect":
        return Reply(status=307, headers={"Location": f"{other.url}/v1/items"})
    if answer == "link":
        return Reply([], headers={"Link": f'<{other.url}/v1/items>; rel="next"'})
    return Reply([], headers={"Link": f'<https://127.0.0.1:{api.server_port}/v1/items>; rel="next"'})


@pytest.mark.parametrize("answer", ["redirect", "link", "other scheme"])
def test_no_secret_goes_to_another_host(answer: str) -> None:
    with serving(numbered_pages(1)) as other, serving(lambda _: _elsewhere(answer, api, other)) as api:
        with pytest.raises(SourceError, match=r"(leads|redirects) to another host"):
            read(api, "items", connection=connected(api, **KNOWN), pagination="link")
        assert other.requests == []
        assert len(api.requests) == 1


def test_a_path_to_another_host_is_refused() -> None:
    with serving(numbered_pages(1)) as other, serving(numbered_pages(1)) as api:
        with pytest.raises(SourceError, match="path leads to another host than the connection's base_url"):
            read(api, f"{other.url}/items", connection=connected(api, **KNOWN))
        assert other.requests == []


@pytest.mark.parametrize("status", [200, 401, 404, 500])
def test_no_secret_stands_in_errors_or_logs(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Also when the server says back all that it was told."""

    def answer(request: Request) -> Reply:
        return Reply(f"{request.headers} {request.query}".encode(), status=status)

    caplog.set_level(logging.DEBUG)
    with serving(answer) as api, pytest.raises(SourceError) as caught:
        read(api, "items", connection=connected(api, **KNOWN), retries=0)
    told = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(caught.value.__dict__)
    assert "page 1" in told
    assert "s3cret" not in told


# --- TLS ---


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for localhost that is its own authority, in one file."""
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", file, "-out", f"{file}.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


def test_only_certificates_that_are_trusted_count(certificate: Path) -> None:
    with serving(numbered_pages(1), certificate=certificate) as api:
        url = f"https://localhost:{api.server_port}"
        trusted = Connection(base_url=url, token="t0ken", ca_file=f"{certificate}.crt")  # type: ignore[call-arg]
        assert len(read(api, connection=trusted)) == 2
        asked = len(api.requests)
        with pytest.raises(SourceError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            read(api, connection=Connection(base_url=url, token="t0ken"))  # type: ignore[call-arg]
        assert type(caught.value) is SourceError
        with pytest.raises(SourceError, match=r"ca_file none\.pem: No such file or directory"):
            read(api, connection=Connection(base_url=url, ca_file="none.pem"))  # type: ignore[call-arg]
        assert len(api.requests) == asked


# --- cancellation ---


SLOW = {
    "in the answer": Reply(OK.body, wait=30),
    "in the body": Reply(OK.body, hang=30),
    "in a wait": Reply(status=503, headers={"Retry-After": "30"}),
}


@pytest.mark.parametrize("reply", SLOW.values(), ids=SLOW)
def test_cancellation_ends_it_within_half_a_second(reply: Reply) -> None:
    with serving(lambda _: reply) as api:

        async def main() -> float:
            with anyio.move_on_after(0.2) as scope, blockbuster_ctx("runner"):
                async for _ in records(path=api.url):
                    raise AssertionError("a row too early")
            return anyio.current_time() - scope.deadline

        assert anyio.run(main) < 0.5
    assert len(api.requests) == 1


def test_the_loop_goes_on_while_a_large_page_is_read() -> None:
    rows = [{"id": number, "name": f"name {number}", "tags": ["a", "b"]} for number in range(60_000)]
    body = json.dumps({"data": {"items": rows}}).encode()
    del rows

    async def main() -> tuple[int, float]:
        longest, count = 0.0, 0

        async def tick() -> None:
            nonlocal longest
            while True:
                before = time.thread_time()
                await anyio.sleep(0.001)
                longest = max(longest, time.thread_time() - before)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick)
            async for _ in records(path=api.url, records="data.items"):
                count += 1
            tasks.cancel_scope.cancel()
        return count, longest

    with serving(lambda _: Reply(body)) as api:
        gc.disable()  # its passes over everything that the whole test run keeps are not what is measured
        try:
            count, longest = anyio.run(main)
        finally:
            gc.enable()
    assert count == 60_000
    assert longest < 0.05  # seconds of this thread's own work between two turns of the loop
