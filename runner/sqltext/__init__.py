"""Statements that a project writes itself: where their placeholders are, what they do, and their values.

scanner     a text as pieces: what is code, what is quoted or a comment, which `:name` is a placeholder
binding     `:name` as the engine writes it, beside its value
analysis    what a statement is, and which tables it reads and changes (by sqlglot, imported only there)
"""

from runner.sqltext.binding import AS_OF, bind
from runner.sqltext.scanner import ENGINES, Piece, SqlMistake, pieces, placeholders, position

__all__ = [
    "AS_OF",
    "ENGINES",
    "Piece",
    "SqlMistake",
    "bind",
    "pieces",
    "placeholders",
    "position",
]
