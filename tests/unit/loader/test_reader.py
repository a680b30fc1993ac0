"""One YAML file to a tree: what is read, what is refused, where, and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from runner.errors import ConfigurationError
from runner.loader.nodes import path_text
from runner.loader.reader import MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_PROBLEMS, read_yaml

LIMIT_SECONDS = 1.0
"""Far above the 50 ms that are meant, so that a busy machine fails nothing; a blow-up takes minutes."""


def refused(data: str | bytes) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_yaml(data.encode() if isinstance(data, str) else data, "f.yaml")
    return str(caught.value)


def bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines)


HOSTILE: dict[str, tuple[Callable[[], str], str]] = {
    "bomb": (bomb, "f.yaml:1:5: anchor &a0; expected no anchors: each value where it is used"),
    "deep brackets": (lambda: "[" * 400_000, f"f.yaml:1:33: nested deeper than {MAX_DEPTH} levels"),
    "deep braces": (lambda: "{a: " * 200_000, f"f.yaml:1:129: nested deeper than {MAX_DEPTH} levels"),
    "deep dashes": (lambda: "- " * 400_000, f"f.yaml:1:65: nested deeper than {MAX_DEPTH} levels"),
    "deep indentation": (
        lambda: "".join(f"{' ' * n}a:\n" for n in range(1000)),
        f"f.yaml:33:33: nested deeper than {MAX_DEPTH} levels",
    ),
    "documents": (lambda: "--- {}\n" * 50_000, "f.yaml:2:1: a second document begins here"),
    "keys": (lambda: "".join(f"k{n}: 1\n" for n in range(90_000)), f"more than {MAX_NODES:,} values"),
    "size": (lambda: "a: " + "x" * MAX_BYTES, f"f.yaml: larger than {MAX_BYTES:,} bytes"),
    "long number": (lambda: "a: " + "9" * 900_000, "a: a number of more than 40 characters"),
    "complex keys": (lambda: "? " * 300_000, "a list or mapping as a key"),
    "long tag": (lambda: "a: !" + "x" * 900_000, "f.yaml:1:4: tag !xxx"),
    "tags": (
        lambda: "a: !!python/object/apply:os.system [x]",
        "f.yaml:1:4: tag !!python/object/apply:os.system",
    ),
    "directive": (lambda: "%" * 900_000, "f.yaml:1:2: not YAML"),
    "alias of nothing": (lambda: "a: *b", "f.yaml:1:4: alias *b"),
    "same key again and again": (lambda: "a: 1\n" * 9_000, "this key is already at f.yaml:1:1"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_is_refused_at_once(name: str) -> None:
    make, expected = HOSTILE[name]
    data = make().encode()
    started = time.perf_counter()
    message = refused(data)
    assert time.perf_counter() - started < LIMIT_SECONDS
    assert expected in message
    assert len(message) < 20_000


@pytest.mark.parametrize(
    "data", ['a: "' + "x" * 900_000 + '"', "a: " + "word " * 180_000, "# " + "x" * 900_000 + "\na: b"]
)
def test_long_texts_are_no_attack(data: str) -> None:
    assert len(read_yaml(data.encode(), "f.yaml").plain()) == 1


def test_at_most_so_many_problems() -> None:
    assert refused("a:\n" + "  - no\n" * 5_000).count("\n") == MAX_PROBLEMS - 1


def test_positions_count_characters_after_a_byte_order_mark() -> None:
    root = read_yaml("\ufeffä: [ü, {ß: x}]\nb: |\n  text\n".encode(), "f.yaml")
    assert root.plain() == {"ä": ["ü", {"ß": "x"}], "b": "text\n"}
    node = root.nearest(("ä", 1, "ß"))
    assert (node.line, node.column) == (1, 12)
    assert root.key_position(("b",)) == (2, 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: caf\xe9", "f.yaml:1:7: byte 0xe9 is not UTF-8"),
        (b"a: b\nc: \xc3\xa4\xff", "f.yaml:2:5: byte 0xff is not UTF-8"),
        (b"\xef\xbb\xbfa: \xff", "f.yaml:1:4: byte 0xff is not UTF-8"),
        (b"\xff\xfea\x00", "f.yaml:1:1: byte 0xff is not UTF-8"),
        (b"a: b\nc: \x00", "f.yaml:2:4: character U+0000 may not stand in YAML"),
        ("ä: \x1b".encode(), "f.yaml:1:4: character U+001B may not stand in YAML"),
        (b"", "f.yaml: the file is empty"),
        (b"# only this\n", "f.yaml: the file is empty"),
        (b"---\n", "f.yaml:2:1: the file is empty"),
        (b"- a", "f.yaml:1:1: the document is not a mapping"),
        (b"text", "f.yaml:1:1: the document is not a mapping"),
        (b"a: [", "f.yaml:2:1: not YAML"),
        (b"a: 'x", "f.yaml:1:6: not YAML"),
        (b"\ta: b", "f.yaml:1:1: not YAML"),
    ],
)
def test_what_is_no_document(data: bytes, message: str) -> None:
    assert refused(data).startswith(message)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("1: a", "f.yaml:1:1: key 1 is not text; expected quotes around it"),
        ("~: a", "f.yaml:1:1: key None is not text; expected quotes around it"),
        ("true: a", "f.yaml:1:1: key True is not text; expected quotes around it"),
        ("on: a", "f.yaml:1:1: on without quotes is true in YAML 1.1; expected 'on' in quotes, or true"),
        (
            "<<: {a: b}",
            "f.yaml:1:1: << without quotes is the 'merge' key of YAML 1.1; expected '<<' in quotes",
        ),
        ("[a]: b", "f.yaml:1:1: a list or mapping as a key; expected text as a key"),
        (
            "a: {b: 1, c: 2, b: 3}",
            "f.yaml:1:17: a.b: this key is already at f.yaml:1:5; expected each key once",
        ),
        ("a: !x y", "f.yaml:1:4: tag !x; expected no tags: a value that begins with ! needs quotes"),
        ("a: ! y", "f.yaml:1:4: tag !; expected no tags: a value that begins with ! needs quotes"),
        ("a: &x y", "f.yaml:1:4: anchor &x; expected no anchors: each value where it is used"),
    ],
)
def test_what_is_refused(data: str, message: str) -> None:
    assert refused(data) == message


def test_all_mistakes_of_a_file_are_told_together() -> None:
    message = refused("a: no\nb:\n  - 1:30\n  - {c: 1, c: 2}\n")
    assert [line.split(": ")[0] for line in message.splitlines()] == [
        "f.yaml:1:4",
        "f.yaml:3:5",
        "f.yaml:4:12",
    ]


def test_the_first_of_two_equal_keys_counts() -> None:
    """What follows a duplicate must still be read with the right nesting."""
    assert "f.yaml:3:4: c: no without quotes" in refused("a: {b: 1}\na: {b: [2]}\nc: no\n")


def test_paths_read_like_code() -> None:
    assert path_text(("steps", 2, "filters", "binding_id")) == "steps[2].filters.binding_id"
    assert path_text(("with", "a key", 0)) == "with['a key'][0]"
