"""Names of mailboxes: modified UTF-7, and patterns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.sources.imap.names import Folder, decode, encode, matching

KNOWN = [
    ("INBOX", b"INBOX"),
    ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),  # RFC 3501, section 5.1.3
    ("Gelöscht", b"Gel&APY-scht"),
    ("R&D", b"R&-D"),
    ("a\tb", b"a&AAk-b"),
    ("😀", b"&2D3eAA-"),
]


@pytest.mark.parametrize(("name", "wire"), KNOWN)
def test_known_names_both_ways(name: str, wire: bytes) -> None:
    assert encode(name) == wire
    assert decode(wire) == name


@given(st.text())
def test_every_name_comes_back(name: str) -> None:
    wire = encode(name)
    assert decode(wire) == name
    assert all(0x20 <= byte <= 0x7E for byte in wire)


@given(st.binary())
def test_whatever_a_server_calls_a_folder_it_can_be_asked_for_by_that(wire: bytes) -> None:
    assert Folder.listed(wire).wire == wire


def test_a_quote_and_a_backslash_do_not_end_the_name() -> None:
    assert Folder.named('a"b\\c').quoted == b'"a\\"b\\\\c"'


def test_patterns_choose_in_their_order_each_folder_once() -> None:
    folders = [Folder.named(name) for name in ("INBOX", "Archive/2025", "Archive/2026", "Sent", "archive")]

    def names(*patterns: str) -> list[str]:
        return [folder.name for folder in matching(folders, patterns)]

    assert names("Archive/*", "*") == ["Archive/2025", "Archive/2026", "INBOX", "Sent", "archive"]
    assert names("inbox") == ["INBOX"]
    assert Folder.named("Inbox") == Folder.named("INBOX")
    assert names("sent") == []
    assert names("Archive/202.") == []
    assert names("*5*") == ["Archive/2025"]
