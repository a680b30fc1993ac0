"""Listing files: what counts as a file, in which order, and when a file counts as changed."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs.source_files import maildir, one_file, tree


def names(rows: object) -> list[str]:
    return [os.path.basename(row["path"]) for row in rows]  # type: ignore[attr-defined]


def test_a_file_is_known_by_path_size_and_time_in_nanoseconds(tmp_path: Path) -> None:
    path = tmp_path / "inbox"
    path.write_bytes(b"12345")
    os.utime(path, ns=(0, 1_770_000_000_123_456_789))
    (row,) = one_file(path=str(path), source="inbox")
    assert row == {
        "file_key": f"{path}|5|1770000000123456789",
        "source": "inbox",
        "path": str(path),
        "size": 5,
        "modified_at": datetime(2026, 2, 2, 2, 40, 0, 123456, tzinfo=UTC),
    }


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_changed_file_has_another_key(tmp_path: Path, change: str) -> None:
    path = tmp_path / "inbox"
    path.write_bytes(b"1")
    os.utime(path, ns=(0, 10))
    (before,) = one_file(path=str(path), source="s")
    path.write_bytes(b"12" if change == "size" else b"1")
    os.utime(path, ns=(0, 10 if change == "size" else 11))
    (after,) = one_file(path=str(path), source="s")
    assert before["file_key"] != after["file_key"]


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        list(one_file(path=str(tmp_path / "nowhere"), source="s"))


def test_a_tree_is_walked_in_order_and_only_for_the_suffix(tmp_path: Path) -> None:
    for name in ("b.eml", "a/z.EML", "a/b/c.eml", "note.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    rows = tree(folder=str(tmp_path), suffix=".eml", source="s")
    assert [os.path.relpath(row["path"], tmp_path) for row in rows] == ["a/b/c.eml", "a/z.EML", "b.eml"]


def test_maildir_reads_cur_and_new_but_not_tmp_or_hidden_files(tmp_path: Path) -> None:
    for name in ("cur/2", "cur/1", "cur/.keep", "new/3", "tmp/4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert names(maildir(folder=str(tmp_path), source="s")) == ["1", "2", "3"]


def test_maildir_needs_one_of_its_folders(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    with pytest.raises(NotADirectoryError, match="neither a folder 'cur' nor 'new'"):
        list(maildir(folder=str(tmp_path), source="s"))
    (tmp_path / "new").mkdir()
    assert list(maildir(folder=str(tmp_path), source="s")) == []
