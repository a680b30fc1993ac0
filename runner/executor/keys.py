"""Which incremental key a row came from, as far as the row still tells: for the quarantine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runner.incremental import key_text
from runner.ports import IncrementalRead, Row
from runner.specs import StepSpec, TableSpec, WriteSpec


def row_key(
    spec: StepSpec, source: TableSpec | None, read: IncrementalRead | None
) -> Callable[[Row], str | None]:
    """Return what finds the key's text in a row: in the source key's columns, or in those of the target's key when
    the row is on its way into the target. None where the row does not carry it. Keys of extracted rows, which no
    `source` table declares, are taken as text.
    """
    if read is None:
        return lambda row: None
    if isinstance(spec, WriteSpec) and spec.ref == read.target.ref:
        return lambda row: _stripped(_text(row, read.spec.target_key, read.target), read)
    return lambda row: _text(row, read.spec.source_key, source)


def _text(row: Row, names: Sequence[str], table: TableSpec | None) -> str | None:
    types = [table.column(name).type if table else "string" for name in names]
    try:
        return key_text([row[name] for name in names], types)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None  # the row no longer carries the key, or carries something else under its name


def _stripped(text: str | None, read: IncrementalRead) -> str | None:
    """Take the prefix and suffix that the target's key has off again."""
    prefix, suffix = read.spec.key_prefix, read.spec.key_suffix
    if text is None or not (text.startswith(prefix) and text.endswith(suffix)):
        return None
    return text[len(prefix) : len(text) - len(suffix) or None]
