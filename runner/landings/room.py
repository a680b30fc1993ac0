"""A local disk without room for rows that wait for their landing, told alike whatever the warehouse is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.errors import DiskFull, category_of


@contextmanager
def needing_room(folder: Path) -> Iterator[None]:
    """Write files into `folder`. Raises `DiskFull` where there is no room for them, also by a quota or `ulimit -f`."""
    try:
        yield
    except OSError as error:
        if category_of(error) != "disk_full":
            raise
        reason = os.strerror(error.errno or 0)
        message = f"{reason}: no room for rows that wait for their landing in {folder}"
        raise DiskFull("staging", message) from error
