"""JSON text of what a run leaves behind, and lines of it that say when they are damaged.

A line is one object in ASCII, its last member the CRC-32 of the line without that member:
`{"event_type":"run.finished",…,"crc":"1c291ca3"}`. Any tool reads it; a flipped byte does not go unnoticed.
Lines without a `crc` are taken as they are. ASCII because every text survives it (also half of a surrogate
pair in a file's name) and because nothing in it can drive the terminal of whoever prints the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any
from zlib import crc32

from runner.clock import format_utc

_CRC = b',"crc":"'
_CRC_LENGTH = len(_CRC) + 8 + len(b'"}')


class DamagedLine(ValueError):
    """A line that is not what was written. `line` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(line, reason)
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


def dumps(data: Any) -> str:
    """Return compact JSON in ASCII for data of any kind, since a record must not fail for what is in it.

    Values that JSON does not know become text (times as RFC 3339, bytes as hexadecimal, others by `str`), NaN
    and the infinities null, keys text.
    """
    try:
        return _encode(data)
    except (TypeError, ValueError, RecursionError):  # odd keys, NaN, cycles: rare, so the slow way will do
        return _encode(_plain(data, 0))


def encode_line(data: Mapping[str, Any], **encoded: str) -> bytes:
    """Return one non-empty object as a line with its checksum and newline.

    `encoded` are further members whose values are JSON text already.
    """
    text = dumps(data)
    for name, value in encoded.items():
        text = f'{text[:-1]},"{name}":{value}}}'
    body = text.encode("ascii")
    return b'%b%b%08x"}\n' % (body[:-1], _CRC, crc32(body))


def decode_line(line: bytes, number: int = 0) -> dict[str, Any]:
    """Read a line (without newline) back. Raises `DamagedLine` with `number`."""
    crc = line[-_CRC_LENGTH:]
    if crc.startswith(_CRC):
        line = line[:-_CRC_LENGTH] + b"}"
        if crc[len(_CRC) : -2] != b"%08x" % crc32(line):
            raise DamagedLine(number, "the checksum does not fit the line")
    try:
        data = json.loads(line)
    except ValueError as error:  # also UnicodeDecodeError
        raise DamagedLine(number, f"not JSON: {error}") from error
    if not isinstance(data, dict):
        raise DamagedLine(number, f"expected an object, found {type(data).__name__}")
    return data


def decode_lines(content: bytes) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield (line number from 1, object) for every line of a file.

    A last line without newline that cannot be read is what a crash leaves: its object is None. Everything
    else that cannot be read raises `DamagedLine`.
    """
    *lines, last = content.split(b"\n")
    for number, line in enumerate(lines, 1):
        yield number, decode_line(line, number)
    if last:
        try:
            yield len(lines) + 1, decode_line(last)
        except DamagedLine:
            yield len(lines) + 1, None


def _default(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return format_utc(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return _text(value)


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - a foreign __str__ may raise anything; the record says so
        return f"<{type(value).__name__}, whose text raises {type(error).__name__}>"


def _plain(value: Any, depth: int) -> Any:
    if depth > 50:
        return "<nested too deeply>"
    if isinstance(value, Mapping):
        return {_text(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    return _plain(_default(value), depth + 1)


_encode = json.JSONEncoder(
    separators=(",", ":"), allow_nan=False, default=_default, check_circular=False
).encode  # a cycle ends as RecursionError
