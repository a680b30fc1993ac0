"""CSV exports of questionnaires: one row per response, one column per question.

A response is kept as it was exported, as text, in `payload`. Its key names the response *and* its content:
`form:<source>:<response_id>:<hash>`. An edited response in a later export is therefore a further row, with
the same `response_key` and another `content_hash`, and nothing is lost; the same response in two exports is
one row. (A response that is edited back to an earlier content is that earlier row, and is not seen as news.)

The file may begin with a byte order mark and be separated by commas, semicolons or tabs; line breaks within
quotes belong to the cell. Anything else that is wrong with a file is a ValueError that names file and line,
and fails the job: an export is complete or it is not an export.
"""

from __future__ import annotations

import csv
import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runner import Row

REQUIRED_COLUMNS = ("response_id", "form_id", "binding_id", "submitted_at")
"""The columns without which a file is no export of responses."""
_DELIMITERS = (",", ";", "\t")
# The csv module refuses longer cells by default at 131,072 characters, too little for a free text answer.
_MAX_CELL = 1 << 20


def responses(row: Row) -> Iterator[Row]:
    """The rows of `raw.form_responses` for the CSV file of `row` (a row of `raw.source_files`), read lazily.

    Raises ValueError, naming file and line, for an empty file, a duplicate, empty or missing column, a line
    with the wrong number of fields, a response without id, and bytes that are not UTF-8; OSError if the file
    cannot be read.
    """
    path = row["path"]
    with open(path, encoding="utf-8-sig", newline="") as stream:
        lines = _decoded(stream, path)
        header = next(lines, None)
        if header is None or not header.strip():
            raise ValueError(f"{path}, line 1: the file is empty, expected a header of column names")
        delimiter = _delimiter(header)
        # The module default is process-wide; it is only ever raised, to the same value, by this function.
        csv.field_size_limit(_MAX_CELL)
        reader = csv.reader(_again(header, lines), delimiter=delimiter, strict=True)
        columns: list[str] | None = None
        line = 1
        try:
            for cells in reader:
                if columns is None:
                    columns = _columns(cells, path)
                elif cells:  # a blank line gives no cells
                    yield _response(
                        dict(zip(columns, _checked(cells, columns, path, line), strict=True)), row, line
                    )
                line = reader.line_num + 1
        except csv.Error as error:
            raise ValueError(f"{path}, line {line}: not CSV: {error}") from error


def _decoded(stream: Iterable[str], path: str) -> Iterator[str]:
    """The lines of the file; bytes that are not UTF-8 become a ValueError that names the line."""
    number = 0
    try:
        for line in stream:
            number += 1
            if "\x00" in line:
                raise ValueError(f"{path}, line {number}: NUL character, the file is not text")
            yield line
    except UnicodeDecodeError as error:
        # Text is decoded in blocks, so the faulty line is this one or one of the next.
        raise ValueError(
            f"{path}, after line {number}: not UTF-8: {error.reason} (byte {error.object[error.start]:#04x})"
        ) from error


def _again(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(header: str) -> str:
    """The delimiter that occurs most often in the header; ties go to the comma."""
    return max(_DELIMITERS, key=header.count)


def _columns(cells: list[str], path: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if "" in names:
        raise ValueError(f"{path}, line 1: column {names.index('') + 1} has no name")
    if repeated:
        raise ValueError(f"{path}, line 1: duplicate column {', '.join(repeated)}")
    if absent := [name for name in REQUIRED_COLUMNS if name not in names]:
        raise ValueError(
            f"{path}, line 1: column {', '.join(absent)} missing, found {', '.join(names)[:200]}"
        )
    return names


def _checked(cells: list[str], columns: list[str], path: str, line: int) -> list[str]:
    if len(cells) != len(columns):
        raise ValueError(
            f"{path}, line {line}: {len(cells)} fields, expected {len(columns)} as in the header"
        )
    return cells


def _response(payload: dict[str, str], file_row: Row, line: int) -> Row:
    response_id = payload["response_id"].strip()
    if not response_id:
        raise ValueError(f"{file_row['path']}, line {line}: response_id is empty")
    text = json.dumps(payload, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    content_hash = hashlib.sha256(text.encode("utf-8")).hexdigest()
    response_key = f"form:{file_row['source']}:{response_id}"
    return {
        "idem_key": f"{response_key}:{content_hash[:16]}",
        "response_key": response_key,
        "source_system": "forms",
        "connection_name": file_row["source"],
        "object_type": "form_response",
        "response_id": response_id,
        "content_hash": content_hash,
        "payload": payload,
        "path": file_row["path"],
        "file_key": file_row["file_key"],
        "line": line,
        "file_modified_at": file_row["modified_at"],
    }
