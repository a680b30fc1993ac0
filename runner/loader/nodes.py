"""A YAML document as a tree that remembers where everything stands.

Values are plain Python; positions are looked up only when something is wrong, so the tree costs little more
than the values themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

Path = tuple[str | int, ...]
"""The way to a node: keys and list indexes, from the top."""

_SIMPLE_KEY = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)


_NO_KEYS: dict[str, tuple[int, int]] = {}
"""Shared by all nodes that are no mappings; most are none."""


class Node:
    """One value of a document with its position.

    `value` is a scalar, a `list[Node]` or a `dict[str, Node]`; `keys` holds the positions of a mapping's
    keys. `line` and `column` count from 1. `unresolved` marks the stand-in of a parameter that has no value
    yet.
    """

    __slots__ = ("column", "keys", "line", "unresolved", "value")

    def __init__(self, value: Any, line: int, column: int) -> None:
        self.value = value
        self.line = line
        self.column = column
        self.keys: dict[str, tuple[int, int]] = {} if type(value) is dict else _NO_KEYS
        self.unresolved = False

    def plain(self) -> Any:
        """Return the value with everything below it, without positions."""
        value = self.value
        if type(value) is dict:
            return {key: child.plain() for key, child in value.items()}
        if type(value) is list:
            return [child.plain() for child in value]
        return value

    def child(self, part: str | int) -> Node | None:
        """Return the node under a key or index, or None. An index into a mapping counts its keys."""
        value = self.value
        if isinstance(value, dict):
            if isinstance(part, int):
                children = list(value.values())
                return children[part] if 0 <= part < len(children) else None
            return value.get(part)
        if isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value):
            item: Node = value[part]
            return item
        return None

    def text(self, key: str) -> str | None:
        """Return the text under a key of this mapping, or None when there is none."""
        child = self.child(key)
        return child.value if child is not None and isinstance(child.value, str) else None

    def nearest(self, path: Path) -> Node:
        """Return the node at `path`, or the deepest one on the way to it."""
        node = self
        for part in path:
            child = node.child(part)
            if child is None:
                break
            node = child
        return node

    def key_position(self, path: Path) -> tuple[int, int]:
        """Return line and column of the key that ends `path`, or of the nearest node when it is no key."""
        parent = self.nearest(path[:-1])
        if path and path[-1] in parent.keys:
            return parent.keys[str(path[-1])]
        node = self.nearest(path)
        return node.line, node.column


def path_text(path: Iterable[str | int]) -> str:
    """Render a path: `steps[2].filters.binding_id`; keys that are no plain word stand in brackets, quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _SIMPLE_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{shorten(part)}]"
    return text


def shorten(value: object, limit: int = 80) -> str:
    """Return `repr(value)`, cut in the middle when it is longer than `limit` characters."""
    if isinstance(value, str) and len(value) > limit:
        value = value[: limit + 1]
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def describe(value: object) -> str:
    """Say what a YAML value is, for messages: `'abc' (text)`, `a list of 3`, `nothing`."""
    match value:
        case None:
            return "nothing"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return f"a list of {len(value)}"
        case bool():
            return f"{str(value).lower()} (true or false)"
        case int() | float():
            return f"{shorten(value)} (a number)"
        case str():
            return f"{shorten(value)} (text)"
        case _:
            return shorten(value)
