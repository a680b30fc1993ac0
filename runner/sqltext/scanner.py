"""A statement's text, cut into pieces, so that a `:name` is told from a colon that only stands in a text or comment.

Sources of the lexical rules: PostgreSQL 17, 4.1 "Lexical Structure" (DuckDB's lexer is made from it; measured: nested
comments, dollar quotes, `E'…'` with backslashes, `$` inside of names); BigQuery "Lexical structure" (backslashes in
all strings, three quotes, backticks, `#`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

ENGINES = ("duckdb", "bigquery", "postgres")
"""Engines whose texts can be read."""

Kind = Literal["placeholder", "word", "quoted", "comment", "space", "semicolon", "other"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a statement. `start` and `end` count characters of the text; a placeholder's text holds its colon."""

    kind: Kind
    start: int
    end: int
    text: str


class SqlMistake(Exception):
    """Something that is wrong at a character of a statement; for the loader, which knows file and line.

    `offset` counts characters from the beginning of the text.
    """

    def __init__(self, message: str, offset: int, *, expected: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.expected = expected
        self.hint = hint


_WORD = r"[^\W\d][\w$]*|\d[\w.]*"
_NO_PLACEHOLDER_AFTER = frozenset(":)]}'\"`$\\")
"""After these a colon is a cast, a slice (`x[f(a):b]`) or the value of a key (`{'a':b}`)."""

_POSTGRES: tuple[tuple[Kind, str], ...] = (
    ("comment", r"--[^\n]*"),
    ("quoted", r"[eE]'(?:[^'\\]|\\.|'')*'"),
    ("quoted", r"'(?:[^']|'')*'"),
    ("quoted", r'"(?:[^"]|"")*"'),
    ("quoted", r"\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$"),
)
_BIGQUERY: tuple[tuple[Kind, str], ...] = (
    ("comment", r"(?:--|\#)[^\n]*"),
    ("comment", r"/\*.*?\*/"),
    ("quoted", r"'''(?:[^\\]|\\.)*?'''"),
    ("quoted", r'"""(?:[^\\]|\\.)*?"""'),
    ("quoted", r"'(?!'')(?:[^'\\\n]|\\.)*'|''"),
    ("quoted", r'"(?!"")(?:[^"\\\n]|\\.)*"|""'),
    ("quoted", r"`(?:[^`\\\n]|\\.)+`"),
)
_SHARED: tuple[tuple[Kind, str], ...] = (
    ("space", r"\s+"),
    ("placeholder", r":[A-Za-z_]\w*"),
    ("word", _WORD),
    ("semicolon", r";"),
)
_PATTERNS = {
    engine: [(kind, re.compile(pattern, re.DOTALL)) for kind, pattern in (*own, *_SHARED)]
    for engine, own in (("duckdb", _POSTGRES), ("postgres", _POSTGRES), ("bigquery", _BIGQUERY))
}
_OPENERS = {"'": "text in quotes", '"': "quoted name", "`": "quoted name"}
_NESTED = re.compile(r"/\*|\*/")


def pieces(text: str, engine: str) -> Iterator[Piece]:
    """Yield the pieces of a statement; together they are the text.

    Raises `SqlMistake` for a quote or comment that does not end, and a placeholder whose name cannot be one.
    """
    position = 0
    while position < len(text):
        piece = _piece(text, position, engine)
        yield piece
        position = piece.end


def placeholders(text: str, engine: str) -> list[tuple[str, int]]:
    """Return name and offset of every placeholder, in order. Raises `SqlMistake`."""
    return [(piece.text[1:], piece.start) for piece in pieces(text, engine) if piece.kind == "placeholder"]


def position(text: str, offset: int) -> tuple[int, int]:
    """Return line and column of a character, both counted from 1."""
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def _piece(text: str, start: int, engine: str) -> Piece:
    if engine != "bigquery" and text.startswith("/*", start):
        return _made("comment", text, start, _end_of_nested(text, start))
    for kind, pattern in _PATTERNS[engine]:
        match = pattern.match(text, start)
        if match is None:
            continue
        if kind == "placeholder":
            if not _may_begin(text, start):
                continue
            _refuse_odd_name(text, start, match.end())
        return _made(kind, text, start, match.end())
    if text[start] in _OPENERS or text.startswith("/*", start):
        raise SqlMistake(f"a {_OPENERS.get(text[start], 'comment')} begins here and does not end", start)
    return _made("other", text, start, start + 1)


def _made(kind: Kind, text: str, start: int, end: int) -> Piece:
    return Piece(kind, start, end, text[start:end])


def _may_begin(text: str, start: int) -> bool:
    before = text[start - 1] if start else " "
    return not (before in _NO_PLACEHOLDER_AFTER or before == "_" or before.isalnum())


def _refuse_odd_name(text: str, start: int, end: int) -> None:
    if not text[start:end].isascii() or text[end : end + 1] == "$":
        raise SqlMistake(
            f"{text[start : end + 1].strip()!r} cannot be a placeholder", start,
            expected=":name of the letters a to z, digits and _",
        )  # fmt: skip


def _end_of_nested(text: str, start: int) -> int:
    depth = 0
    for match in _NESTED.finditer(text, start):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    raise SqlMistake("a comment begins here and does not end", start)
