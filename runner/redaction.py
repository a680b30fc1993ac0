"""Keeps secrets out of what others see: values of secret settings become `***`.

Secrets are wrapped where settings are read (`SecretStr`); this is for the ways around the wrapping, an exception
text of a driver above all. The recorder redacts events before anyone sees them, the command line everything that
it prints, as the last stage: after exceptions were rendered, so it knows a secret's usual spellings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

MASK = "***"
SHORTEST = 4
"""Shorter secrets are left alone: masking every `a` would hide nothing and make output unreadable."""


_KEYS = r"(?:ssl)?(?:password|passwd|passphrase)|oauth_client_secret"
_PASSWORDS = (
    # scheme://user:PASSWORD@host, all to the last @ of the host's part: who writes one into a password is in error.
    re.compile(r"^(?P<before>[A-Za-z][A-Za-z0-9+.-]*://[^/?#@:]*:)(?P<secret>[^@]*(?:@[^/?#@]*(?=@))*)(?=@)"),
    # …?password=PASSWORD&… of a URI.
    re.compile(rf"(?P<before>[?&](?:{_KEYS})=)(?P<secret>[^&#\s]+)", re.IGNORECASE),
    # password = 'PASSWORD' of a connection text, quotes and backslashes as in libpq.
    re.compile(
        rf"(?P<before>(?:^|[\s;])(?:{_KEYS})\s*=\s*)(?P<secret>'(?:[^'\\]|\\.)*'?|[^\s'](?:[^\s\\]|\\.)*)",
        re.IGNORECASE | re.DOTALL,
    ),
)
"""Where a password stands in a connection text or URI."""


class Redactor:
    """Replaces the secrets it was told about."""

    def __init__(self) -> None:
        self._spellings: list[str] = []

    def __bool__(self) -> bool:
        """Whether there is anything to redact."""
        return bool(self._spellings)

    def learn(self, secrets: Iterable[str]) -> None:
        """Add secret values; longer spellings are replaced first, so that no tail of one is left over."""
        known = set(self._spellings)
        for secret in secrets:
            if len(secret) >= SHORTEST:
                known.update(_spellings(secret))
        self._spellings = sorted(known, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return `text` without any secret."""
        for spelling in self._spellings:
            text = text.replace(spelling, MASK)
        return text

    def data(self, value: Any) -> Any:
        """Return JSON-ready data in which no text (nor key) holds a secret."""
        if not self._spellings:
            return value
        if isinstance(value, str):
            return self(value)
        if isinstance(value, dict):
            return {self.data(key): self.data(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.data(item) for item in value]
        return value


def secret_values(value: Any) -> Iterator[str]:
    """Yield the plain text of every secret within settings: models, mappings, sequences, to any depth. A password
    inside of one (of a URL, or a connection text) is one of its own, and the only one of what a model names in
    `only_passwords`.
    """
    if hasattr(value, "get_secret_value"):
        secret = str(value.get_secret_value())
        yield secret
        yield from passwords_in(secret)
    elif hasattr(type(value), "model_fields"):
        shown = getattr(type(value), "only_passwords", ())
        for name, item in value:
            yield from passwords_in(item.get_secret_value()) if name in shown else secret_values(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from secret_values(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from secret_values(item)


def passwords_in(text: str) -> Iterator[str]:
    """Yield the passwords in a connection text (`host=h password=p`) or URI (`scheme://user:p@host`), as they stand
    there and as they are meant.
    """
    from urllib.parse import unquote

    for pattern in _PASSWORDS:
        for found in pattern.finditer(text):
            secret = found["secret"]
            yield secret
            yield secret.partition(";")[0]
            yield unquote(secret)
            yield re.sub(r"\\(.)", r"\1", secret.removeprefix("'").removesuffix("'"), flags=re.DOTALL)


def without_passwords(text: str) -> str:
    """Return a connection text or URI with its passwords masked."""
    for pattern in _PASSWORDS:
        text = pattern.sub(rf"\g<before>{MASK}", text)
    return text


def _spellings(secret: str) -> set[str]:
    import json
    from urllib.parse import quote

    return {
        secret,
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret, safe=""),
    }
