"""The messages of one folder, from a cursor on."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from runner.errors import SourceError, SourceUnavailable
from runner.logs import get_logger
from runner.ports import Row
from runner.sources.imap import responses
from runner.sources.imap.account import Account
from runner.sources.imap.line import Line
from runner.sources.imap.names import Folder
from runner.sources.imap.session import Session

WINDOW = 50_000
"""Messages of one search: its answer is a single line of at most 11 bytes a message."""

GROUP_BYTES = 4 * 1024 * 1024
"""Bytes of message contents that are fetched at once, unless a single message has more."""

LAST_UID = 2**32 - 1

_METADATA = "(UID FLAGS INTERNALDATE RFC822.SIZE)"

T = TypeVar("T")

_logger = get_logger("sources.imap")


def cursor_text(uidvalidity: int, uid: int) -> str:
    """Return a cursor: both numbers have 32 bits, so ten digits each make text order number order."""
    return f"{uidvalidity:010d}:{uid:010d}"


class FolderReader:
    """Reads a folder once. Memory: 8 bytes for each new message, and the contents of a group."""

    def __init__(
        self, line: Line, account: Account, folder: Folder, *, search: str, max_bytes: int, batch: int
    ) -> None:
        self._line = line
        self._account = account
        self._folder = folder
        self._search = search
        self._max_bytes = max_bytes
        self._batch = batch
        self._place = f"{account.server} {folder.name!r}"
        self._uidvalidity = 0
        self._mailbox = ""
        self._skipped = 0

    def rows(self, since: Mapping[str, str] | str | None) -> Iterator[Row]:
        """Yield the messages after the cursor of this mailbox, or all if there is none for it."""
        exists, self._uidvalidity = self._line.ask(
            lambda session: (session.examine(self._folder), session.uidvalidity)
        )
        path = quote(self._folder.name, safe="/")
        self._mailbox = f"{self._account.name}/{path};UIDVALIDITY={self._uidvalidity}"
        uids = self._new(exists, self._after(since))
        for start in range(0, len(uids), self._batch):
            try:
                yield from self._rows_of(uids[start : start + self._batch])
            except ValueError as error:
                text = f"sent messages in a form that is not understood: {error}"
                raise SourceError(self._place, text) from error
        if self._skipped:
            _logger.warning(
                "%s: %d of %d messages have more than max_bytes = %d bytes and were not fetched",
                self._place, self._skipped, len(uids), self._max_bytes,
            )  # fmt: skip

    def _after(self, since: Mapping[str, str] | str | None) -> int:
        """Return the UID after which to read: that of the cursor, if it is one of this UIDVALIDITY."""
        known = since if isinstance(since, str) else (since or {}).get(self._mailbox)
        if known is None:
            return 0
        validity, colon, uid = known.partition(":")
        if not (colon and validity.isdecimal() and uid.isdecimal()):
            raise SourceError(
                self._place,
                f"since is {known[:60]!r}",
                hint="expected UIDVALIDITY:UID, as in the column cursor of the rows",
            )
        return int(uid) if int(validity) == self._uidvalidity else 0

    def _new(self, exists: int, after: int) -> array[int]:
        """Return the UIDs above `after`, sorted.

        Searched in windows of sequence numbers, from the last to the first: if another client deletes messages
        meanwhile, numbers move down, so that a message can be found twice but never be missed.
        """
        windows: list[array[int]] = []
        least = LAST_UID + 1
        for top in range(exists, 0, -WINDOW):
            criteria = f"{max(1, top - WINDOW + 1)}:{top} UID {after + 1}:{LAST_UID} {self._search}"
            found = self._in_folder(partial(Session.search, criteria=criteria))
            new = array("L", (uid for uid in found if after < uid < least))
            if new:
                windows.append(new)
                least = new[0]
        uids = array("L")
        while windows:
            uids += windows.pop()
        return uids

    def _rows_of(self, uids: Sequence[int]) -> Iterator[Row]:
        """Yield the rows of a batch: what they are first, then contents, as many at once as may be in memory."""
        known = self._ask(uids, _METADATA)
        group: list[Row] = []
        size = 0
        for uid in sorted(known):
            row = self._row(uid, known[uid])
            if group and size + row["size"] > GROUP_BYTES:
                yield from self._filled(group)
                group, size = [], 0
            group.append(row)
            size += 0 if row["skipped"] else row["size"]
        yield from self._filled(group)

    def _filled(self, group: Sequence[Row]) -> Iterator[Row]:
        """Yield rows with their contents; a message that was deleted meanwhile gives none."""
        wanted = [row["uid"] for row in group if row["skipped"] is None]
        # One byte more than allowed: so a message is found out whose size the server has told wrong.
        limit = self._max_bytes + 1
        found = self._ask(wanted, f"(UID BODY.PEEK[]<0.{limit}>)", max_literal=limit) if wanted else {}
        for row in group:
            if row["skipped"] is None:
                content = responses.body(found.pop(row["uid"], {}))
                if content is None:
                    self._check_gone(row["uid"])
                    continue
                self._fill(row, content)
            self._skipped += row["skipped"] is not None
            yield row

    def _fill(self, row: Row, content: bytes) -> None:
        if len(content) > self._max_bytes:
            row["skipped"] = self._too_large(f"more than the {row['size']} that the server told")
        else:
            row["content"] = content
            row["size"] = len(content)

    def _check_gone(self, uid: int) -> None:
        """Raise `SourceError` for a message that is there, but was not sent."""
        if uid in self._ask([uid], _METADATA):
            raise SourceError(self._place, f"message {uid} is there, but was not sent")

    def _ask(self, uids: Sequence[int], items: str, *, max_literal: int = 0) -> dict[int, dict[str, Any]]:
        return self._in_folder(partial(Session.items, uids=uids, items=items, max_literal=max_literal))

    def _in_folder(self, work: Callable[[Session], T]) -> T:
        """Ask with the folder open, again on a new connection if need be.

        Raises `SourceUnavailable` when the folder was made anew since the first question: its UIDs mean others now.
        """
        validity, found = self._line.ask(lambda session: (session.uidvalidity, work(session)), self._folder)
        if validity != self._uidvalidity:
            raise SourceUnavailable(
                self._place,
                f"the folder was made anew while it was read: UIDVALIDITY {self._uidvalidity} became {validity}",
                hint="the next run reads it",
            )
        return found

    def _row(self, uid: int, items: Mapping[str, Any]) -> Row:
        size = responses.number(items.get("RFC822.SIZE"))
        return {
            "account": self._account.name,
            "mailbox": self._mailbox,
            "url": f"{self._mailbox}/;UID={uid}",
            "folder": self._folder.name,
            "uidvalidity": self._uidvalidity,
            "uid": uid,
            "cursor": cursor_text(self._uidvalidity, uid),
            "internal_date": responses.internal_date(items.get("INTERNALDATE", b"")),
            "flags": responses.flags(items.get("FLAGS", [])),
            "size": size,
            "content": None,
            "skipped": self._too_large(f"{size}") if size > self._max_bytes else None,
        }

    def _too_large(self, size: str) -> str:
        return f"not fetched: {size} bytes; max_bytes is {self._max_bytes}"
