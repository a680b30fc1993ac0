"""Text that is no name is refused wherever a name is wanted, before a server is sent anything (GUARANTEES 14)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import ConfigurationError
from runner.sql import BIGQUERY, DUCKDB, POSTGRES, Dialect
from tests.engines import new_engine
from tests.projects import ThrowAwayProject
from tests.property.test_text_on_engines import any_text

A_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
characters = st.sampled_from(list("\"'`.;- \\\0\n$@:%{}()é\u200b\uff21"))
nearly = st.tuples(
    st.sampled_from(["id", "lab", "t_1"]), characters, st.sampled_from(["", "x", "--", "; DROP TABLE lab.t"])
)
no_names = (
    st.builds("".join, nearly) | any_text.filter(lambda text: not A_NAME.fullmatch(text)) | st.just("a" * 129)
)

Declarations = dict[str, dict[str, Any]]


def declarations() -> Declarations:
    """Return a project with every kind of name in it."""
    columns = [
        {"name": "id", "type": "string"},
        {"name": "n", "type": "int64"},
        {"name": "at", "type": "timestamp"},
        {"name": "made", "type": "timestamp"},
    ]
    read = {
        "step_id": "read", "op": "read", "dataset": "lab", "table": "source", "columns": ["id", "n"],
        "filters": [{"column": "n", "op": ">", "value": 0}], "order_by": ["n"],
        "incremental": {
            "mode": "left_anti", "target_dataset": "lab", "target_table": "target", "source_key": ["id"],
            "target_key": ["id"], "source_ts": "at", "target_ts": "at", "lookback": {"column": "at", "window": "1d"},
        },
    }  # fmt: skip
    write = {
        "step_id": "write", "op": "write", "dataset": "lab", "table": "target", "mode": "upsert", "key": ["id"],
        "set_on_write": ["made"],
    }  # fmt: skip
    return {
        "tables/lab": {"dataset": "lab", "tables": [
            {"table": "source", "columns": columns}, {"table": "target", "columns": columns, "key": ["id"]},
        ]},
        "jobs/job": {"job_id": "job", "steps": [read, write]},
    }  # fmt: skip


PLACES: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "dataset": ("tables/lab", ("dataset",)),
    "table": ("tables/lab", ("tables", 0, "table")),
    "column": ("tables/lab", ("tables", 1, "columns", 1, "name")),
    "key": ("tables/lab", ("tables", 1, "key", 0)),
    "dataset read": ("jobs/job", ("steps", 0, "dataset")),
    "table read": ("jobs/job", ("steps", 0, "table")),
    "column read": ("jobs/job", ("steps", 0, "columns", 1)),
    "column filtered": ("jobs/job", ("steps", 0, "filters", 0, "column")),
    "operator": ("jobs/job", ("steps", 0, "filters", 0, "op")),
    "order": ("jobs/job", ("steps", 0, "order_by", 0)),
    "mode": ("jobs/job", ("steps", 0, "incremental", "mode")),
    "target": ("jobs/job", ("steps", 0, "incremental", "target_table")),
    "target's dataset": ("jobs/job", ("steps", 0, "incremental", "target_dataset")),
    "source key": ("jobs/job", ("steps", 0, "incremental", "source_key", 0)),
    "target key": ("jobs/job", ("steps", 0, "incremental", "target_key", 0)),
    "source time": ("jobs/job", ("steps", 0, "incremental", "source_ts")),
    "target time": ("jobs/job", ("steps", 0, "incremental", "target_ts")),
    "lookback": ("jobs/job", ("steps", 0, "incremental", "lookback", "column")),
    "table written": ("jobs/job", ("steps", 1, "table")),
    "key written": ("jobs/job", ("steps", 1, "key", 0)),
    "stamp": ("jobs/job", ("steps", 1, "set_on_write", 0)),
}
"""Where a name is wanted: the file, and the place in it."""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ["duckdb", "postgres-18", "bigquery"])
def test_what_is_no_name_is_refused_before_anything_is_sent(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with new_engine(name, request, tmp_path) as engine:
        project = ThrowAwayProject(tmp_path / "project", "names")

        @given(place=st.sampled_from(list(PLACES)), text=no_names)
        def refused(place: str, text: str) -> None:
            declared = declarations()
            put(declared, place, text)
            write(project, declared)
            with pytest.raises(ConfigurationError):
                project.run("job", warehouse=engine.warehouse)

        refused()
        assert engine.sent() == []
        if name != "duckdb":
            assert engine.tables() == {}
        else:
            assert not Path(engine.warehouse["path"]).exists()
        write(project, declarations())
        project.run("job", warehouse=engine.warehouse)
        assert name == "duckdb" or engine.sent(), "with names in all places it runs, and the log shows it"


@pytest.mark.parametrize("dialect", [DUCKDB, POSTGRES, BIGQUERY], ids=lambda dialect: dialect.name)
@given(text=any_text | st.from_regex(A_NAME, fullmatch=True) | no_names)
def test_only_names_are_ever_quoted(dialect: Dialect, text: str) -> None:
    if A_NAME.fullmatch(text) and len(text) <= dialect.name_length:
        assert dialect.quote(text) == f"{dialect.quotes}{text}{dialect.quotes}"
    else:
        with pytest.raises(ValueError, match=r"is not an identifier|is too long"):
            dialect.quote(text)


def put(declared: Declarations, place: str, text: str) -> None:
    """Write a text where a name is wanted."""
    file, path = PLACES[place]
    node: Any = declared[file]
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = text


def write(project: ThrowAwayProject, declared: Declarations) -> None:
    """Write the files of a project."""
    for file, content in declared.items():
        path = project.root / "configs" / f"{file}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
