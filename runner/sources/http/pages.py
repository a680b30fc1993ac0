"""A page of an API: its JSON, read in slices, and the list of records in it.

`json.loads` keeps the interpreter for itself from the first byte to the last (measured: 0.6 s for 18 MB, in a thread
as well as on the loop, for it never gives up the GIL). So the list of records of a page that is not small is walked
through element by element, each of them read by the decoder of the standard library, and the event loop gets its turn
in between. That takes about twice as long for records of 100 bytes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from runner.ports import Row
from runner.sources.http.pace import Pace

SMALL = 100_000
"""Characters of a page that is read in one go: a millisecond or two."""

FIRST_BYTES = 80
"""Bytes of a page that are shown when it is of no use."""

_space = re.compile(r"[ \t\n\r]*").match
_ANY = None
"""Stands in a path for every key: the only list is looked for."""

Steps = Generator[None, None, Any]


class BadPage(ValueError):
    """A page that cannot be used; the text says why and where."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page. `number` counts from 1; `links` are those of its header, by `rel`; `document` is all of it."""

    number: int
    url: str
    links: Mapping[str, str]
    document: Any
    records: Sequence[Row]


async def decoded(
    body: bytes, path: tuple[str, ...] | None, *, decimals: bool, pace: Pace, small: int = SMALL
) -> tuple[Any, list[Row]]:
    """Return the document in `body` and the list of records at `path` in it (None: the only list there is).

    `decimals`: numbers with a point become `Decimal`, not `float`. `small`: characters up to which a page is read in
    one go. Raises `BadPage`.
    """
    try:
        text = body.decode(json.detect_encoding(body)).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise BadPage(f"it is not UTF-8 at byte {error.start}") from None
    walk = _Walk(text, decimals=decimals)
    document = await pace.through(walk.document(path, in_slices=len(text) > small))
    found = _found(document, path)
    for number, record in enumerate(found, start=1):
        if not isinstance(record, dict):
            raise BadPage(f"record {number} of {len(found)} is {_kind(record)}; expected an object")
    return document, found


def at_path(document: Any, path: Sequence[str]) -> Any:
    """Return what stands at a path, None where there is nothing."""
    for key in path:
        if not isinstance(document, dict):
            return None
        document = document.get(key)
    return document


class _Walk:
    """Reads one JSON text; its generators yield after each element of the list of records."""

    def __init__(self, text: str, *, decimals: bool) -> None:
        self._text = text
        self._decoder = json.JSONDecoder(
            parse_float=Decimal if decimals else _finite, parse_constant=_no_constant
        )

    def document(self, path: tuple[str, ...] | None, *, in_slices: bool) -> Steps:
        """Read the whole text. Raises `BadPage`."""
        start = _after_space(self._text, 0)
        wanted: tuple[str | None, ...] | None = None
        if in_slices:
            wanted = (_ANY,) if path is None and self._text[start : start + 1] == "{" else path or ()
        value, end = yield from self._value(start, wanted)
        if (end := _after_space(self._text, end)) != len(self._text):
            raise BadPage(f"it is not JSON: more text at character {end}")
        return value

    def _value(self, at: int, path: tuple[str | None, ...] | None) -> Steps:
        """Read the value at `at`; `path` leads from it to the list, None: there is none below."""
        opening = self._text[at : at + 1]
        if path == () and opening == "[":
            return (yield from self._list(at + 1))
        if path and opening == "{":
            return (yield from self._object(at + 1, path))
        return self._whole(at)

    def _list(self, at: int) -> Steps:
        values: list[Any] = []
        at = _after_space(self._text, at)
        if self._text[at : at + 1] == "]":
            return values, at + 1
        while True:
            value, at = self._whole(at)
            values.append(value)
            yield
            at, more = self._separator(at, "]")
            if not more:
                return values, at

    def _object(self, at: int, path: tuple[str | None, ...]) -> Steps:
        found: dict[str, Any] = {}
        at = _after_space(self._text, at)
        if self._text[at : at + 1] == "}":
            return found, at + 1
        while True:
            if self._text[at : at + 1] != '"':
                raise BadPage(f"it is not JSON: expected a name in double quotes at character {at}")
            key, at = self._whole(at)
            at = _after_space(self._text, at)
            if self._text[at : at + 1] != ":":
                raise BadPage(f"it is not JSON: expected ':' at character {at}")
            below = path[1:] if path[0] in (_ANY, key) else None
            found[key], at = yield from self._value(_after_space(self._text, at + 1), below)
            at, more = self._separator(at, "}")
            if not more:
                return found, at

    def _separator(self, at: int, closing: str) -> tuple[int, bool]:
        """Step over what comes after an element; False: it was the last."""
        at = _after_space(self._text, at)
        sign = self._text[at : at + 1]
        if sign == closing:
            return at + 1, False
        if sign != ",":
            raise BadPage(f"it is not JSON: expected ',' or '{closing}' at character {at}")
        return _after_space(self._text, at + 1), True

    def _whole(self, at: int) -> tuple[Any, int]:
        """Read a value in one go."""
        try:
            return self._decoder.raw_decode(self._text, at)
        except json.JSONDecodeError as error:
            raise BadPage(f"it is not JSON: {error.msg} at character {error.pos}") from None
        except ValueError as error:  # a number without end, or none that there is
            raise BadPage(
                f"it is not JSON that can be kept: {error}, in the value at character {at}"
            ) from None
        except RecursionError:
            raise BadPage(f"it nests too deeply, in the value at character {at}") from None


def _found(document: Any, path: tuple[str, ...] | None) -> list[Any]:
    if path is not None:
        found = at_path(document, path)
        if not isinstance(found, list):
            raise BadPage(
                f"{'.'.join(path)} is {_kind(found)}; expected the list of records there; {_keys(document)}"
            )
        return found
    if isinstance(document, list):
        return document
    lists = (
        [key for key, value in document.items() if isinstance(value, list)]
        if isinstance(document, dict)
        else []
    )
    if len(lists) == 1:
        only: list[Any] = document[lists[0]]
        return only
    which = f"has the lists {', '.join(lists[:10])}" if lists else "has no list"
    raise BadPage(f"it {which}; expected `records: PATH` to say which holds the records; {_keys(document)}")


def _keys(document: Any) -> str:
    if not isinstance(document, dict):
        return f"the page is {_kind(document)}"
    return f"the keys of the page are {', '.join(map(repr, list(document)[:10])) or 'none'}"


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    names = {dict: "an object", list: "a list", str: "text", type(None): "null"}
    return names.get(type(value), "a number")


def _after_space(text: str, at: int) -> int:
    match = _space(text, at)
    return match.end() if match else at


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:30]} is too large for a float")
    return number


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")
