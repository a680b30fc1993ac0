"""Connections of a project's functions, and what in them is a secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SecretStr


class Connection(BaseModel):
    """A named connection for functions, with free keys. What its key calls a secret is one (`SecretStr`), at
    any depth, and so is a URL with a password in it and everything that came from a secrets folder.

    Functions get it as `connection` and read attributes: `connection.host`,
    `connection.password.get_secret_value()`.
    """

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)
    secret_words: ClassVar[tuple[str, ...]] = (
        "password", "passwd", "passphrase", "token", "secret", "credential", "api_key", "apikey",
        "access_key", "private_key", "dsn", "authorization", "cookie",
    )  # fmt: skip

    def model_post_init(self, _context: Any, /) -> None:
        """Wrap secrets, so that no log line, record or traceback can show them."""
        extra = self.__pydantic_extra__ or {}
        for name, value in extra.items():
            extra[name] = _wrapped(name, value)


def sealed(value: Any) -> Any:
    """Return `value` with every leaf a `SecretStr`; flags (`token_refresh = true`) are none."""
    if isinstance(value, Mapping):
        return {key: sealed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [sealed(item) for item in value]
    return value if isinstance(value, bool | SecretStr) else SecretStr(str(value))


def _wrapped(name: str, value: Any) -> Any:
    word = name.lower().replace("-", "_")
    if word == "key" or any(secret in word for secret in Connection.secret_words):
        return sealed(value)
    if isinstance(value, str) and _has_password(value):
        return SecretStr(value)
    if isinstance(value, Mapping):
        return {key: _wrapped(str(key), item) for key, item in value.items()}
    if isinstance(value, list):
        return [_wrapped("", item) for item in value]
    return value


def _has_password(text: str) -> bool:
    """Tell whether `text` looks like `scheme://user:password@host` or `password=…` of a connection string."""
    scheme, found, rest = text.partition("://")
    if found and scheme.isascii():
        user, at, _ = rest.partition("@")
        return bool(at) and ":" in user
    return "password=" in text.lower()
