"""The mbox reader: where messages begin and end, byte for byte, whatever is in them."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.mail.mbox import envelope_date, messages, split_mbox

ENVELOPE = b"From a@example.org Mon Feb  2 07:15:10 2026\n"


def contents(data: bytes, **options: Any) -> list[bytes]:
    return [message.content for message in split_mbox(io.BytesIO(data), **options)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n\n", []),
        (ENVELOPE, [b""]),
        (ENVELOPE + b"A: 1\n\nx\n", [b"A: 1\n\nx\n"]),
        (ENVELOPE + b"A: 1\n\nx", [b"A: 1\n\nx"]),
        (ENVELOPE + b"A: 1\n\nx\n\n", [b"A: 1\n\nx\n"]),
        (ENVELOPE + b"A: 1\n\nx\n\n\n", [b"A: 1\n\nx\n\n"]),
        (ENVELOPE + b"A: 1\n\nx\n\n" + ENVELOPE + b"B: 2\n\n", [b"A: 1\n\nx\n", b"B: 2\n"]),
        (
            ENVELOPE + b"A: 1\r\n\r\nx\r\n\r\n" + ENVELOPE + b"B: 2\r\n\r\n",
            [b"A: 1\r\n\r\nx\r\n", b"B: 2\r\n"],
        ),
        (b"\n" + ENVELOPE + b"A: 1\n", [b"A: 1\n"]),
    ],
)
def test_messages_lie_between_separators(data: bytes, expected: list[bytes]) -> None:
    assert contents(data) == expected


def test_a_from_line_after_text_does_not_split_and_one_after_a_blank_line_does() -> None:
    inside = ENVELOPE + b"A: 1\n\nhe wrote:\nFrom now on\n"
    assert contents(inside) == [b"A: 1\n\nhe wrote:\nFrom now on\n"]
    after_blank = ENVELOPE + b"A: 1\n\nhe wrote:\n\nFrom now on\nwe\n"
    assert contents(after_blank) == [b"A: 1\n\nhe wrote:\n", b"we\n"]


def test_quoted_from_lines_stay_quoted() -> None:
    body = b"A: 1\n\n>From here\n>>From there\n"
    assert contents(ENVELOPE + body) == [body]


def test_offsets_point_at_the_content() -> None:
    data = ENVELOPE + b"A: 1\n\nx\n\n" + ENVELOPE + b"B: 2\n\ny\n"
    for message in split_mbox(io.BytesIO(data)):
        assert data[message.byte_offset :].startswith(message.content)


def test_text_before_the_first_separator_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^box: not an mbox file: it does not begin with a line 'From '$"):
        contents(b"Subject: x\n\n" + ENVELOPE, name="box")


def test_a_message_above_the_limit_is_an_error_with_its_place() -> None:
    with pytest.raises(
        ValueError, match=rf"^box, byte {len(ENVELOPE)}: message of more than max_message_bytes = 10 "
    ):
        contents(ENVELOPE + b"A: 1\n\n" + b"x" * 100, name="box", max_message_bytes=10)


@pytest.mark.parametrize("length", [65535, 65536, 65537, 131072])
def test_long_lines_are_not_cut_and_their_tails_are_no_separators(length: int) -> None:
    line = b"x" * length + b"\nFrom there\n"
    assert contents(ENVELOPE + line) == [line]
    tail = b"x" * length + b"From there\n"
    assert contents(ENVELOPE + b"\n" + tail) == [b"\n" + tail]
    long_envelope = b"From " + b"y" * length + b"\n"
    assert contents(long_envelope + b"A: 1\n") == [b"A: 1\n"]


@given(
    st.lists(
        st.lists(st.sampled_from([b"", b"text", b">From x", b"A: 1", b"\xff\x00", b"From"]), min_size=1),
        max_size=5,
    )
)
def test_what_is_written_is_read(bodies: list[list[bytes]]) -> None:
    written = [b"".join(line + b"\n" for line in body) for body in bodies]
    assert contents(b"".join(ENVELOPE + body + b"\n" for body in written)) == written


def has_text_before_the_first_separator(data: bytes) -> bool:
    after_blank = True
    for line in re.findall(rb"[^\n]*\n|[^\n]+", data):
        if line.strip() or (after_blank and line.startswith(b"From ")):
            return not (after_blank and line.startswith(b"From "))
        after_blank = line in (b"\n", b"\r\n")
    return False


@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(st.sampled_from([b"From ", b"\n", b"\r\n", b" ", b"x"])).map(b"".join),
    )
)
def test_any_bytes_are_split_or_refused(data: bytes) -> None:
    refusal, found = "", []
    try:
        found = list(split_mbox(io.BytesIO(data)))
    except ValueError as error:
        refusal = str(error)
    assert bool(refusal) == has_text_before_the_first_separator(data)
    assert len(found) <= sum(line.startswith(b"From ") for line in data.split(b"\n"))
    assert sum(len(message.content) for message in found) <= len(data)


@pytest.mark.parametrize(
    ("envelope", "expected"),
    [
        ("From a@b Mon Feb  2 07:15:10 2026", datetime(2026, 2, 2, 7, 15, 10, tzinfo=UTC)),
        ("From a@b Mon Feb 22 07:15 2026", datetime(2026, 2, 22, 7, 15, tzinfo=UTC)),
        ("From a@b Mon Feb  2 07:15:10 2026 +0100", datetime(2026, 2, 2, 6, 15, 10, tzinfo=UTC)),
        ("From a@b Mon Feb  2 07:15:10 -0530 2026", datetime(2026, 2, 2, 12, 45, 10, tzinfo=UTC)),
        ("From a@b Mon Feb  2 07:15:10 CET 2026", datetime(2026, 2, 2, 7, 15, 10, tzinfo=UTC)),
        ("From a@b Mon Feb 31 07:15:10 2026", None),
        ("From a@b Mon Feb  2 07:15:10 2026 +9900", datetime(2026, 2, 2, 7, 15, 10, tzinfo=UTC)),
        ("From a@b yesterday", None),
        ("From ", None),
        (f"From {'a' * 40} Mon Sep 17 00:00:00 2001", None),
    ],
)
def test_date_of_the_from_line(envelope: str, expected: datetime | None) -> None:
    assert envelope_date(envelope) == expected


def test_rows_carry_bytes_key_and_place(samples: Path, file_row: Callable[..., dict[str, Any]]) -> None:
    rows = list(messages(file_row(samples / "inbox.mbox", "inbox")))
    data = (samples / "inbox.mbox").read_bytes()
    assert [row["position"] for row in rows] == list(range(8))
    for row in rows:
        assert row["idem_key"] == "mail:" + hashlib.sha256(row["content"]).hexdigest()
        assert data[row["byte_offset"] :].startswith(row["content"])
        assert (row["size"], row["connection_name"]) == (len(row["content"]), "inbox")
        assert row["delivered_at"] is not None


def test_the_same_message_in_two_mailboxes_has_one_key(
    samples: Path, file_row: Callable[..., dict[str, Any]]
) -> None:
    inbox = {row["idem_key"] for row in messages(file_row(samples / "inbox.mbox"))}
    archive = {row["idem_key"] for row in messages(file_row(samples / "archive.mbox"))}
    assert len(inbox & archive) == 1
