"""Canonical mail: what each header and body becomes, what is mended with a defect, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobs.mail.canonical import PREVIEW_LENGTH, canonize
from jobs.mail.mbox import messages

Row = dict[str, Any]
MakeRaw = Callable[..., Row]


def lines(*text: str) -> bytes:
    return "\n".join(text).encode("utf-8") + b"\n"


@pytest.fixture(scope="module")
def inbox(samples: Path, file_row: MakeRaw) -> list[Row]:
    return [canonize(row) for row in messages(file_row(samples / "inbox.mbox", "inbox"))]


def test_addresses_with_commas_comments_and_groups(inbox: list[Row]) -> None:
    assert inbox[0]["from_addresses"] == [{"name": "Field, Ada", "email": "ada.field@example.org"}]
    assert inbox[2]["from_addresses"] == [{"name": "Renée Lindqvist", "email": "renee@example.org"}]
    assert inbox[2]["to_addresses"] == [
        {"name": None, "email": "intake@clinic.example.test"},
        {"name": "Åsa Berg", "email": "asa@clinic.example.test"},
    ]
    assert inbox[4]["to_addresses"] == []
    assert inbox[7]["to_addresses"] is None


def test_a_thread_is_named_by_its_root(inbox: list[Row]) -> None:
    assert inbox[0]["thread_id"] == inbox[1]["thread_id"] == inbox[6]["thread_id"]
    assert len({row["thread_id"] for row in inbox}) == 6
    assert inbox[6]["reference_ids"] == ["q1.ada@example.org", "a1.desk@clinic.example.test"]
    assert inbox[1]["in_reply_to"] == ["q1.ada@example.org"]


def test_nested_multiparts_give_both_bodies_and_the_attachments(inbox: list[Row]) -> None:
    row = inbox[2]
    assert row["subject"] == "Unterlagen für Donnerstag"
    assert row["body_text"] == "Anbei die Unterlagen für Donnerstag."
    assert "<b>Donnerstag</b>" in row["body_html"]
    image, table = row["attachments"]
    assert (image["type"], image["cid"], image["isInline"]) == ("image/gif", "logo@example.org", True)
    assert (table["name"], table["type"], table["isInline"]) == (
        "Fragebogen Übersicht.csv",
        "text/csv",
        False,
    )
    assert table["size"] == len("date;pages;note\n2026-02-05;3;Übersicht\n".encode())
    assert row["has_attachment"] is True


def test_an_enclosed_message_is_an_attachment_and_not_the_body(inbox: list[Row]) -> None:
    assert inbox[5]["body_text"] == "See below.\n"
    (enclosed,) = inbox[5]["attachments"]
    assert enclosed["type"] == "message/rfc822"
    assert enclosed["size"] > 100


def test_html_alone_gives_a_readable_preview(inbox: list[Row]) -> None:
    assert inbox[3]["body_text"] is None
    assert inbox[3]["preview"] == "In March we open at nine & close at six."


def test_a_broken_date_is_a_defect_and_delivery_stands_in(inbox: list[Row]) -> None:
    assert inbox[4]["sent_at"] is None
    assert inbox[4]["received_at"] == datetime(2026, 2, 4, 12, 31, tzinfo=UTC)
    assert inbox[4]["defects"] == ["date: 'sometime after lunch' is not a date"]


def test_status_headers_become_keywords(inbox: list[Row]) -> None:
    assert inbox[6]["keywords"] == {"$answered": True, "$flagged": True, "$seen": True}
    assert inbox[6]["body_text"] == "Thank you \u2013 done. It took \u201conly\u201d twenty minutes.\n"


def test_received_at_takes_the_first_that_is_known(raw: MakeRaw) -> None:
    delivered = datetime(2026, 2, 1, tzinfo=UTC)
    received = "Received: by mx; Mon, 2 Feb 2026 10:00:00 +0100"
    dated = "Date: Mon, 2 Feb 2026 08:00:00 +0000"
    assert canonize(raw(lines(received, dated, ""), delivered_at=delivered))["received_at"] == delivered
    assert canonize(raw(lines(received, dated, "")))["received_at"] == datetime(2026, 2, 2, 9, tzinfo=UTC)
    assert canonize(raw(lines(dated, "")))["received_at"] == datetime(2026, 2, 2, 8, tzinfo=UTC)
    assert canonize(raw(lines("A: 1", "")))["received_at"] == datetime(2026, 2, 12, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Mon, 02 Feb 2026 08:15:02 +0100", datetime(2026, 2, 2, 7, 15, 2, tzinfo=UTC)),
        ("2 Feb 26 08:15 UT", datetime(2026, 2, 2, 8, 15, tzinfo=UTC)),
        ("Mon, 02 Feb 2026 08:15:02", datetime(2026, 2, 2, 8, 15, 2, tzinfo=UTC)),
        ("Mon, 02 Feb 2026 08:15:02 EST", datetime(2026, 2, 2, 13, 15, 2, tzinfo=UTC)),
        ("Mon, 31 Feb 2026 08:15:02 +0000", None),
        ("Mon, 02 Feb 0000 08:15:02 +0000", datetime(2000, 2, 2, 8, 15, 2, tzinfo=UTC)),
        ("Fri, 31 Dec 9999 23:59:59 -0100", None),
        ("Mon, 02 Feb 2026 08:15:02 +9999", None),
        ("", None),
    ],
)
def test_dates(raw: MakeRaw, header: str, expected: datetime | None) -> None:
    row = canonize(raw(lines(f"Date: {header}", "")))
    assert row["sent_at"] == expected
    assert bool(row["defects"]) == (expected is None)


@pytest.mark.parametrize(
    ("charset", "body", "text", "defect"),
    [
        ("utf-8", "für".encode(), "für", None),
        ("latin-1", "für".encode("latin-1"), "für", None),
        ("x-made-up", "für".encode(), "für", "part 1: not text in charset 'x-made-up', read as utf-8"),
        (
            "utf-8",
            "für".encode("latin-1"),
            "für",
            "part 1: not text in charset 'utf-8', read as windows-1252",
        ),
        ("us-ascii", b"\x81", "\x81", "part 1: not text in charset 'us-ascii', read as latin-1"),
        ("base64", b"eA==", "eA==", "part 1: unknown charset 'base64', read as us-ascii"),
        ("unicode_escape", b"\\x41", "\\x41", "part 1: unknown charset 'unicode_escape', read as us-ascii"),
        ("utf-7", b"+2AA-", "?", None),
        ("utf-8", b"a\x00b", "a\ufffdb", None),
    ],
)
def test_charsets(raw: MakeRaw, charset: str, body: bytes, text: str, defect: str | None) -> None:
    row = canonize(
        raw(lines("Date: 2 Feb 2026 08:15 UT", f"Content-Type: text/plain; charset={charset}", "") + body)
    )
    assert row["body_text"] == text
    assert row["defects"] == ([] if defect is None else [defect])


def test_headers_in_raw_utf8_and_in_unknown_bytes(raw: MakeRaw) -> None:
    assert canonize(raw("Subject: Größe\n\n".encode()))["subject"] == "Größe"
    row = canonize(raw("Subject: Größe\n\n".encode("latin-1")))
    assert row["subject"] == "Größe"
    assert "subject: not text in charset 'utf-8', read as windows-1252" in row["defects"]


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ('filename="a b.csv"', "a b.csv"),
        ("filename*=utf-8'de'%C3%9Cber.csv", "Über.csv"),
        ("filename*0*=utf-8''%C3%9C; filename*1*=ber; filename*2=.csv", "Über.csv"),
        ('filename="=?utf-8?q?=C3=9Cber.csv?="', "Über.csv"),
        ("filename*=x-made-up''a%20b.csv", "a b.csv"),
        ("filename=", None),
    ],
)
def test_file_names(raw: MakeRaw, parameters: str, name: str | None) -> None:
    row = canonize(
        raw(lines("Content-Type: text/csv", f"Content-Disposition: attachment; {parameters}", "", "x"))
    )
    assert row["attachments"][0]["name"] == name


def test_an_alternative_with_one_form_shows_it_in_both(raw: MakeRaw) -> None:
    head = ("Content-Type: multipart/alternative; boundary=b", "", "--b")
    row = canonize(raw(lines(*head, "Content-Type: text/plain", "", "only", "--b--")))
    assert (row["body_text"], row["body_html"], row["attachments"]) == ("only", None, [])


def test_a_multipart_without_boundary_is_read_as_text(raw: MakeRaw) -> None:
    row = canonize(raw(lines("Content-Type: multipart/mixed", "", "hello")))
    assert row["body_text"] == "hello\n"
    assert "part 1: multipart/mixed without parts, read as text/plain" in row["defects"]


def test_preview_is_short_and_on_one_line(raw: MakeRaw) -> None:
    row = canonize(raw(lines("A: 1", "") + b"word \n" * 10_000))
    assert len(row["preview"]) <= PREVIEW_LENGTH
    assert row["preview"].startswith("word word")


def test_ids_depend_on_nothing_but_the_content(raw: MakeRaw) -> None:
    content = lines("Subject: x", "", "y")
    one, two = canonize(raw(content)), canonize(raw(content, position=7, flags="S"))
    for name in ("idem_key", "id", "blob_id", "thread_id"):
        assert one[name] == two[name]
    assert canonize(raw(content + b" "))["id"] != one["id"]
