"""Canonical mail from anything at all: a row every warehouse can hold, or a ValueError with the reason."""

from __future__ import annotations

import json
import mailbox
import sysconfig
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.mail.canonical import PREVIEW_LENGTH, canonize
from jobs.mail.mbox import messages
from jobs.mail.message_files import eml_message, maildir_message
from jobs.mail.raw import raw_message
from jobs.source_files import maildir, tree

Row = dict[str, Any]
MakeRaw = Callable[..., Row]


def lines(*text: str) -> bytes:
    return "\n".join(text).encode("utf-8") + b"\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no bytes"),
        (b" \r\n\n", "nothing but white space"),
        (b"shopping list\n\nmilk\n", "no header field at the start"),
        (b"\nSubject: too late\n\n", "no header field at the start"),
    ],
)
def test_what_is_no_message_is_refused_with_a_reason(raw: MakeRaw, content: bytes, reason: str) -> None:
    with pytest.raises(
        ValueError, match=rf"^content of mail:[0-9a-f]{{64}} \(box position 3\): not a message: {reason}$"
    ):
        canonize(raw(content, position=3))


def test_nesting_beyond_the_parser_is_refused_and_not_a_crash(raw: MakeRaw) -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(3000))
    with pytest.raises(ValueError, match="not a message: RecursionError"):
        canonize(raw(deep))


FRAGMENTS = [
    b"From: ",
    b"To: a:b:;<",
    b"Date: Mon, 99 Foo -1 99:99:99 +9999",
    b"Subject: =?utf-8?b?a?=",
    b"Content-Type: multipart/mixed; boundary=x",
    b"Content-Type: message/rfc822",
    b"Content-Type: text/plain; charset*=",
    b"Content-Transfer-Encoding: base64",
    b"Content-Transfer-Encoding: uuencode",
    b"Content-Disposition: attachment; filename*0*=''%; filename*1=",
    b"Message-ID: <",
    b"References: <a> <b>",
    b"begin 666 x\n",
    b"--x\n",
    b"--x--\n",
    b"charset=\x00",
    b"=?x?q?",
    b"(" * 50,
    b"\n",
    b'"',
    b"\\",
]
HOSTILE = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=20)), max_size=12)


@example(b"Content-Type:\x00/")
@example(b"Content-Disposition: a\x00b\n\nx")
@given(st.one_of(st.binary(max_size=300), HOSTILE.map(b"\n".join), HOSTILE.map(b"".join)))
def test_any_bytes_become_a_row_or_a_value_error(content: bytes) -> None:
    file_row = {"source": "s", "path": "p", "file_key": "k", "modified_at": datetime(2026, 1, 1, tzinfo=UTC)}
    refusal, row = "", None
    try:
        row = canonize(raw_message(content, file_row, source_format="eml"))
    except ValueError as error:
        refusal = str(error)
    assert row is not None or "not a message: " in refusal
    if row is not None:
        assert_storable(row)


def assert_storable(row: Row) -> None:
    """What every warehouse asks of a row: UTF-8 without NUL, aware UTC times, JSON that can be written."""
    text = json.dumps(
        {name: value for name, value in row.items() if not name.endswith("_at")}, ensure_ascii=False
    )
    assert "\\u0000" not in text
    text.encode("utf-8")
    for name in ("sent_at", "received_at"):
        assert row[name] is None or row[name].utcoffset() == timedelta(0)
    assert len(row["preview"]) <= PREVIEW_LENGTH


def real_messages() -> Iterator[Path]:
    yield from sorted(Path(sysconfig.get_paths()["stdlib"], "test", "test_email", "data").glob("*.txt"))


def test_the_standard_library_s_own_nasty_messages(file_row: MakeRaw) -> None:
    paths = list(real_messages())
    if not paths:
        pytest.skip("this Python was installed without its test suite (test/test_email/data)")
    refused = []
    for path in paths:
        row = eml_message(file_row(path))
        assert row is not None
        try:
            assert_storable(canonize(row))
        except ValueError as error:
            refused.append(f"{path.name}: {error}")
    # One file has no header at all; nothing else may be lost.
    assert [reason.partition(":")[0] for reason in refused] == ["msg_19.txt"]
    assert len(paths) > 40


def test_the_reader_agrees_with_mailbox_where_the_rules_are_the_same(
    tmp_path: Path, file_row: MakeRaw
) -> None:
    path = tmp_path / "box"
    with_library = mailbox.mbox(path)
    for number in range(20):
        with_library.add(
            lines(f"Subject: {number}", f"Message-ID: <{number}@example.org>", "", "From here", "x")
        )
    with_library.close()
    rows = [canonize(row) for row in messages(file_row(path))]
    assert [row["subject"] for row in rows] == [str(number) for number in range(20)]
    assert {row["body_text"] for row in rows} == {">From here\nx\n"}


def test_every_sample_is_canonised_but_the_one_that_is_no_message(samples: Path, file_row: MakeRaw) -> None:
    rows = [row for name in ("inbox", "archive") for row in messages(file_row(samples / f"{name}.mbox"))]
    rows += [
        row for file in maildir(folder=str(samples / "maildir"), source="m") if (row := maildir_message(file))
    ]
    rows += [
        row
        for file in tree(folder=str(samples / "eml"), suffix=".eml", source="e")
        if (row := eml_message(file))
    ]
    refused = []
    for row in rows:
        try:
            assert_storable(canonize(row))
        except ValueError:
            refused.append(Path(row["path"]).name)
    assert (len(rows), refused) == (18, ["not-a-message.eml"])
