"""mbox files, read exactly and as a stream.

The rule: a line that begins with `From ` at the start of the file or after a blank line separates messages
(RFC 4155 says the same of its default format). Nothing else does. So

* an unescaped `From ` line after a blank line *inside* a body splits that message: the file itself no longer
  says which of the two was meant. Whoever counts messages by this rule gets the same number;
* `>From ` lines stay as they are. mboxo and mboxrd quote differently and the file does not say which one
  wrote it, so taking quotes off could change what the sender wrote. `raw.messages` holds the bytes of the
  file;
* the blank line before a separator, or at the end of the file, belongs to the format and not to the message.

`mailbox.mbox` is not used: it scans the whole file first, keeps a table of all offsets, and splits at any
`From `. Memory here is one message, bounded by `max_message_bytes`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from jobs.mail.raw import MAX_MESSAGE_BYTES, check_size, raw_message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner import Row

# Longer lines arrive in pieces, so that a file without any line end cannot fill the memory.
_PIECE = 1 << 16
# asctime (RFC 4155) with the zone that some writers put before or after the year.
_ENVELOPE_DATE = re.compile(
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +(\d{1,2}) +(\d\d):(\d\d)(?::(\d\d))?"
    r"(?: +([+-]\d{4}|[A-Z]{1,5}))? +(\d{4})(?: +([+-]\d{4}))?"
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# `git format-patch` writes this one date on every From line, as a signature for file(1); it is no delivery
# time.
_GIT_SIGNATURE = re.compile(r"[0-9a-f]{40,64} Mon Sep 17 00:00:00 2001$")


class MboxMessage(NamedTuple):
    """One message of an mbox file: its From line without line end, its bytes, and where the bytes begin."""

    envelope: str
    content: bytes
    byte_offset: int


def messages(row: Row, *, max_message_bytes: int = MAX_MESSAGE_BYTES) -> Iterator[Row]:
    """The rows of `raw.messages` for the mbox file of `row` (a row of `raw.source_files`), read lazily.

    Raises ValueError for a file that is not mbox and for a message above `max_message_bytes`; OSError if the
    file cannot be read.
    """
    with open(row["path"], "rb") as stream:
        found = split_mbox(stream, name=row["path"], max_message_bytes=max_message_bytes)
        for position, message in enumerate(found):
            yield raw_message(
                message.content,
                row,
                source_format="mbox",
                position=position,
                byte_offset=message.byte_offset,
                envelope=message.envelope,
                delivered_at=envelope_date(message.envelope),
            )


def split_mbox(
    stream: BinaryIO, *, name: str = "mbox", max_message_bytes: int = MAX_MESSAGE_BYTES
) -> Iterator[MboxMessage]:
    """Split an mbox stream into its messages, one at a time, in order.

    Raises ValueError, naming `name` and the byte offset, if there is text before the first From line or a
    message exceeds `max_message_bytes`.
    """
    envelope: str | None = None
    content = bytearray()
    start = offset = 0
    line_start = blank_before = True
    while piece := stream.readline(_PIECE):
        offset += len(piece)
        if blank_before and line_start and piece.startswith(b"From "):
            if envelope is not None:
                yield MboxMessage(envelope, _without_blank_line(content), start)
            piece, rest = _whole_line(stream, piece)
            offset += rest
            envelope = piece.decode("utf-8", "replace").rstrip("\r\n").replace("\x00", "\ufffd")
            start = offset
            content.clear()
        elif envelope is None and piece.strip():
            raise ValueError(f"{name}: not an mbox file: it does not begin with a line 'From '")
        elif envelope is not None:
            content += piece
            check_size(len(content), max_message_bytes, f"{name}, byte {start}")
        # The tail of a long line may look like a blank line without being one.
        blank_before = line_start and piece in (b"\n", b"\r\n")
        line_start = piece.endswith(b"\n")
    if envelope is not None:
        yield MboxMessage(envelope, _without_blank_line(content), start)


def envelope_date(envelope: str) -> datetime | None:
    """The date of an mbox From line as aware UTC; None if there is none, or only git's fixed signature.

    RFC 4155 says that the date is in UTC; a numeric zone, where a writer added one, is honoured.
    """
    if _GIT_SIGNATURE.search(envelope) or not (found := _ENVELOPE_DATE.search(envelope)):
        return None
    month, day, hour, minute, second, zone_before, year, zone_after = found.groups()
    zone = _numeric_zone(zone_after or zone_before)
    try:
        date = int(year), _MONTHS.index(month) + 1, int(day)
        return datetime(*date, int(hour), int(minute), int(second or 0), tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):  # 31 February, hour 25, year 0
        return None


def _numeric_zone(zone: str | None) -> timezone:
    if zone is None or zone[0] not in "+-":
        return UTC
    minutes = int(zone[1:3]) * 60 + int(zone[3:5])
    if minutes >= 24 * 60:
        return UTC
    return timezone(timedelta(minutes=-minutes if zone[0] == "-" else minutes))


def _without_blank_line(content: bytearray) -> bytes:
    """The content without the one blank line that the format puts after every message."""
    if content.endswith(b"\r\n") and (content.endswith(b"\n\r\n") or len(content) == 2):
        return bytes(content[:-2])
    if content.endswith(b"\n") and (content.endswith(b"\n\n") or len(content) == 1):
        return bytes(content[:-1])
    return bytes(content)


def _whole_line(stream: BinaryIO, piece: bytes) -> tuple[bytes, int]:
    """The From line up to its end, cut at one piece; and how many bytes were read beyond `piece`."""
    extra = 0
    line = piece
    while line and not line.endswith(b"\n"):
        line = stream.readline(_PIECE)
        extra += len(line)
    return (piece if extra == 0 else piece + b"\n"), extra
