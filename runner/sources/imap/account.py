"""The keys of a connection to a mail server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from pydantic import SecretStr

from runner.clock import parse_duration
from runner.errors import UsageError, did_you_mean
from runner.settings import Connection

PORTS = {"implicit": 993, "starttls": 143, "none": 143}
"""Kinds of TLS, and the port of each (RFC 8314 section 3.2, RFC 9051 section 2.1)."""

_KEYS = ("host", "port", "user", "password", "token", "tls", "ca_file", "timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where a mail server is, and as whom to log in. Either `password` or `token` (XOAUTH2) is set.

    `timeout`: seconds without a single byte after which the server counts as gone.
    """

    host: str
    port: int
    user: str
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    tls: str = "implicit"
    ca_file: str | None = None
    timeout: float = 60.0

    @classmethod
    def of(cls, connection: Connection) -> Self:
        """Check the keys of a connection. Raises `UsageError` that names the key; values of secrets are not shown."""
        keys = {name: _plain(value) for name, value in (connection.__pydantic_extra__ or {}).items()}
        for name in keys:
            if name not in _KEYS:
                near = did_you_mean(name, _KEYS)
                raise _wrong(f"unknown key {name!r}", near or f"expected {', '.join(_KEYS)}")
        if bool(keys.get("password")) == bool(keys.get("token")):
            raise _wrong("one of password and token is needed", "expected a password, or a token of OAuth 2")
        tls = _tls(keys)
        return cls(
            host=_text(keys, "host"),
            port=_port(keys.get("port", PORTS[tls])),
            user=_text(keys, "user"),
            password=str(keys.get("password") or ""),
            token=str(keys.get("token") or ""),
            tls=tls,
            ca_file=_ca_file(keys.get("ca_file")),
            timeout=_timeout(keys.get("timeout", 60.0)),
        )

    @property
    def server(self) -> str:
        """The server, for people and errors."""
        return f"imap {self.host}:{self.port}"

    @property
    def name(self) -> str:
        """The account as the head of its URLs (RFC 5092): `imap://user@host`; a port only if it is no usual one."""
        port = "" if self.port in PORTS.values() else f":{self.port}"
        return f"imap://{quote(self.user, safe='')}@{self.host}{port}"


def _plain(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _text(keys: Mapping[str, Any], name: str) -> str:
    value = keys.get(name)
    if not isinstance(value, str) or not value.strip() or any(ord(letter) < 32 for letter in value):
        raise _wrong(f"{name} is missing or no text", f'expected {name} = "…"')
    return value


def _tls(keys: Mapping[str, Any]) -> str:
    tls = keys.get("tls", "implicit")
    if tls not in PORTS:
        raise _wrong(f"tls is {tls!r}", f"expected one of {', '.join(PORTS)}")
    return str(tls)


def _port(value: Any) -> int:
    text = str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise _wrong(f"port is {value!r}", "expected a number from 1 to 65535")
    return int(text)


def _ca_file(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not Path(value).is_absolute():
        raise _wrong(f"ca_file is {value!r}", "expected an absolute path")
    if not Path(value).is_file():
        raise _wrong(f"ca_file {value} is not there", "expected a file of certificates in PEM")
    return value


def _timeout(value: Any) -> float:
    bare = isinstance(value, str) and value.strip().replace(".", "", 1).isdecimal()
    try:
        return parse_duration(float(value) if bare else value)
    except ValueError as error:
        raise _wrong(f"timeout: {error}", "of the time without an answer") from None


def _wrong(message: str, hint: str) -> UsageError:
    return UsageError(f"the connection of source imap: {message}", hint=hint)
