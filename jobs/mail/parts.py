"""The parts of a message: which are its body, which are attachments (the algorithm of RFC 8621 section
4.1.4).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from email.utils import collapse_rfc2231_value
from typing import TYPE_CHECKING, Any

from jobs.mail.text import decode_text, header_text, plain_header, storable

if TYPE_CHECKING:
    from email.message import Message

_INLINE_MEDIA = ("image/", "audio/", "video/")


@dataclass(slots=True)
class Part:
    """One leaf of the message: its number in the tree ("1.2"), type, disposition and file name."""

    message: Message
    number: str
    type: str
    disposition: str | None
    name: str | None

    @property
    def is_media(self) -> bool:
        """Whether it is an image, sound or film, which may stand within a body."""
        return self.type.startswith(_INLINE_MEDIA)


@dataclass(slots=True)
class Body:
    """The three lists of RFC 8621: what to show as text, what as HTML, and what to list as attached."""

    text: list[Part] = field(default_factory=list)
    html: list[Part] = field(default_factory=list)
    attached: list[Part] = field(default_factory=list)


def body_of(message: Message, defects: list[str]) -> Body:
    """The body of `message`, nested multiparts included; messages within the message stay closed, as
    attachments.
    """
    body = Body()
    _sort(body, [message], "mixed", "", False, (body.text, body.html), defects)
    return body


def _sort(
    body: Body,
    messages: list[Message],
    container: str,
    prefix: str,
    in_alternative: bool,
    into: tuple[list[Part] | None, list[Part] | None],
    defects: list[str],
) -> None:
    """RFC 8621's parseStructure: put the children of one multipart into the lists of `body`.

    `into` are the lists that text parts go to, None for the one that an alternative has closed.
    """
    text, html = into
    before = len(body.text), len(body.html)
    for index, message in enumerate(messages):
        number = f"{prefix}{index + 1}"
        if message.get_content_maintype() == "multipart" and message.is_multipart():
            kind, children = message.get_content_subtype(), message.get_payload()
            inside = in_alternative or kind == "alternative"
            _sort(body, children, kind, f"{number}.", inside, (text, html), defects)  # type: ignore[arg-type]
            continue
        part = _part(message, number, defects)
        if not _is_inline(part, index, container):
            body.attached.append(part)
        elif container == "alternative":
            {"text/plain": body.text, "text/html": body.html}.get(part.type, body.attached).append(part)
        else:
            if in_alternative and part.type == "text/plain":
                html = None
            elif in_alternative and part.type == "text/html":
                text = None
            for chosen in (text, html):
                if chosen is not None:
                    chosen.append(part)
            if part.is_media and (text is None or html is None):
                body.attached.append(part)
    if container == "alternative":
        _fill_alternative(body, before)


def _fill_alternative(body: Body, before: tuple[int, int]) -> None:
    """An alternative that offers only one of the two shows that one in both."""
    new_text, new_html = body.text[before[0] :], body.html[before[1] :]
    if new_html and not new_text:
        body.text.extend(new_html)
    elif new_text and not new_html:
        body.html.extend(new_text)


def _is_inline(part: Part, index: int, container: str) -> bool:
    if part.disposition == "attachment" or not (part.type in ("text/plain", "text/html") or part.is_media):
        return False
    return index == 0 or (container != "related" and (part.is_media or not part.name))


def _part(message: Message, number: str, defects: list[str]) -> Part:
    kind = storable(message.get_content_type())
    if kind.startswith("multipart/"):
        defects.append(f"part {number}: {kind} without parts, read as text/plain")
        kind = "text/plain"
    disposition = message.get_content_disposition()
    shown = None if disposition is None else storable(disposition)
    return Part(message, number, kind, shown, file_name(message, defects, number))


def file_name(message: Message, defects: list[str], number: str) -> str | None:
    """The part's file name: RFC 2231 continuations and charsets, and the encoded words that many programs put
    there.
    """
    where = f"part {number} file name"
    for parameter, header in (("filename", "content-disposition"), ("name", "content-type")):
        try:
            value = message.get_param(parameter, None, header)
            if value is None:
                continue
            if isinstance(value, tuple):  # RFC 2231: charset, language, text with one character a byte
                return _rfc2231(value, defects, where)
            return header_text(collapse_rfc2231_value(value), defects, where).strip() or None
        except Exception as error:  # noqa: BLE001  malformed continuations fail in many ways
            defects.append(f"{where}: cannot be read ({type(error).__name__})")
    return None


def _rfc2231(value: tuple[str | None, str | None, str], defects: list[str], where: str) -> str | None:
    charset, _, text = value
    try:
        data = text.encode("latin-1")
    except UnicodeEncodeError:  # bytes that were not percent-encoded
        data = text.encode("utf-8", "surrogateescape")
    return decode_text(data, charset or "us-ascii", defects, where) or None


def content_of(part: Part, defects: list[str]) -> bytes:
    """The part's content with its transfer encoding undone; of an enclosed message, its bytes."""
    if part.message.is_multipart():  # message/rfc822 and its kin hold messages
        inner: Any = part.message.get_payload()
        try:
            return b"\n".join(each.as_bytes() for each in inner)
        except Exception as error:  # noqa: BLE001  writing it back fails in many ways
            defects.append(f"part {part.number}: enclosed message cannot be written ({type(error).__name__})")
            return b""
    content = part.message.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def text_of(part: Part, defects: list[str]) -> str:
    """The text of a text part, line ends as LF."""
    charset = _charset(part, defects)
    return decode_text(content_of(part, defects), charset, defects, f"part {part.number}").replace(
        "\r\n", "\n"
    )


def _charset(part: Part, defects: list[str]) -> str | None:
    try:
        value = part.message.get_param("charset")
        if isinstance(value, tuple):
            value = collapse_rfc2231_value(value)
        return str(value).strip() if value else None
    except Exception as error:  # noqa: BLE001  malformed continuations fail in many ways
        defects.append(f"part {part.number}: charset cannot be read ({type(error).__name__})")
        return None


def attachment_of(part: Part, defects: list[str]) -> dict[str, Any]:
    """The attachment as RFC 8621's EmailBodyPart; `size` in bytes of the decoded content."""
    content = content_of(part, defects)
    cid = part.message.get("content-id")
    return {
        "partId": part.number,
        "blobId": "blob-" + hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "name": part.name,
        "type": part.type,
        "disposition": part.disposition,
        "cid": plain_header(str(cid), defects, "content-id").strip("<> ") if cid else None,
        "isInline": part.disposition == "inline" or (cid is not None and part.disposition != "attachment"),
    }
