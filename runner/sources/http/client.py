"""Requests that wait their turn, are repeated when that may help, and end in time and within bounds.

Repeated are lost connections, time limits, cut bodies, and the answers 408, 425, 429 and 5xx: after the time that
`Retry-After` asks for (RFC 9110, 10.2.3), else after a random one (full jitter, see `runner.retry`).
"""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import anyio
import anyio.to_thread

from runner.clock import utc_now
from runner.errors import SourceBusy, SourceDenied, SourceError, SourceUnavailable
from runner.extras import install_command
from runner.logs import get_logger
from runner.retry import Backoff
from runner.sources.http.access import Access, origin
from runner.sources.http.arguments import Patience
from runner.sources.http.pages import FIRST_BYTES
from runner.version import __version__

if TYPE_CHECKING:
    import httpx2

_logger = get_logger("sources.http")

SOURCE = "source http"
"""How errors call it."""

MAX_REDIRECTS = 5
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_DONE = {200, 203, 204}


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer: the URL it came from, the whole unpacked body, the links of its header by `rel`."""

    url: str
    status: int
    content_type: str
    body: bytes
    links: Mapping[str, str]


class _Passing(Exception):
    """An attempt that failed in a way that may pass. `wait`: seconds that the server asks for, None: not said."""

    def __init__(self, error: SourceError, wait: float | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.wait = wait


class Client:
    """Gets URLs of one origin, one at a time. Made by `open_client`."""

    def __init__(self, http: httpx2.AsyncClient, access: Access, patience: Patience) -> None:
        self._http = http
        self._access = access
        self._patience = patience
        self._backoff = Backoff(maximum=patience.max_wait)
        self._next_at = -math.inf

    async def get(self, url: str, subject: str) -> Answer:
        """Return the answer to a GET; `subject` names it in errors ("page 3").

        Raises `SourceDenied` for 401 and 403, `SourceBusy` and `SourceUnavailable` when waiting did not help,
        `SourceError` for every other answer that brings nothing.
        """
        give_up = anyio.current_time() + self._patience.retry_for
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._attempt(url, subject)
            except _Passing as passing:
                wait = self._backoff.delay(attempt)
                if passing.wait is not None:
                    wait = passing.wait + self._backoff.delay(1)
                    if passing.wait > self._patience.max_wait:
                        raise self._asks_too_much(passing) from None
                if attempt >= self._patience.attempts or anyio.current_time() + wait > give_up:
                    raise self._in_vain(passing.error, attempt) from None
                _logger.warning("%s; asked again in %.1f s", passing.error, wait)
            await anyio.sleep(wait)

    async def _attempt(self, url: str, subject: str) -> Answer:
        """Ask once, and follow redirects within the origin."""
        import httpx2

        place = f"{subject}, {self._access.shown(url)}"
        start = origin(url)
        try:
            with anyio.fail_after(self._patience.timeout):
                for _ in range(MAX_REDIRECTS):
                    answer = await self._once(url, place)
                    if isinstance(answer, Answer):
                        return answer
                    url = urljoin(url, answer)
                    if origin(url) != start:
                        text = f"{place}: redirects to another host ({self._access.shown(url)}); not followed"
                        raise self._error(SourceError, text)
        except (TimeoutError, httpx2.TimeoutException):
            text = f"{place}: no complete answer within request_timeout {self._patience.timeout:g} s"
            raise _Passing(self._error(SourceUnavailable, text)) from None
        except (httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.DecodingError) as error:
            text = f"{place}: {type(error).__name__}: {error}"
            if "CERTIFICATE_VERIFY_FAILED" in text:  # the client hands on no more of it than the text
                raise self._error(SourceError, text) from None
            raise _Passing(self._error(SourceUnavailable, text)) from None
        except (httpx2.RequestError, httpx2.InvalidURL, ValueError) as error:
            raise self._error(SourceError, f"{place}: {type(error).__name__}: {error}") from None
        raise self._error(SourceError, f"{place}: more than {MAX_REDIRECTS} redirects")

    async def _once(self, url: str, place: str) -> Answer | str:
        """Send one request, in its turn; a str is where it redirects to."""
        await self._turn()
        async with self._http.stream("GET", url) as response:
            status = response.status_code
            if status in _REDIRECTS and "location" in response.headers:
                return str(response.headers["location"])
            if status not in _DONE:
                raise await self._refusal(response, place)
            body = await self._body(response, place)
            links = {str(rel): link["url"] for rel, link in response.links.items()}
            return Answer(url, status, response.headers.get("content-type", ""), body, links)

    async def _turn(self) -> None:
        """Wait until the rate limit allows a request."""
        if self._patience.spacing:
            await anyio.sleep_until(self._next_at)
            self._next_at = anyio.current_time() + self._patience.spacing

    async def _body(self, response: httpx2.Response, place: str) -> bytes:
        """Read the whole unpacked body, or what there is of it at the limit."""
        pieces: list[bytes] = []
        size = 0
        async for piece in response.aiter_bytes():
            pieces.append(piece)
            size += len(piece)
            if size > self._patience.max_bytes:
                text = f"{place}: the page is larger than max_bytes {self._patience.max_bytes:,}"
                raise self._error(SourceError, text)
        return b"".join(pieces)

    async def _refusal(self, response: httpx2.Response, place: str) -> Exception:
        """Return what an answer without a page is: an error for good, or one that may pass."""
        status, wait = response.status_code, _asked_wait(response.headers.get("retry-after"))
        text = f"{place}: {status} {response.reason_phrase}{await _said(response)}"
        if status == 429 or (status == 403 and wait is not None):
            return _Passing(self._error(SourceBusy, text), wait)
        if status in (401, 403):
            return self._error(SourceDenied, text)
        if status in _PASSING:
            return _Passing(self._error(SourceUnavailable, text), wait)
        return self._error(SourceUnavailable if status >= 500 else SourceError, text)

    def _asks_too_much(self, passing: _Passing) -> SourceError:
        text = f"{passing.error.message}; it asks to wait {passing.wait:,.0f} s, max_wait is"
        return self._error(type(passing.error), f"{text} {self._patience.max_wait:g} s")

    def _in_vain(self, error: SourceError, attempt: int) -> SourceError:
        tries = "1 attempt" if attempt == 1 else f"{attempt} attempts"
        return self._error(type(error), f"{error.message} ({tries})")

    def _error(self, kind: type[SourceError], text: str) -> SourceError:
        """Return an error in which no secret stands. What the client raised is no cause of it: it may show one."""
        return kind(SOURCE, self._access.redact(text))


@asynccontextmanager
async def open_client(
    access: Access, url: str, headers: Mapping[str, str], patience: Patience
) -> AsyncIterator[Client]:
    """Open a client for the origin of `url`, and close it and its connections in the end.

    Raises `SourceError` when the extra `http` is not installed.
    """
    # Import and certificates take a good tenth of a second: not on the loop.
    transport = await anyio.to_thread.run_sync(_transport, access, url, abandon_on_cancel=True)
    import httpx2

    async with httpx2.AsyncClient(
        transport=transport,
        headers={"Accept": "application/json", "User-Agent": f"run-pipeline/{__version__}", **headers},
        timeout=patience.timeout,
    ) as http:
        yield Client(http, access, patience)


def _transport(access: Access, url: str) -> Any:
    try:
        import httpx2
    except ModuleNotFoundError as error:
        raise SourceError(SOURCE, "httpx2 is not installed", hint=install_command("httpx2")) from error
    if origin(url)[0] != "https":
        # Reading certificates takes longer than some whole jobs. Without them no TLS connection is ever trusted.
        return access.transport(url, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    if not access.ca_file:
        return access.transport(url, httpx2.create_ssl_context())
    try:
        return access.transport(url, ssl.create_default_context(cafile=access.ca_file))
    except OSError as error:  # ssl.SSLError is one
        raise SourceError(SOURCE, f"ca_file {access.ca_file}: {error.strerror or error}") from error


def _asked_wait(value: str | None) -> float | None:
    """Read Retry-After: seconds, or an HTTP date. None when it says nothing that can be understood."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return max(0.0, _seconds_until(moment))


def _seconds_until(moment: datetime) -> float:
    return (moment - utc_now()).total_seconds()


async def _said(response: httpx2.Response) -> str:
    """Return the first bytes of an answer that is no page, for people."""
    said = b""
    async for piece in response.aiter_bytes():
        said += piece
        if len(said) >= FIRST_BYTES:
            break
    return f", it says {shown_bytes(said)}" if said.strip() else ""


def shown_bytes(body: bytes) -> str:
    """Return the first bytes of a body with everything escaped that is no plain character."""
    shown = repr(body[:FIRST_BYTES])[1:]
    return f"{shown}…" if len(body) > FIRST_BYTES else shown
