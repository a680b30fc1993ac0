"""Header fields in the forms of RFC 8621 section 4.1.2: texts, addresses, message ids, dates."""

from __future__ import annotations

import email.utils
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

from jobs.mail.text import encoded_words, header_text, plain_header

if TYPE_CHECKING:
    from email.message import Message

_MESSAGE_ID = re.compile(r"<([^<>]+)>")
_SPACE = re.compile(r"\s+")
# Newer Pythons refuse a whole list for one malformed address unless told not to.
_LENIENT = {"strict": False} if getattr(email.utils, "supports_strict_parsing", False) else {}


class Fields:
    """The header fields of one message, by lower-case name, each in the form that is asked for.

    No method raises for what a header contains: a field that cannot be read gives None and a sentence in
    `defects`.
    """

    def __init__(self, message: Message, defects: list[str]) -> None:
        self._values: dict[str, list[str]] = {}
        self._defects = defects
        for name, value in message.raw_items():
            self._values.setdefault(name.lower(), []).append(str(value))

    def __len__(self) -> int:
        return len(self._values)

    def first(self, name: str) -> str | None:
        """The field as it stands, or None."""
        values = self._values.get(name)
        return values[0] if values else None

    def text(self, name: str) -> str | None:
        """The field as text (RFC 8621 "Text"), or None."""
        raw = self.first(name)
        return None if raw is None else header_text(raw, self._defects, name)

    def addresses(self, name: str) -> list[dict[str, str | None]] | None:
        """All addresses of the field as `{name, email}`, groups dissolved ("EmailAddresses"); None without
        the field.

        Lists are split before encoded words are decoded, so a comma in a name, quoted or encoded, splits
        nothing.
        """
        raw = self._values.get(name)
        if raw is None:
            return None
        plain = ", ".join(plain_header(value, self._defects, name) for value in raw)
        try:
            pairs = email.utils.getaddresses([plain], **_LENIENT)
        except Exception as error:  # noqa: BLE001  the parser indexes and recurses freely on hostile input
            self._defects.append(f"{name}: addresses that cannot be read ({type(error).__name__})")
            return None
        return [self._address(name, *pair) for pair in pairs if pair[0] or pair[1]]

    def message_ids(self, name: str) -> list[str] | None:
        """The message ids of the field without angle brackets ("MessageIds"); None if there are none."""
        raw = self.first(name)
        if raw is None:
            return None
        plain = plain_header(raw, self._defects, name)
        found = [_SPACE.sub("", match) for match in _MESSAGE_ID.findall(plain)]
        if not found and "@" in plain and " " not in plain:
            self._defects.append(f"{name}: message id without angle brackets")
            found = [plain]
        return [identifier for identifier in found if identifier] or None

    def date(self, name: str) -> datetime | None:
        """The field as aware UTC ("Date"); None, with a defect, if it is no date."""
        raw = self.first(name)
        if raw is None:
            return None
        found = parse_date(plain_header(raw, self._defects, name))
        if found is None:
            self._defects.append(f"{name}: {raw.strip()[:60]!a} is not a date")
        return found

    def received(self) -> datetime | None:
        """The date of the topmost Received field, which the last server wrote; None if there is none to be
        read.
        """
        raw = self.first("received")
        return None if raw is None else parse_date(plain_header(raw, [], "received").rpartition(";")[2])

    def _address(self, field: str, name: str, address: str) -> dict[str, str | None]:
        return {"name": encoded_words(name, self._defects, field) or None, "email": address}


def parse_date(text: str) -> datetime | None:
    """An RFC 5322 date, also in obsolete forms, as aware UTC, or None. Without a zone it is taken as UTC."""
    try:
        parsed = email.utils.parsedate_tz(text)
        if parsed is None:
            return None
        zone = timezone(timedelta(seconds=parsed[9] or 0))
        year, month, day, hour, minute, second = parsed[:6]
        return datetime(year, month, day, hour, minute, second, tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):  # month 13, year 0, a zone of 99 hours
        return None
