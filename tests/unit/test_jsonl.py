"""Lines that survive every content and notice every damage."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.jsonl import DamagedLine, decode_line, decode_lines, dumps, encode_line

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text().filter(lambda key: key != "crc"), values, min_size=1, max_size=4)


@given(objects)
def test_a_line_comes_back_as_it_was(data: dict[str, Any]) -> None:
    """Any JSON object, in ASCII on one line, also with half surrogate pairs and control characters."""
    line = encode_line(data)
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode_line(line[:-1]) == data


@given(objects, st.data())
def test_a_changed_byte_is_noticed(data: dict[str, Any], draw: st.DataObject) -> None:
    """One changed byte anywhere: the line is refused, or says what it said."""
    line = bytearray(encode_line(data)[:-1])
    at = draw.draw(st.integers(0, len(line) - 1))
    line[at] ^= draw.draw(st.integers(1, 255))
    try:
        read = decode_line(bytes(line))
    except DamagedLine:
        return
    assert {key: read[key] for key in data} == data


def test_lines_of_other_writers_need_no_checksum() -> None:
    """A line made by hand is taken as it is, and any tool reads ours."""
    assert decode_line(b'{"event_type": "x"}') == {"event_type": "x"}
    assert json.loads(encode_line({"a": 1}))["a"] == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[1]", "expected an object, found list"),
        (b'{"a":1,"crc":"00000000"}', "checksum"),
        (b'{"a":1}{"a":1}', "not JSON"),
        (b"\0\0\0\0", "not JSON"),
    ],
)
def test_damage_says_what_is_wrong(line: bytes, reason: str) -> None:
    """The line number and the reason are in the error."""
    with pytest.raises(DamagedLine, match=f"line 7: .*{reason}"):
        decode_line(line, 7)


def test_only_a_torn_last_line_is_forgiven() -> None:
    """Without its newline, the last line may be anything; with it, or in the middle, it may not."""
    good = encode_line({"a": 1})
    assert list(decode_lines(good + good[:5])) == [(1, {"a": 1}), (2, None)]
    assert list(decode_lines(good + b"\0" * 9)) == [(1, {"a": 1}), (2, None)]
    assert list(decode_lines(good + good[:-1])) == [(1, {"a": 1}), (2, {"a": 1})]
    assert list(decode_lines(b"")) == []
    for content in (good + good[:5] + b"\n", good[:5] + b"\n" + good, good + b"\n" + good):
        with pytest.raises(DamagedLine):
            list(decode_lines(content))


class Rude:
    """A value whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 2, 12, 7, tzinfo=timezone(timedelta(hours=1))), "2026-02-12T06:00:00.000000Z"),
        (datetime(2026, 2, 12, 7), "2026-02-12T07:00:00"),  # noqa: DTZ001 - a function may give one in details
        (date(2026, 2, 12), "2026-02-12"),
        (Decimal("1.50"), "1.50"),
        (b"\x00\xff", "00ff"),
        (float("nan"), None),
        (float("inf"), None),
        ([float("nan"), 1], [None, 1]),
        ({1: "a", (2, 3): "b", None: "c"}, {"1": "a", "(2, 3)": "b", "None": "c"}),
        ({"b", "a"}, ["a", "b"]),
        (PurePosixPath("a/b"), "a/b"),
        (Rude(), "<Rude, whose text raises RuntimeError>"),
        ({"x": Rude(), "y": float("nan")}, {"x": "<Rude, whose text raises RuntimeError>", "y": None}),
    ],
)
def test_values_that_json_does_not_know_become_text(value: object, expected: object) -> None:
    """A record is written whatever a function or a driver put into it."""
    assert json.loads(dumps({"value": value})) == {"value": expected}


def test_a_cycle_ends() -> None:
    """It is cut, not an error."""
    loop: dict[str, Any] = {"at": datetime(2026, 1, 1, tzinfo=UTC)}
    loop["self"] = loop
    assert "<nested too deeply>" in dumps(loop)
