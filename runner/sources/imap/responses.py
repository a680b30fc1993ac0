"""What a server answers, taken apart: lists of mailboxes and the items of messages.

`imaplib` hands over lines, and pairs of a line up to a literal and the literal. Here they become atoms (`str`),
strings (`bytes`, quoted or literal) and lists. RFC 3501 section 9.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

Data = Sequence[Any]
"""The data of an answer, as `imaplib` gives it: `bytes`, pairs of `bytes`, or None."""

MAX_DEPTH = 16
"""Lists within lists; the answers that are asked for have two."""

_PART = re.compile(rb'\s*(?:"((?:[^"\\]|\\.)*)"|([()])|([^\s()"]+))', re.DOTALL)
_LITERAL = re.compile(rb"\{\d+\}$")
_DATE = re.compile(r"( \d|\d\d)-([A-Z][a-z]{2})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def lists(data: Data) -> Iterator[list[Any]]:
    """Yield each answer as a list of its atoms, strings and lists. Raises `ValueError` for what is none."""
    parts: list[str | bytes] = []
    depth = 0
    for piece in data:
        if piece is None:
            continue
        line, literal = piece if isinstance(piece, tuple) else (piece, None)
        for part in _parts(line if literal is None else _LITERAL.sub(b"", line)):
            parts.append(part)
            depth += (part == "(") - (part == ")")
            if not 0 <= depth <= MAX_DEPTH:
                raise ValueError(f"parentheses that do not fit: {_head(parts)}")
        if literal is not None:
            parts.append(literal)
        elif depth == 0 and parts:
            yield _nested(iter(parts))
            parts = []
    if parts:
        raise ValueError(f"an answer that does not end: {_head(parts)}")


def messages(data: Data) -> dict[int, dict[str, Any]]:
    """Return the items of FETCH answers by UID; answers without a UID (news about flags) are left out."""
    found: dict[int, dict[str, Any]] = {}
    for answer in lists(data):
        if len(answer) != 2 or not isinstance(answer[1], list) or len(answer[1]) % 2:
            raise ValueError(f"no items of a message: {_head(answer)}")
        names, values = answer[1][::2], answer[1][1::2]
        items = {str(name).upper(): value for name, value in zip(names, values, strict=True)}
        if "UID" in items:
            found.setdefault(number(items["UID"]), {}).update(items)
    return found


def body(items: dict[str, Any]) -> bytes | None:
    """Return the content of a message among its items; None if the server did not send it."""
    for name, value in items.items():
        if name.startswith("BODY["):
            return b"" if value == "NIL" else _bytes(value)
    return None


def number(value: object) -> int:
    """Read an unsigned number. Raises `ValueError`."""
    if not isinstance(value, str | bytes) or not value.isdigit():
        raise ValueError(f"{value!r} is no number")
    return int(value)


def flags(value: object) -> list[str]:
    r"""Read a list of flags, such as `\Seen`; `\Recent` is the session's, not the message's. Raises `ValueError`."""
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is no list of flags")  # noqa: TRY004 - an answer of the server, not our type
    return [str(flag) for flag in value if flag != "\\Recent"]


def internal_date(value: object) -> datetime | None:
    """Read the time at which a server took a message, as aware UTC; None for one that no calendar has."""
    found = _DATE.fullmatch(_bytes(value).decode("ascii", "replace"))
    if not found or found[2] not in _MONTHS:
        return None
    day, year, hour, minute, second = (int(found[place]) for place in (1, 3, 4, 5, 6))
    offset = timedelta(hours=int(found[8]), minutes=int(found[9])) * (-1 if found[7] == "-" else 1)
    try:
        zone = timezone(offset)
        month = _MONTHS.index(found[2]) + 1
        return datetime(year, month, day, hour, minute, second, tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _parts(line: bytes) -> Iterator[str | bytes]:
    place, end = 0, len(line.rstrip())
    while place < end:
        found = _PART.match(line, place)
        if not found:
            raise ValueError(f"not an answer of IMAP: {line[place : place + 80]!r}")
        quoted, parenthesis, atom = found.groups()
        yield (
            re.sub(rb"\\(.)", rb"\1", quoted)
            if quoted is not None
            else (parenthesis or atom).decode("latin-1")
        )
        place = found.end()


def _nested(parts: Iterator[str | bytes]) -> list[Any]:
    """Return a list up to its closing parenthesis, or the end."""
    found: list[Any] = []
    for part in parts:
        if part == ")":
            break
        found.append(_nested(parts) if part == "(" else part)
    return found


def _bytes(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("latin-1")
    if not isinstance(value, bytes):
        raise ValueError(f"{value!r} is no text")  # noqa: TRY004 - an answer of the server, not our type
    return value


def _head(values: Iterable[object]) -> str:
    return " ".join(map(str, values))[:80]
