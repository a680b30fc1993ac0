"""Rows and places that the tests of the reference project's functions share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobs.mail.raw import raw_message

Row = dict[str, Any]
MODIFIED = datetime(2026, 2, 12, 6, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of samples in this repository."""
    return Path(__file__).resolve().parents[3] / "configs" / "samples"


@pytest.fixture(scope="session")
def file_row() -> Callable[..., Row]:
    """`file_row(path)` is a row of raw.source_files."""

    def make(path: Path | str = "box", source: str = "test") -> Row:
        return {
            "file_key": f"{path}|1|1",
            "source": source,
            "path": str(path),
            "size": 1,
            "modified_at": MODIFIED,
        }

    return make


@pytest.fixture(scope="session")
def raw(file_row: Callable[..., Row]) -> Callable[..., Row]:
    """`raw(content, …)` is the row of raw.messages for the bytes."""

    def make(content: bytes, **more: Any) -> Row:
        return raw_message(content, file_row(), source_format="eml", **more)

    return make
