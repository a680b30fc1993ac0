"""CSV exports: what is read, which keys it gets, and what is refused with file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.forms.csv_export import responses
from jobs.source_files import tree

Row = dict[str, Any]
FileRow = Callable[..., Row]
HEADER = "response_id,form_id,binding_id,submitted_at,q1,q2"


@pytest.fixture
def export(tmp_path: Path, file_row: FileRow) -> Callable[[str | bytes], list[Row]]:
    """`export(text)` reads a file of that content."""

    def read(content: str | bytes) -> list[Row]:
        path = tmp_path / "export.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return list(responses(file_row(path, "clinic")))

    return read


def test_a_response_is_kept_as_text_under_a_key_of_source_id_and_content(
    export: Callable[[str], list[Row]],
) -> None:
    (row,) = export(f"{HEADER}\nr1,f,b,2026-02-01T08:00:00Z, 1 ,\n")
    assert row["payload"] == {
        "response_id": "r1",
        "form_id": "f",
        "binding_id": "b",
        "submitted_at": "2026-02-01T08:00:00Z",
        "q1": " 1 ",
        "q2": "",
    }
    assert row["response_key"] == "form:clinic:r1"
    assert row["idem_key"] == f"form:clinic:r1:{row['content_hash'][:16]}"
    assert row["line"] == 2


def test_an_edit_changes_the_key_and_the_order_of_columns_does_not(
    export: Callable[[str], list[Row]],
) -> None:
    (row,) = export(f"{HEADER}\nr1,f,b,t,1,2\n")
    (edited,) = export(f"{HEADER}\nr1,f,b,t,1,3\n")
    (reordered,) = export("q2,response_id,form_id,binding_id,submitted_at,q1\n2,r1,f,b,t,1\n")
    assert row["response_key"] == edited["response_key"]
    assert row["idem_key"] != edited["idem_key"]
    assert row["idem_key"] == reordered["idem_key"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_dialects(export: Callable[[str], list[Row]], delimiter: str, mark: str, line_end: str) -> None:
    lines = [
        HEADER.replace(",", delimiter),
        delimiter.join(["r1", "f", "b", "t", f'"a{delimiter}""b"""', "2"]),
        "",
    ]
    (row,) = export(mark + line_end.join(lines))
    assert row["payload"]["q1"] == f'a{delimiter}"b"'


def test_quoted_line_breaks_belong_to_the_cell_and_lines_still_count(
    export: Callable[[str], list[Row]],
) -> None:
    rows = export(f'{HEADER}\nr1,f,b,t,"one\ntwo",2\n\nr2,f,b,t,1,2\n')
    assert rows[0]["payload"]["q1"] == "one\ntwo"
    assert [row["line"] for row in rows] == [2, 5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: the file is empty, expected a header of column names"),
        (b"\xef\xbb\xbf\n", "line 1: the file is empty, expected a header of column names"),
        (f"{HEADER}\nr1,f,b,t,1,2\nr2,f,b,t,1\n", "line 3: 5 fields, expected 6 as in the header"),
        (f"{HEADER}\nr1,f,b,t,1,2,3\n", "line 2: 7 fields, expected 6 as in the header"),
        (f"{HEADER},q1\n", "line 1: duplicate column q1"),
        (f"{HEADER}, \n", "line 1: column 7 has no name"),
        (
            "response_id,form_id,q1\n",
            "line 1: column binding_id, submitted_at missing, found response_id, form_id, q1",
        ),
        (f"{HEADER}\n ,f,b,t,1,2\n", "line 2: response_id is empty"),
        (f'{HEADER}\nr1,f,b,t,"1,2\n', "line 2: not CSV: unexpected end of data"),
        (f'{HEADER}\nr1,f,b,t,"1"x,2\n', "line 2: not CSV: ',' expected after '\"'"),
        (f"{HEADER}\nr1,f,b,t,1\x00,2\n", "line 2: NUL character, the file is not text"),
        (
            f"{HEADER}\nr1,f,b,t,ü,2\n".encode("latin-1"),
            "after line 0: not UTF-8: invalid start byte (byte 0xfc)",
        ),
    ],
)
def test_faults_name_file_and_line(
    export: Callable[[str | bytes], list[Row]], content: str | bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=r"export\.csv, ") as caught:
        export(content)
    assert str(caught.value).partition("export.csv, ")[2] == message


def test_rows_before_a_fault_are_read_lazily(tmp_path: Path, file_row: FileRow) -> None:
    path = tmp_path / "export.csv"
    path.write_text(f"{HEADER}\nr1,f,b,t,1,2\nr2\n")
    rows = responses(file_row(path))
    assert next(rows)["response_id"] == "r1"
    with pytest.raises(ValueError, match="line 3"):
        next(rows)


def test_every_sample_export_is_read(samples: Path) -> None:
    counts = {
        Path(row["path"]).stem: len(list(responses(row)))
        for row in tree(folder=str(samples / "forms"), suffix=".csv", source="forms")
    }
    assert counts == {"intake_01": 20, "intake_02": 20, "followup": 20}
