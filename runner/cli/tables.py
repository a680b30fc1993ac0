"""Plain tables: columns two spaces apart, numbers to the right, no lines, so that `awk` and `cut` can
read them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

from runner.cli.console import BOLD, Part, Styled
from runner.cli.escaping import escape


def table(
    head: Sequence[str], rows: Sequence[Sequence[Part]], *, right: Sequence[str] = ()
) -> Iterator[list[Part]]:
    """Yield the lines of a table, each as parts for `Console.data`.

    `right` names the columns set to the right.
    """
    widths = [max(width(str(cell)) for cell in column) for column in zip(head, *rows, strict=True)]
    aligned = [name in right for name in head]
    yield _line([Styled(name, BOLD) for name in head], widths, aligned)
    for row in rows:
        yield _line(row, widths, aligned)


def width(text: str) -> int:
    """Return how many columns of a terminal `text` takes once it is escaped."""
    shown = escape(text)
    if shown.isascii():
        return len(shown)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in shown)
    joined = sum(unicodedata.combining(character) != 0 for character in shown)
    return len(shown) + wide - joined


def clip(text: str, columns: int) -> str:
    """Return `text` cut to a number of terminal columns, ending in `…` where something was cut."""
    if width(text) <= columns:
        return text
    kept = ""
    for character in escape(text):
        if width(kept + character) >= columns:
            break
        kept += character
    return kept + "…"


def _line(cells: Sequence[Part], widths: Sequence[int], right: Sequence[bool]) -> list[Part]:
    """Lay cells out. Nothing stands behind the last one that is not empty."""
    shown = next((position for position in range(len(cells), 0, -1) if str(cells[position - 1])), 0)
    parts: list[Part] = []
    for position, cell in enumerate(cells[:shown]):
        space = " " * (widths[position] - width(str(cell)))
        last = position == shown - 1
        gap = "" if last else "  "
        parts += [space, cell, gap] if right[position] else [cell, gap if last else space + gap]
    return parts
