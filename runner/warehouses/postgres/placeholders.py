"""`:name` in a statement's text: as `$1` for values that are bound, as `current_setting(…)` where none can be.

`COPY (SELECT …) TO` is how rows come fastest, and it takes no parameters. There the values are handed over before, by
`set_config` with bound parameters, and the statement reads them as settings of its transaction. The planner knows
their values: `current_setting` is stable, so it is evaluated for estimates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from runner.errors import WarehouseError
from runner.sql import POSTGRES
from runner.sqltext import Piece, pieces
from runner.types.values import show
from runner.warehouses.postgres.faults import ENGINE

SETTINGS = "run_pipeline"
"""The prefix of the settings that hold values."""


@lru_cache(maxsize=256)
def _pieces(text: str) -> tuple[Piece, ...]:
    return tuple(pieces(text, POSTGRES.name))


def numbered(text: str, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Return the text with `$1`, `$2`, … and the values in that order. Raises `KeyError` for one without a value."""
    if not values:
        return text, []
    numbers: dict[str, int] = {}
    written = []
    for piece in _pieces(text):
        if piece.kind == "placeholder":
            number = numbers.setdefault(piece.text[1:], len(numbers) + 1)
            written.append(f"${number}")
        else:
            written.append(piece.text)
    return "".join(written), [values[name] for name in numbers]


def names_of(text: str, values: Mapping[str, Any]) -> list[str]:
    """Return the placeholders of a text, each once, in the order in which `numbered` numbers them."""
    if not values:
        return []
    return list(dict.fromkeys(piece.text[1:] for piece in _pieces(text) if piece.kind == "placeholder"))


def refuse_nul(values: Mapping[str, Any]) -> None:
    """Raise `WarehouseError` that names a text with NUL among values: the server's own error names neither it nor its
    parameter.
    """
    for name, value in values.items():
        if isinstance(value, str) and "\0" in value:
            message = (
                f"the value of :{name} has the character NUL, which PostgreSQL cannot hold, got {show(value)}"
            )
            raise WarehouseError(ENGINE, message)


def as_settings(text: str, types: Mapping[str, str]) -> str:
    """Return the text with an expression in place of each placeholder that reads the setting of its name, as the type
    of `types` (the engine's names for them).
    """
    if not types:
        return text
    return "".join(
        f"CAST(pg_catalog.current_setting('{setting(piece.text[1:])}') AS {types[piece.text[1:]]})"
        if piece.kind == "placeholder"
        else piece.text
        for piece in _pieces(text)
    )


def setting(name: str) -> str:
    """Return the name of the setting that holds a value; names of placeholders are letters, digits and `_`."""
    return f"{SETTINGS}.v_{name}"


_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),
    (int, "bigint"),
    (float, "double precision"),
    (Decimal, "numeric"),
    (datetime, "timestamp with time zone"),
    (date, "date"),
    (bytes, "bytea"),
    (str, "text"),
)


def type_of(value: Any) -> str:
    """Return the engine's type for a Python value. Raises `TypeError` for a value that has none."""
    for kind, name in _TYPES:
        if isinstance(value, kind):
            return name
    raise TypeError(f"{value!r} is a {type(value).__name__}; expected a value of one of the declared types")


def setting_text(value: Any) -> str:
    """Return a value as text that its type's input reads back exactly."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, date):  # and datetime
        return value.isoformat()
    return str(value)


def types_of(names: Sequence[str], values: Mapping[str, Any]) -> dict[str, str]:
    """Return the engine's type of each named value."""
    return {name: type_of(values[name]) for name in names}
