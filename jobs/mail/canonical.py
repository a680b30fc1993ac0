"""A raw message becomes a row of `canonical.mail`, an Email object of RFC 8621 (JMAP for Mail).

Columns are the snake_case of the RFC's properties. Four of them would be reserved words of SQL or nearly so,
and take a second word: `from` → from_addresses (and with it to, cc, bcc, sender, replyTo →
reply_to_addresses) and `references` → reference_ids. Bodies are flat: textBody → body_text, htmlBody →
body_html. Inside the json columns (addresses, attachments, keywords) the RFC's own names stand.

* id, blob_id, thread_id come from content: the same message has the same ids in every run. A thread is named
  by its root: the first of References, else In-Reply-To, else the message's own Message-ID, else its content.
* sent_at is the Date header, or NULL with a defect. received_at, never NULL, is the first of: delivery time
  of the mailbox (mbox From line, Maildir name), topmost Received header, Date header, modification time of
  the file.
* What is malformed but readable is read, and a sentence about it stands in `defects`. What is no message at
  all (no bytes, no header) or defeats the parser raises ValueError with the reason.
"""

from __future__ import annotations

import hashlib
import html
import re
from email import message_from_bytes
from typing import TYPE_CHECKING, Any

from jobs.mail.fields import Fields
from jobs.mail.keywords import keywords_of
from jobs.mail.parts import attachment_of, body_of, text_of

if TYPE_CHECKING:
    from email.message import Message

    from jobs.mail.parts import Body, Part
    from runner import Row

PREVIEW_LENGTH = 256
"""Characters of a preview at most (RFC 8621 section 4.1.4)."""
_MAX_DEFECTS = 50
# Enough of a body for a preview; the patterns below never see more, whatever the size of the message.
_PREVIEW_SOURCE = 8192
_INVISIBLE = re.compile(
    r"<(script|style|title)\b.*?(?:</\1\s*>|$)|<!--.*?(?:-->|$)|<[^<>]*>", re.IGNORECASE | re.DOTALL
)


def canonize(row: Row) -> Row:
    """The row of `canonical.mail` for a row of `raw.messages`.

    Raises ValueError, naming the message's idem_key, path and position, if the bytes are no message.
    """
    try:
        return _canonize(row)
    except MemoryError:
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, NotAMessageError) else f"{type(error).__name__}: {error}"
        place = f"{row['path']} position {row['position']}"
        raise ValueError(f"content of {row['idem_key']} ({place}): not a message: {reason}") from error


class NotAMessageError(ValueError):
    """The bytes are no message; the text says why."""


def _canonize(row: Row) -> Row:
    defects: list[str] = []
    message = _parse(row["content"])
    fields = Fields(message, defects)
    if not len(fields):
        raise NotAMessageError("no header field at the start")
    digest = hashlib.sha256(row["content"]).hexdigest()
    message_id, in_reply_to = fields.message_ids("message-id"), fields.message_ids("in-reply-to")
    references = fields.message_ids("references")
    sent_at = fields.date("date")
    if sent_at is None and fields.first("date") is None:
        defects.append("date: missing")
    body = body_of(message, defects)
    text, markup = _texts(body.text, "text/plain", defects), _texts(body.html, "text/html", defects)
    attachments = [attachment_of(part, defects) for part in body.attached]
    return {
        "idem_key": row["idem_key"],
        "id": "M" + digest,
        "blob_id": "blob-" + digest,
        "thread_id": _thread_id(references, in_reply_to, message_id, digest),
        "message_id": message_id,
        "in_reply_to": in_reply_to,
        "reference_ids": references,
        "from_addresses": fields.addresses("from"),
        "sender_addresses": fields.addresses("sender"),
        "to_addresses": fields.addresses("to"),
        "cc_addresses": fields.addresses("cc"),
        "bcc_addresses": fields.addresses("bcc"),
        "reply_to_addresses": fields.addresses("reply-to"),
        "subject": fields.text("subject"),
        "sent_at": sent_at,
        "received_at": row["delivered_at"] or fields.received() or sent_at or row["file_modified_at"],
        "size": len(row["content"]),
        "preview": _preview(text, markup),
        "body_text": text,
        "body_html": markup,
        "attachments": attachments,
        "has_attachment": _has_attachment(body),
        "keywords": keywords_of(row["flags"], fields.first("status"), fields.first("x-status")),
        "defects": (defects + _parser_defects(message))[:_MAX_DEFECTS],
        "connection_name": row["connection_name"],
    }


def _parse(content: bytes) -> Message:
    if not content.strip():
        raise NotAMessageError("no bytes" if not content else "nothing but white space")
    return message_from_bytes(content)


def _thread_id(
    references: list[str] | None, in_reply_to: list[str] | None, message_id: list[str] | None, digest: str
) -> str:
    chain = references or in_reply_to or message_id
    root = f"message-id:{chain[0]}" if chain else f"content:{digest}"
    return "T" + hashlib.sha256(root.encode("utf-8")).hexdigest()


def _texts(parts: list[Part], kind: str, defects: list[str]) -> str | None:
    """The texts of the parts of one type, joined; None if there is no such part."""
    texts = [text_of(part, defects) for part in parts if part.type == kind]
    return "\n".join(texts) if texts else None


def _has_attachment(body: Body) -> bool:
    """RFC 8621: whether there is an attachment that is not shown inline; images by cid within HTML do not
    count.
    """
    return any(part.disposition == "attachment" or "content-id" not in part.message for part in body.attached)


def _preview(text: str | None, markup: str | None) -> str:
    if text is None or not text[:_PREVIEW_SOURCE].strip():
        text = html.unescape(_INVISIBLE.sub(" ", (markup or "")[:_PREVIEW_SOURCE])).replace("\x00", "\ufffd")
    return " ".join(text[:_PREVIEW_SOURCE].split())[:PREVIEW_LENGTH].rstrip()


def _parser_defects(message: Message) -> list[str]:
    """What the parser noticed, anywhere in the message, by its own names (RFC 2045 and 5322 violations)."""
    found: list[Any] = [defect for part in message.walk() for defect in part.defects]
    return [f"message: {type(defect).__name__}" for defect in found]
