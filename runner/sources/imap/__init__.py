"""`source: imap`: the messages of a mail account, over the network, with the standard library's `imaplib`.

A UID names a message for good only together with the folder's UIDVALIDITY (RFC 3501 section 2.3.1.1): a folder whose
UIDVALIDITY changes is another `mailbox` here, and is read from its start. What was read before is known again by its
content, which is the business of the key that the messages are written by.

Nothing is changed on the server: folders are opened with EXAMINE, messages are fetched with BODY.PEEK.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from runner.errors import UsageError
from runner.ports import Row, StopFlag
from runner.sources.imap.account import Account
from runner.sources.imap.folders import chosen
from runner.sources.imap.line import Line
from runner.sources.imap.reading import FolderReader

if TYPE_CHECKING:
    from runner.settings import Connection

MAX_BYTES = 64 * 1024 * 1024
"""The largest message that is fetched by default, in bytes; what mail servers accept is well below it."""

MAX_BATCH = 500
"""Messages of one FETCH at most: the command stays below the 8,000 bytes that servers are to accept (RFC 2683)."""


def messages(
    *,
    connection: Connection,
    stop: StopFlag,
    since: Mapping[str, str] | str | None = None,
    folders: list[str] | None = None,
    exclude: list[str] | None = None,
    search: str = "ALL",
    max_bytes: int = MAX_BYTES,
    batch: int = 100,
    reconnects: int = 3,
) -> Iterator[Row]:
    r"""Yield the messages of an account, folder by folder, in the order of their UIDs.

    `folders`: names, in which `*` stands for any text (None: INBOX); `exclude`: the same, of those that are left out.
    `since`: the greatest `cursor` that is known for each `mailbox` (`cursor: {…, by: mailbox}`), or of the only folder.
    `search`: a condition of RFC 3501 section 6.4.4, such as `SINCE 1-Feb-2026`. `max_bytes`: a message above it is not
    fetched. `batch`: messages that are asked for at once; their contents are fetched about 4 MB at a time.
    `reconnects`: how often in a row a broken connection is made again.

    Each row has: `account` (`imap://user@host`), `mailbox` (with folder and UIDVALIDITY) and `url` (with UID, RFC
    5092), `folder`, `uidvalidity`, `uid`, `cursor` (`UIDVALIDITY:UID`, ten digits each: text order is number order),
    `internal_date` (when the server took it), `flags` (list), `size` (bytes), `content` (bytes), and `skipped`: why
    `content` is None, or None.

    Raises `UsageError` for arguments and connection keys that do not fit, `SourceDenied` for a refused login,
    `SourceUnavailable` and `SourceBusy` for what may pass, `SourceError` for an answer that is not understood.
    """
    _check(search, max_bytes=max_bytes, batch=batch, reconnects=reconnects)
    account = Account.of(connection)
    line = Line(account, stop, reconnects=reconnects)
    try:
        found = chosen(line, account, folders or ["INBOX"], exclude or [])
        if isinstance(since, str) and len(found) > 1:
            raise UsageError(
                f"source imap reads {len(found)} folders with one cursor",
                hint="expected `by: mailbox` in the step's cursor",
            )
        for folder in found:
            reader = FolderReader(line, account, folder, search=search, max_bytes=max_bytes, batch=batch)
            yield from reader.rows(since)
        line.log_out()
    finally:
        line.close()


def _check(search: str, *, max_bytes: int, batch: int, reconnects: int) -> None:
    """Raise `UsageError` for an argument that is out of range, or that would be more than one condition."""
    limits = {
        "max_bytes": (max_bytes, 1, 2**31),
        "batch": (batch, 1, MAX_BATCH),
        "reconnects": (reconnects, 0, 100),
    }
    for name, (value, least, most) in limits.items():
        if not least <= value <= most:
            raise UsageError(f"source imap: {name} is {value}", hint=f"expected {least} to {most}")
    if not search.strip() or not search.isascii() or not search.isprintable() or "{" in search:
        raise UsageError(
            f"source imap: search is {search!r}",
            hint="expected a condition of IMAP, such as SINCE 1-Feb-2026",
        )
