"""One YAML file to one tree of `Node`s: a single pass over the events of PyYAML's C parser.

Nothing is composed or constructed before it was looked at: size, depth, number of values, anchors, aliases,
tags and further documents are refused at the first event that shows them. That is why hostile input costs
milliseconds: PyYAML's own C loader dies of a segmentation fault at 100,000 nested brackets, and a bomb of 332
bytes expands without end in whatever walks the result (GUARANTEES 0.7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.errors import ConfigurationError, Problem
from runner.loader.nodes import Node, path_text, shorten
from runner.loader.scalars import AmbiguousScalar, resolve_plain

if TYPE_CHECKING:
    from yaml.error import MarkedYAMLError

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_NODES = 20_000
MAX_PROBLEMS = 50


def read_yaml(data: bytes, file: str) -> Node:
    """Read one document whose top is a mapping. `file` is the name for messages.

    Raises `ConfigurationError` with every ambiguous scalar, duplicate key, tag and so on that was found, or
    with the first thing that makes reading on impossible.
    """
    text = _decode(data, file)
    builder = _Builder(file)
    try:
        builder.run(text)
    except _Stop:
        pass
    except RecursionError:  # the pure Python parser, where libyaml is missing
        builder.problems.append(Problem(file=file, message=f"nested deeper than {MAX_DEPTH} levels"))
    if builder.problems:
        raise ConfigurationError(builder.problems)
    root = builder.root
    if root is None or not isinstance(root.value, dict):
        line, column = (root.line, root.column) if root else (0, 0)
        what = "the file is empty" if root is None or root.value is None else "the document is not a mapping"
        raise ConfigurationError(
            [Problem(file=file, line=line, column=column, message=what, expected="keys with values")]
        )
    return root


def _decode(data: bytes, file: str) -> str:
    if len(data) > MAX_BYTES:
        raise ConfigurationError(
            [
                Problem(
                    file=file,
                    message=f"larger than {MAX_BYTES:,} bytes",
                    expected="a file of at most that size",
                )
            ]
        )
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line, column = _position(data, error.start)
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        raise ConfigurationError([Problem(file=file, line=line, column=column, message=message)]) from error


def _position(data: bytes, offset: int) -> tuple[int, int]:
    before = data[:offset]
    newline = before.rfind(b"\n")
    return before.count(b"\n") + 1, len(before[newline + 1 :].decode("utf-8", "replace")) + 1


class _Stop(Exception):
    """Reading on makes no sense."""


class _Builder:
    """Builds the tree from events. `stack` holds the open collections, `key` the open key of each mapping."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self.stack: list[Node] = []
        self.open_keys: list[Node | None] = []
        self.count = 0
        self.documents = 0

    def run(self, text: str) -> None:
        """Consume all events of `text`; raises `_Stop` at the first that forbids going on."""
        import yaml

        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        handlers = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._mapping,
            yaml.SequenceStartEvent: self._sequence,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
        }
        try:
            parser = loader(text)
            event = parser.get_event()
            while event is not None:
                if handler := handlers.get(type(event)):
                    handler(event)
                event = parser.get_event()
        except yaml.MarkedYAMLError as error:
            self._syntax(error)
        except yaml.reader.ReaderError as error:
            self._unreadable(error, text)

    def _problem(
        self, message: str, line: int, column: int, expected: str = "", *, path: bool = True
    ) -> None:
        where = path_text(self._path()) if path else ""
        self.problems.append(
            Problem(file=self.file, line=line, column=column, path=where, message=message, expected=expected)
        )
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Stop

    def _path(self) -> list[str | int]:
        parts: list[str | int] = []
        for node, key in zip(self.stack, self.open_keys, strict=True):
            if isinstance(node.value, list):
                parts.append(len(node.value))
            elif key is not None and isinstance(key.value, str):
                parts.append(key.value)
        return parts

    def _fatal(self, event: Any, message: str, expected: str = "") -> None:
        mark = event.start_mark
        self._problem(message, mark.line + 1, mark.column + 1, expected, path=False)
        raise _Stop

    def _document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            self._fatal(event, "a second document begins here", "one document a file")

    def _alias(self, event: Any) -> None:
        self._fatal(event, f"alias *{shorten(event.anchor)[1:-1]}", "the value itself: aliases are not read")

    def _new(self, event: Any, value: Any) -> Node:
        mark = event.start_mark
        node = Node(value, mark.line + 1, mark.column + 1)
        self.count += 1
        if self.count > MAX_NODES:
            self._fatal(event, f"more than {MAX_NODES:,} values", "several smaller files")
        if event.anchor is not None:
            self._fatal(
                event, f"anchor &{shorten(event.anchor)[1:-1]}", "no anchors: each value where it is used"
            )
        if event.tag is not None:
            tag = shorten(event.tag.replace("tag:yaml.org,2002:", "!!"))[1:-1]
            self._fatal(event, f"tag {tag}", "no tags: a value that begins with ! needs quotes")
        return node

    def _scalar(self, event: Any) -> None:
        node = self._new(event, event.value)
        if not event.style:
            try:
                node.value = resolve_plain(event.value)
            except AmbiguousScalar as error:
                shown = shorten(event.value)
                message = f"{shown[1:-1]} without quotes is {error}"
                self._problem(message, node.line, node.column, f"{shown} in quotes{_instead(str(error))}")
            except ValueError as error:
                self._problem(str(error), node.line, node.column, "quotes, or a shorter number")
        self._place(node)

    def _mapping(self, event: Any) -> None:
        self._open(event, {})

    def _sequence(self, event: Any) -> None:
        self._open(event, [])

    def _open(self, event: Any, value: Any) -> None:
        node = self._new(event, value)
        if len(self.stack) >= MAX_DEPTH:
            self._fatal(event, f"nested deeper than {MAX_DEPTH} levels", "a flatter file")
        if self.stack and isinstance(self.stack[-1].value, dict) and self.open_keys[-1] is None:
            self._fatal(event, "a list or mapping as a key", "text as a key")
        self.stack.append(node)
        self.open_keys.append(None)

    def _end(self, _event: Any) -> None:
        node = self.stack.pop()
        self.open_keys.pop()
        self._place(node)

    def _place(self, node: Node) -> None:
        """Put a finished node where it belongs: the root, a list, a key, or the value of the open key."""
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        if isinstance(parent.value, list):
            parent.value.append(node)
        elif (key := self.open_keys[-1]) is None:
            self._key(parent, node)
        else:
            self.open_keys[-1] = None
            if isinstance(key.value, str) and key.value not in parent.value:
                parent.value[key.value] = node
                parent.keys[key.value] = key.line, key.column

    def _key(self, parent: Node, key: Node) -> None:
        self.open_keys[-1] = key
        if not isinstance(key.value, str):
            self._problem(f"key {shorten(key.value)} is not text", key.line, key.column, "quotes around it")
        elif key.value in parent.value:
            line, column = parent.keys[key.value]
            message = f"this key is already at {self.file}:{line}:{column}"
            self._problem(message, key.line, key.column, "each key once")

    def _syntax(self, error: MarkedYAMLError) -> None:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        message = " ".join(str(part) for part in (error.problem, error.context) if part)
        self._problem(f"not YAML: {message}", line, column, path=False)

    def _unreadable(self, error: Any, text: str) -> None:
        line, column = _position(text.encode(), int(error.position))
        code = error.character if isinstance(error.character, int) else ord(error.character)
        message = f"character U+{code:04X} may not stand in YAML"
        self._problem(message, line, column, 'an escape such as "\\x1b" in double quotes', path=False)


def _instead(reading: str) -> str:
    """Return what else would say the same to everybody, as the end of a sentence."""
    word = reading.partition(" ")[0]
    if word in ("true", "false"):
        return f", or {word}"
    return ", or a plain decimal number" if "number" in reading else ""
