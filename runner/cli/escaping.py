"""Nothing printed may drive the terminal: names, rows and errors come from outside.

Escaped are C0 and C1 controls (ESC begins terminal sequences, CR overwrites the line), DEL, the marks
that turn the direction of text (they make `gnp.exe` read `exe.png`), line and paragraph separators, and
lone surrogates, which no stream could encode.
"""

from __future__ import annotations

import re

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape(text: str) -> str:
    """Return `text` as one line of visible characters: `\\n`, `\\x1b`, `\\u202e` in place of what is not."""
    return _UNSAFE.sub(_visible, text)


def lines(text: str) -> list[str]:
    """Return the lines of a text, at least one. Only a line feed ends a line: a CR in an error is content."""
    return text.rstrip("\n").split("\n")


def escape_json(text: str) -> str:
    """Return rendered JSON in which no such character is left; json itself escapes only those below a space.

    They can only stand inside strings, where `\\uXXXX` means the same character.
    """
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _visible(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
