"""Extracts that list files, one row per file, in the columns of `raw.source_files`.

A file is known by its `file_key`: path, size and modification time in nanoseconds. The jobs keep the rows
whose key is not yet in `raw.source_files`, so an unchanged file is never opened again. A file that changes
between listing and reading gets another key and is read again by the next run; all that is read from it lands
idempotently.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runner import Row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def one_file(*, path: str, source: str) -> Iterable[Row]:
    """The row of the file `path`; `source` names the mailbox or export that it belongs to.

    Raises FileNotFoundError or another OSError, which fails the step: a configured file must be there.
    """
    return [_file_row(os.fspath(path), os.stat(path), source)]


def tree(*, folder: str, suffix: str, source: str) -> Iterator[Row]:
    """A row for every regular file below `folder` whose name ends in `suffix` (in any case), in order of
    path.

    Symbolic links to folders are not followed, so that a link upwards cannot make the walk endless.
    Raises FileNotFoundError or another OSError when a folder cannot be listed.
    """
    suffix = suffix.lower()
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from tree(folder=entry.path, suffix=suffix, source=source)
        elif entry.name.lower().endswith(suffix) and entry.is_file():
            yield _file_row(entry.path, entry.stat(), source)


def maildir(*, folder: str, source: str) -> Iterator[Row]:
    """A row for every message file in `folder/cur` and `folder/new`, in order of path.

    `tmp` holds messages that are still being delivered and is not read; neither are hidden files. `cur` or
    `new` may be absent (version control keeps no empty folders), both may not: NotADirectoryError.
    """
    present = [name for name in ("cur", "new") if os.path.isdir(os.path.join(folder, name))]
    if not present:
        raise NotADirectoryError(f"{folder} is not a Maildir: it has neither a folder 'cur' nor 'new'")
    for name in present:
        with os.scandir(os.path.join(folder, name)) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
        for entry in entries:
            if not entry.name.startswith(".") and entry.is_file():
                yield _file_row(entry.path, entry.stat(), source)


def _file_row(path: str, status: os.stat_result, source: str) -> Row:
    return {
        "file_key": f"{path}|{status.st_size}|{status.st_mtime_ns}",
        "source": source,
        "path": path,
        "size": status.st_size,
        # Integer arithmetic: a float of seconds has no exact microseconds.
        "modified_at": _EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000),
    }
