"""Plain scalars after the YAML 1.2 core schema, and refusal of those that YAML 1.1 reads otherwise.

Source: YAML 1.2.2, section 10.3.2 (core schema tags); the other readings are those of YAML 1.1's type
repository as PyYAML implements it, which most editors and other tools still follow. A value that depends on
who reads it has no place in a configuration, so it must be quoted or written in a form that all read alike.
"""

from __future__ import annotations

import re

_INT = re.compile(r"[-+]?[0-9]+", re.ASCII)
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_FLOAT_FOR_ALL = re.compile(r"([-+]?[0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?", re.ASCII)

# What only one of the two versions takes for something else than text, with the name of what it is.
_OTHERWISE = (
    (re.compile(r"[-+]\.[0-9]+([eE][-+]?[0-9]+)?"), "text to readers of YAML 1.1 and a number in YAML 1.2"),
    (re.compile(r"[-+]?0[0-9_]+"), "an octal number in YAML 1.1 and a decimal number in YAML 1.2"),
    (re.compile(r"0o[0-7]+"), "text in YAML 1.1 and an octal number in YAML 1.2"),
    (re.compile(r"[-+]?0b[01_]+"), "a binary number in YAML 1.1"),
    (re.compile(r"[-+]?0x[0-9a-fA-F_]+"), "a hexadecimal number in YAML 1.1"),
    (re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"), "a number to the base of 60 in YAML 1.1"),
    (re.compile(r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+][0-9]+)?"), "a number in YAML 1.1"),
    (re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?", re.DOTALL), "a date or time in YAML 1.1"),
)
_NUMERIC_START = frozenset("0123456789+-.")
MAX_DIGITS = 40
"""Longer numbers are refused: no column holds them, and reading them takes quadratic time."""


def _spellings(*words: str) -> list[str]:
    return [spelling for word in words for spelling in (word, word.capitalize(), word.upper())]


_VALUES: dict[str, bool | float | None] = {
    **dict.fromkeys(["", "~", *_spellings("null")], None),
    **dict.fromkeys(_spellings("true"), True),
    **dict.fromkeys(_spellings("false"), False),
    **dict.fromkeys([*_spellings(".inf"), "+.inf", "+.Inf", "+.INF"], float("inf")),
    **dict.fromkeys(["-.inf", "-.Inf", "-.INF"], float("-inf")),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], float("nan")),
}
_REFUSED: dict[str, str] = {
    **dict.fromkeys(_spellings("yes", "on", "y"), "true in YAML 1.1"),
    **dict.fromkeys(_spellings("no", "off", "n"), "false in YAML 1.1"),
    "=": "the 'default value' key of YAML 1.1",
    "<<": "the 'merge' key of YAML 1.1",
}


class AmbiguousScalar(ValueError):
    """A plain scalar that must be quoted. `str()` says how it can be read."""


def resolve_plain(text: str) -> str | int | float | bool | None:
    """Return the value of an unquoted scalar.

    Raises `AmbiguousScalar` when YAML 1.1 and 1.2 read it differently, `ValueError` for a number too long."""
    if text in _VALUES:
        return _VALUES[text]
    if text in _REFUSED:
        raise AmbiguousScalar(_REFUSED[text])
    if text[0] not in _NUMERIC_START:
        return text
    if len(text) > MAX_DIGITS:
        if _FLOAT.fullmatch(text):
            raise ValueError(f"a number of more than {MAX_DIGITS} characters")
        return text
    return _number(text)


def _number(text: str) -> str | int | float:
    if _INT.fullmatch(text) and (text.lstrip("+-") == "0" or text.lstrip("+-")[0] != "0"):
        return int(text)
    if _HEX.fullmatch(text):
        return int(text, 16)
    if _FLOAT_FOR_ALL.fullmatch(text):
        return float(text)
    for pattern, reading in _OTHERWISE:
        if pattern.fullmatch(text):
            raise AmbiguousScalar(reading)
    if _FLOAT.fullmatch(text):
        raise AmbiguousScalar("text in YAML 1.1 and a number in YAML 1.2")
    return text
