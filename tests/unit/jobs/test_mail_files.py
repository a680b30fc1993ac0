"""Maildir and .eml files: what their names say, and files that are gone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobs.mail.keywords import keywords_of
from jobs.mail.message_files import eml_message, maildir_delivery, maildir_flags, maildir_message

FileRow = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("1770192000.M1.mx:2,FS", "FS"),
        ("1770192000.M1.mx!2,SF", "FS"),
        ("1770192000.M1.mx;2,", ""),
        ("1770192000.M1.mx:2,SSa", "Sa"),
        ("1770192000.M1.mx", None),
        ("1770192000.M1.mx:1,experimental", None),
    ],
)
def test_flags_of_a_maildir_name(name: str, flags: str | None) -> None:
    assert maildir_flags(name) == flags


def test_delivery_time_of_a_maildir_name() -> None:
    assert maildir_delivery("1770192000.M1.mx") == datetime(2026, 2, 4, 8, 0, tzinfo=UTC)
    assert maildir_delivery("message.eml") is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, None, None), {}),
        (("FS", None, None), {"$flagged": True, "$seen": True}),
        (("DPRT", None, None), {"$answered": True, "$deleted": True, "$draft": True, "$forwarded": True}),
        ((None, "RO", "AF"), {"$answered": True, "$flagged": True, "$seen": True}),
        (("x", "O", "?"), {}),
    ],
)
def test_keywords(given: tuple[str | None, str | None, str | None], expected: dict[str, bool]) -> None:
    assert keywords_of(*given) == expected


def test_a_maildir_file_becomes_a_row(samples: Path, file_row: FileRow) -> None:
    (path,) = (samples / "maildir" / "cur").glob("*FS")
    row = maildir_message(file_row(path))
    assert row is not None
    assert (row["source_format"], row["flags"], row["position"]) == ("maildir", "FS", 0)
    assert row["content"] == path.read_bytes()
    assert row["delivered_at"] == datetime(2026, 2, 4, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize("read", [maildir_message, eml_message])
def test_a_file_that_is_gone_gives_no_row(tmp_path: Path, file_row: FileRow, read: Any) -> None:
    assert read(file_row(tmp_path / "gone")) is None


@pytest.mark.parametrize("read", [maildir_message, eml_message])
def test_a_file_above_the_limit_is_an_error(tmp_path: Path, file_row: FileRow, read: Any) -> None:
    path = tmp_path / "large.eml"
    path.write_bytes(b"A: 1\n\n12345")
    assert read(file_row(path), max_message_bytes=11)["size"] == 11
    with pytest.raises(ValueError, match=r"large\.eml: message of more than max_message_bytes = 10 bytes$"):
        read(file_row(path), max_message_bytes=10)
