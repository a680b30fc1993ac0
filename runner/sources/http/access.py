"""Where an API is and what it wants to be told secretly: what `[connections.NAME]` says.

The secrets stand in one place, the transport, which puts them into requests to the API's own origin (scheme, host and
port) and into no others. Nothing above it knows them, so no URL in a log line or an error can show one.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from runner.redaction import MASK, Redactor, secret_values
from runner.settings import Connection

if TYPE_CHECKING:
    import httpx2

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Access:
    """The URL that paths begin with, secret headers and query parameters, a proxy, and whose certificates count."""

    base_url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    proxy: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    redact: Redactor = field(default_factory=Redactor, repr=False)

    @classmethod
    def of(cls, connection: Connection | None) -> Access:
        """Read a connection: base_url, token, user and password, headers, params, proxy, ca_file; None: no secrets.

        Raises `ValueError` for one that does not say where the API is, or who we are in two ways.
        """
        if connection is None:
            return cls()
        known = {name: _revealed(value) for name, value in (connection.model_extra or {}).items()}
        base_url = known.get("base_url")
        if not isinstance(base_url, str) or urlsplit(base_url).scheme not in _DEFAULT_PORTS:
            raise ValueError('the connection has no base_url; expected base_url = "https://…"')
        base_url, known = _without_user(base_url, known)
        redactor = Redactor()
        redactor.learn(secret_values(connection))
        headers = {**_mapping("headers", known), **_authorization(known)}
        redactor.learn(
            [*headers.values(), *_mapping("params", known).values(), str(known.get("password", ""))]
        )
        params, proxy, ca_file = _mapping("params", known), known.get("proxy"), known.get("ca_file")
        return cls(base_url, headers, params, proxy, ca_file, redactor)

    def url(self, path: str) -> str:
        """Return the URL of a path below `base_url`, or a path that is a URL itself. Raises `ValueError`."""
        if urlsplit(path).scheme in _DEFAULT_PORTS:
            if "@" in urlsplit(path).netloc:
                raise ValueError("path has a user in it; expected a connection with user and password")
            if self.base_url and origin(path) != origin(self.base_url):
                raise ValueError("path leads to another host than the connection's base_url")
            return path
        if not self.base_url:
            raise ValueError(f"path {path!r} without a connection; expected a whole URL, or connection: NAME")
        return f"{self.base_url.rstrip('/')}/{path.lstrip('/')}" if path else self.base_url

    def shown(self, url: str) -> str:
        """Return a URL as it may stand in a message: without a password, values of secret parameters masked."""
        parts = urlsplit(url)
        query = "&".join(
            f"{quote(name)}={MASK if self._is_secret(name) else quote(value, safe=':/,')}"
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
        )
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        return self.redact(f"{shown}?{query}" if query else shown)

    def transport(self, url: str, ssl_context: Any) -> httpx2.AsyncBaseTransport:
        """Return what sends requests, and tells the secrets to the origin of `url` only."""
        import httpx2

        own, access = origin(url), self

        class Sealing(httpx2.AsyncHTTPTransport):
            async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
                if origin(str(request.url)) != own:
                    raise httpx2.UnsupportedProtocol("not the host of this source")
                sealed = httpx2.Request(
                    request.method,
                    request.url.copy_merge_params(dict(access.params)) if access.params else request.url,
                    headers=[*_others(request.headers.raw, access.headers), *_raw(access.headers)],
                    stream=request.stream,
                    extensions=request.extensions,
                )
                return await super().handle_async_request(sealed)

        limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1)
        return Sealing(verify=ssl_context, limits=limits, proxy=self.proxy)

    def _is_secret(self, name: str) -> bool:
        word = name.lower().replace("-", "_")
        return name in self.params or "sig" in word or any(part in word for part in Connection.secret_words)


def origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of a URL. Raises `ValueError` for a port that is none."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(parts.scheme)


def _without_user(base_url: str, known: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return a URL without user and password, which become those of the connection: clients log whole URLs."""
    parts = urlsplit(base_url)
    if parts.password is None:
        return base_url, known
    told = {"user": unquote(parts.username or ""), "password": unquote(parts.password)}
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), {**told, **known}


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("utf-8")) for name, value in headers.items()]


def _others(raw: list[tuple[bytes, bytes]], headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return the headers of a request that no secret one replaces."""
    secret = {name.lower().encode("ascii") for name in headers}
    return [(name, value) for name, value in raw if name.lower() not in secret]


def _authorization(known: Mapping[str, Any]) -> dict[str, str]:
    """Return the header Authorization of a token, or of user and password."""
    token, password = known.get("token"), known.get("password")
    if token and password:
        raise ValueError("the connection has a token and a password; expected one of them")
    if token:
        return {"Authorization": f"Bearer {token}"}
    if password:
        pair = f"{known.get('user', '')}:{password}".encode()
        return {"Authorization": f"Basic {b64encode(pair).decode('ascii')}"}
    return {}


def _mapping(name: str, known: Mapping[str, Any]) -> dict[str, str]:
    value = known.get(name, {})
    if not isinstance(value, dict):
        raise ValueError(f"{name} of the connection is no table; expected [connections.NAME.{name}]")  # noqa: TRY004
    return {key: str(item) for key, item in value.items()}


def _revealed(value: Any) -> Any:
    """Return a setting with its secrets in the clear."""
    if hasattr(value, "get_secret_value"):
        return value.get_secret_value()
    if isinstance(value, dict):
        return {key: _revealed(item) for key, item in value.items()}
    return value
