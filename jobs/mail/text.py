"""Bytes and headers of mail into text that every warehouse can hold.

What cannot be read as declared is read as well as possible, and a sentence about it goes to the list
`defects`.
"""

from __future__ import annotations

import codecs
import re
from email.errors import HeaderParseError
from email.header import decode_header

# Python's own codecs that are no charsets of mail: some are slow, some warn, some change the text's meaning.
_NOT_CHARSETS = frozenset({"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"})
_CHARSET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:()+ -]{0,39}$")
_UNFOLD = re.compile(r"\r?\n|\r")


def decode_text(data: bytes, charset: str | None, defects: list[str], where: str) -> str:
    """`data` as text in `charset` (None: US-ASCII, RFC 2045), else as UTF-8, else as Windows-1252 or Latin-1.

    A fallback is noted in `defects` as a sentence that begins with `where`, unless the bytes are plain ASCII
    anyway.
    """
    if charset is not None:
        declared = _decode(data, charset)
        if declared is not None:
            return storable(declared)
    if data.isascii():
        if charset is not None and not _is_charset(charset):
            defects.append(f"{where}: unknown charset {charset!r}, read as us-ascii")
        return storable(data.decode("ascii"))
    fallback = next(name for name in ("utf-8", "windows-1252", "latin-1") if _decode(data, name) is not None)
    defects.append(f"{where}: not text in charset {charset or 'us-ascii'!r}, read as {fallback}")
    return storable(data.decode(fallback))


def header_text(raw: str, defects: list[str], where: str) -> str:
    """A header's value as the parser keeps it (bytes as surrogates): unfolded, bytes read, encoded words
    decoded.
    """
    return encoded_words(plain_header(raw, defects, where), defects, where)


def plain_header(raw: str, defects: list[str], where: str) -> str:
    """A header's value unfolded and with its raw bytes read, its encoded words still encoded (RFC 5322, RFC
    6532).
    """
    if "\n" in raw or "\r" in raw:
        raw = _UNFOLD.sub("", raw)
    raw = raw.strip()
    if not raw.isascii():
        # RFC 6532 allows UTF-8 in headers: no defect. Anything else is one.
        data = raw.encode("utf-8", "surrogateescape")
        raw = decode_text(data, "utf-8", defects, where)
    return storable(raw) if "\x00" in raw else raw


def encoded_words(text: str, defects: list[str], where: str) -> str:
    """`text` with its RFC 2047 encoded words decoded; one that cannot be decoded stays, with a defect."""
    if "=?" not in text:
        return text
    try:
        pieces = decode_header(text)
    except (HeaderParseError, ValueError, LookupError):
        defects.append(f"{where}: encoded word that cannot be decoded")
        return text
    decoded = []
    for piece, charset in pieces:
        if isinstance(piece, str):
            decoded.append(piece)
        elif charset is None:  # what stands between encoded words
            decoded.append(piece.decode("raw-unicode-escape"))
        else:
            decoded.append(decode_text(piece, charset, defects, where))
    return storable("".join(decoded))


def storable(text: str) -> str:
    """`text` without what UTF-8 or a database refuses: lone surrogates become "?", NUL becomes U+FFFD."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text


def _decode(data: bytes, charset: str) -> str | None:
    if not _is_charset(charset):
        return None
    try:
        return data.decode(charset)
    except ValueError:  # UnicodeError is one
        return None


def _is_charset(charset: str) -> bool:
    if not _CHARSET_NAME.match(charset):
        return False
    try:
        found = codecs.lookup(charset)
    except (LookupError, ValueError):
        return False
    # base64, rot13, zlib are codecs too, but not of text.
    return found.name.replace("_", "-") not in _NOT_CHARSETS and getattr(found, "_is_text_encoding", True)
