"""Answers of mail servers, taken apart."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.sources.imap import responses
from runner.sources.imap.reading import LAST_UID, cursor_text
from runner.sources.imap.session import message_set


def test_items_stand_in_any_order_and_a_literal_anywhere() -> None:
    data = [
        (b"1 (BODY[]<0> {9}", b'a ("\\") )'),
        b" UID 5)",
        (b"2 (UID 6 FLAGS (\\Seen $x) BODY[]<0> {2}", b"\r\n"),
        b")",
        b'3 (UID 7 BODY[]<0> "quoted \\"text\\"")',
        b"4 (UID 8 BODY[] NIL)",
        b"5 (FLAGS (\\Deleted))",
        None,
    ]
    found = responses.messages(data)
    assert {uid: responses.body(items) for uid, items in found.items()} == {
        5: b'a ("\\") )',
        6: b"\r\n",
        7: b'quoted "text"',
        8: b"",
    }
    assert responses.flags(found[6]["FLAGS"]) == ["\\Seen", "$x"]
    assert responses.body({"UID": "5"}) is None


def test_a_list_of_mailboxes() -> None:
    data = [b'(\\HasNoChildren) "/" INBOX', b'(\\Noselect) NIL "a b"', (b'() "." {4}', b'x"y('), b""]
    assert list(responses.lists(data)) == [
        [["\\HasNoChildren"], b"/", "INBOX"],
        [["\\Noselect"], "NIL", b"a b"],
        [[], b".", b'x"y('],
    ]


@pytest.mark.parametrize(
    "line", [b"1 (UID", b"1 UID 5)", b'1 ("x)', b"(" * 100_000, b"1 (UID 5 FLAGS)", b"7", b"1 (UID x)"]
)
def test_what_is_no_answer_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        responses.messages([line])


@given(st.lists(st.binary() | st.tuples(st.binary(), st.binary()) | st.none()))
def test_whatever_comes_is_read_or_is_a_value_error(data: list[object]) -> None:
    try:
        found = responses.messages(data)
    except ValueError:
        return
    assert all(isinstance(uid, int) for uid in found)


DATES = [
    (b"22-Nov-2026 01:02:03 +0000", datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)),
    (b" 1-Jan-2026 00:30:00 +0100", datetime(2025, 12, 31, 23, 30, tzinfo=UTC)),
    (b"01-Jan-2026 00:30:00 -0730", datetime(2026, 1, 1, 8, 0, tzinfo=UTC)),
    (b"31-Feb-2026 00:00:00 +0000", None),
    (b"01-Jan-0001 00:00:00 +0100", None),
    (b"01-Xyz-2026 00:00:00 +0000", None),
    (b"", None),
]


@pytest.mark.parametrize(("text", "moment"), DATES)
def test_the_time_of_a_message(text: bytes, moment: datetime | None) -> None:
    assert responses.internal_date(text) == moment


@given(st.sets(st.integers(1, 60)))
def test_a_set_of_messages_names_exactly_them(uids: set[int]) -> None:
    named: set[int] = set()
    for part in filter(None, message_set(sorted(uids)).split(",")):
        first, _, last = part.partition(":")
        named.update(range(int(first), int(last or first) + 1))
    assert named == uids


NUMBERS = st.tuples(st.integers(1, LAST_UID), st.integers(1, LAST_UID))


@given(NUMBERS, NUMBERS)
def test_cursors_have_the_order_of_their_numbers(first: tuple[int, int], second: tuple[int, int]) -> None:
    assert (cursor_text(*first) < cursor_text(*second)) == (first < second)
