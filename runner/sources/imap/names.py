"""Names of mailboxes: modified UTF-7 (RFC 3501 section 5.1.3), and patterns over them.

Printable US-ASCII stands for itself, `&` is `&-`, all else is UTF-16BE in a base64 whose `/` is `,` and which has no
padding, between `&` and `-`.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SHIFTED = re.compile(r"&([A-Za-z0-9+,]*)-")
_OTHER = re.compile(r"[^\x20-\x7e]+")


@dataclass(frozen=True, slots=True)
class Folder:
    """A mailbox: its name for people, and as the server wrote it or wants it written."""

    name: str
    wire: bytes

    @classmethod
    def named(cls, name: str) -> Folder:
        """Return the mailbox of a name that people wrote; INBOX in any case is the one INBOX."""
        return cls(_in_case(name), encode(_in_case(name)))

    @classmethod
    def listed(cls, wire: bytes) -> Folder:
        """Return the mailbox of a name that a server sent."""
        return cls(decode(wire), wire)

    @property
    def quoted(self) -> bytes:
        """The name as an argument of a command: a quoted string."""
        return b'"' + self.wire.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def encode(name: str) -> bytes:
    """Write a name in modified UTF-7."""
    return _OTHER.sub(_shifted, name.replace("&", "&-")).encode("ascii")


def decode(wire: bytes) -> str:
    """Read a name in modified UTF-7; what is none (raw UTF-8 of lax servers) is read as it is."""
    try:
        return _SHIFTED.sub(_unshifted, wire.decode("ascii"))
    except ValueError:
        return wire.decode("utf-8", "replace")


def matching(found: Iterable[Folder], patterns: Sequence[str]) -> list[Folder]:
    """Return the folders whose name matches one of the patterns, in the order of the patterns, each once.

    `*` stands for any text. INBOX has no case (RFC 3501 section 5.1); all other names have.
    """
    folders = list(found)
    chosen: dict[str, Folder] = {}
    for pattern in patterns:
        rule = re.compile(".*".join(map(re.escape, _in_case(pattern).split("*"))), re.DOTALL)
        chosen.update((folder.name, folder) for folder in folders if rule.fullmatch(_in_case(folder.name)))
    return list(chosen.values())


def _in_case(name: str) -> str:
    return "INBOX" if name.upper() == "INBOX" else name


def _shifted(found: re.Match[str]) -> str:
    coded = b64encode(found[0].encode("utf-16-be", "surrogatepass")).decode("ascii")
    return f"&{coded.rstrip('=').replace('/', ',')}-"


def _unshifted(found: re.Match[str]) -> str:
    coded = found[1].replace(",", "/")
    if not coded:
        return "&"
    return b64decode(coded + "=" * (-len(coded) % 4)).decode("utf-16-be")
