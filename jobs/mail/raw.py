"""The row of `raw.messages`: one message, byte for byte, with where it was found.

The key is the content: `mail:` + the SHA-256 of the bytes in hex. The same message in two mailboxes is one
row, that of the mailbox which was read first; a message that differs in a single byte is another message.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from runner import Row

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""The largest message that is read by default, in bytes; what mail servers accept is well below it."""


def raw_message(
    content: bytes,
    file_row: Row,
    *,
    source_format: str,
    position: int = 0,
    byte_offset: int = 0,
    envelope: str | None = None,
    flags: str | None = None,
    delivered_at: datetime | None = None,
) -> Row:
    """The row of `raw.messages` for `content`, found in the file of `file_row` (a row of `raw.source_files`).

    `position` counts messages in the file from 0, `byte_offset` is where the content begins. `envelope` is
    the mbox From line, `flags` the letters of a Maildir name; `delivered_at` is what one of the two says of
    the delivery.
    """
    return {
        "idem_key": "mail:" + hashlib.sha256(content).hexdigest(),
        "source_system": "mail",
        "connection_name": file_row["source"],
        "object_type": "message",
        "source_format": source_format,
        "path": file_row["path"],
        "file_key": file_row["file_key"],
        "position": position,
        "byte_offset": byte_offset,
        "size": len(content),
        "envelope": envelope,
        "flags": flags,
        "delivered_at": delivered_at,
        "file_modified_at": file_row["modified_at"],
        "content": content,
    }


def check_size(size: int, limit: int, where: str) -> None:
    """Raise ValueError if a message of `size` bytes exceeds `limit`; `where` names file and position."""
    if size > limit:
        raise ValueError(f"{where}: message of more than max_message_bytes = {limit} bytes")
