r"""Messages of a mail account (`source: imap`): the message itself, and where it lies.

A message is known by its content, its place by account, folder, UIDVALIDITY and UID. So a message in two folders, or in
a folder that the server has made anew, is one message with two places. Places are kept for the next run, which reads
what comes after them; messages that are too large to be fetched have a place, too, with the reason.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jobs.mail.raw import raw_message

if TYPE_CHECKING:
    from runner import Row

_LETTERS = {
    "\\answered": "R",
    "\\deleted": "T",
    "\\draft": "D",
    "\\flagged": "F",
    "\\seen": "S",
    "$forwarded": "P",
}
"""Flags of IMAP (RFC 9051 section 2.3.2) as the letters of Maildir, which `raw.messages` keeps."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLACE = (
    "url", "account", "mailbox", "folder", "uidvalidity", "uid", "cursor", "internal_date", "flags", "size",
    "skipped",
)  # fmt: skip


def message(row: Row, *, source: str) -> Row | None:
    """The row of `raw.messages`; None for a message that was not fetched. `source` names the account for people."""
    if row["content"] is None:
        return None
    place = {
        "source": source,
        "path": row["url"],
        "file_key": row["url"],
        "modified_at": row["internal_date"] or _EPOCH,
    }
    return raw_message(
        row["content"],
        place,
        source_format="imap",
        flags="".join(sorted({_LETTERS[flag.lower()] for flag in row["flags"] if flag.lower() in _LETTERS})),
        delivered_at=row["internal_date"],
    )


def place(row: Row, *, source: str) -> Row:
    """The row of `raw.mailbox_messages`: where the message lies, and under which key it stands in `raw.messages`."""
    found = message(row, source=source)
    return {**{name: row[name] for name in _PLACE}, "idem_key": found["idem_key"] if found else None}
