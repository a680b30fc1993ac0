"""Which incremental key a row came from, as far as the row still tells: for the quarantine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runner.incremental import key_text
from runner.ports import IncrementalRead, Row
from runner.specs import StepSpec, WriteSpec


def row_key(spec: StepSpec, read: IncrementalRead | None) -> Callable[[Row], str | None]:
    """Return what finds the key's text in a row: in the source key's columns, or in those of the target's key when
    the row is on its way into the target. None where the row does not carry it. Both keys have the same types.
    """
    if read is None:
        return lambda row: None
    if isinstance(spec, WriteSpec) and spec.ref == read.target.ref:
        return lambda row: _stripped(_text(row, read.spec.target_key, read), read)
    return lambda row: _text(row, read.spec.source_key, read)


def _text(row: Row, names: Sequence[str], read: IncrementalRead) -> str | None:
    types = [read.target.column(name).type for name in read.spec.target_key]
    try:
        text = key_text([row[name] for name in names], types)
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError):
        return None  # the row no longer carries the key, or carries something else under its name
    return text if isinstance(text, str) else None


def _stripped(text: str | None, read: IncrementalRead) -> str | None:
    """Take the prefix and suffix that the target's key has off again."""
    prefix, suffix = read.spec.key_prefix, read.spec.key_suffix
    if text is None or len(text) < len(prefix) + len(suffix):
        return None
    if not (text.startswith(prefix) and text.endswith(suffix)):
        return None
    return text[len(prefix) : len(text) - len(suffix)]
