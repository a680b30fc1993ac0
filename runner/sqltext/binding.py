"""Values beside a statement: `:name` becomes the engine's placeholder, and never its value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.sqltext.scanner import pieces

AS_OF = "as_of"
"""The placeholder that every statement may use: the run's logical time, aware UTC."""


def bind(text: str, engine: str, placeholder: str, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the text as the engine takes it and the values that stand in it.

    `placeholder`: how the engine writes one, with `{name}` in it. Nothing but placeholders is changed. Raises
    `KeyError` for one without a value.
    """
    written: list[str] = []
    used: dict[str, Any] = {}
    for piece in pieces(text, engine):
        if piece.kind != "placeholder":
            written.append(piece.text)
            continue
        name = piece.text[1:]
        used[name] = values[name]
        written.append(placeholder.format(name=name))
    return "".join(written), used
