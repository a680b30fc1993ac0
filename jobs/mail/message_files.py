"""Mailboxes that keep one message per file: Maildir and folders of .eml files.

A file that is gone when it is read gives no row instead of an error: mail programs rename Maildir files
whenever a flag changes, and the new name is another file, which the next run finds.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jobs.mail.raw import MAX_MESSAGE_BYTES, check_size, raw_message

if TYPE_CHECKING:
    from runner import Row

# Maildir: "time.unique.host:2,FLAGS"; systems that cannot have ":" in names use ";" or "!" or "-" in its
# place.
_FLAGS = re.compile(r"[:;!-]2,([A-Za-z]*)$")
_DELIVERED = re.compile(r"(\d{9,11})\.")


def maildir_message(row: Row, *, max_message_bytes: int = MAX_MESSAGE_BYTES) -> Row | None:
    """The row of `raw.messages` for the Maildir file of `row`; None if the file is gone.

    Flags and time of delivery come from the file's name. A later change of flags renames the file but does
    not change the message: the row keeps the flags that were seen first. Raises ValueError above
    `max_message_bytes`.
    """
    content = _content(row["path"], max_message_bytes)
    if content is None:
        return None
    name = os.path.basename(row["path"])
    return raw_message(
        content, row, source_format="maildir", flags=maildir_flags(name), delivered_at=maildir_delivery(name)
    )


def eml_message(row: Row, *, max_message_bytes: int = MAX_MESSAGE_BYTES) -> Row | None:
    """The row of `raw.messages` for the .eml file of `row`; None if the file is gone.

    Raises ValueError above `max_message_bytes`.
    """
    content = _content(row["path"], max_message_bytes)
    return None if content is None else raw_message(content, row, source_format="eml")


def maildir_flags(name: str) -> str | None:
    """The flags in a Maildir file name, sorted and each once ("FS"); "" for none set, None if it has no flag
    part.
    """
    found = _FLAGS.search(name)
    return "".join(sorted(set(found[1]))) if found else None


def maildir_delivery(name: str) -> datetime | None:
    """The time of delivery, which a Maildir name begins with, in seconds since 1970; None if it does not."""
    found = _DELIVERED.match(name)
    return datetime.fromtimestamp(int(found[1]), UTC) if found else None


def _content(path: str, limit: int) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            content = stream.read(limit + 1)
    except FileNotFoundError:
        return None
    check_size(len(content), limit, path)
    return content
