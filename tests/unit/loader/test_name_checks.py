"""Names that an engine refuses, cuts, or has for itself: told at load, with their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.clock import utc_now
from runner.errors import ConfigurationError
from runner.loader import open_project
from runner.settings import Settings

LONG = "a" * 64
JOB = {
    "job_id": "copy",
    "steps": [
        {"step_id": "read", "op": "read", "dataset": "lab", "table": "t"},
        {"step_id": "write", "op": "write", "dataset": "lab", "table": "t", "mode": "append"},
    ],
}


def problems(folder: Path, engine: str, *, dataset: str = "lab", **table: Any) -> list[str]:
    """Return what is wrong on an engine with a plan that uses the table; `validate` must say the same."""
    declared = {"table": "t", "columns": [{"name": "n", "type": "int64"}]} | table
    job = json.loads(
        json.dumps(JOB).replace('"lab"', json.dumps(dataset)).replace('"t"', json.dumps(declared["table"]))
    )
    for name, content in (
        (f"tables/{dataset}.yaml", {"dataset": dataset, "tables": [declared]}), ("jobs/copy.yaml", job),
    ):  # fmt: skip
        file = folder / "configs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content), encoding="utf-8")
    (folder / "configs" / "runner.toml").touch()
    project = open_project(Settings.load(folder, warehouse={"kind": engine}))
    found = [str(problem).partition(": ")[2] for problem in project.check()]
    if found:
        with pytest.raises(ConfigurationError) as caught:
            project.plan("copy", as_of=utc_now())
        assert [str(problem).partition(": ")[2] for problem in caught.value.problems] == found
    else:
        project.plan("copy", as_of=utc_now())
    return found


@pytest.mark.parametrize("engine", ["duckdb", "postgres", "bigquery"])
def test_words_of_sql_are_names_like_others(tmp_path: Path, engine: str) -> None:
    columns = [
        {"name": name, "type": "int64"} for name in ("select", "from", "order", "timestamp", "number", "t")
    ]
    assert problems(tmp_path, engine, dataset="user", table="table", columns=columns) == []


def test_postgresql_would_cut_a_long_name(tmp_path: Path) -> None:
    names: dict[str, Any] = {"table": LONG, "columns": [{"name": LONG + "b", "type": "int64"}]}
    assert problems(tmp_path / "lab", "postgres", **names) == [
        f"tables[0].table: '{LONG}' is too long for postgres; expected at most 63 characters",
        f"tables[0].columns[0].name: '{LONG}b' is too long for postgres; expected at most 63 characters",
    ]
    assert problems(tmp_path / "lab", "bigquery", **names) == []
    (said,) = problems(tmp_path / "dataset", "postgres", dataset=LONG)
    assert said.startswith(f"dataset: '{LONG}' is too long")


@pytest.mark.parametrize(
    ("engine", "column"),
    [
        ("duckdb", "rowid"), ("duckdb", "RowID"), ("postgres", "xmin"), ("postgres", "tableoid"),
        ("bigquery", "_PARTITIONTIME"), ("bigquery", "_table_suffix"), ("bigquery", "__ROOT__x"),
    ],
)  # fmt: skip
def test_columns_that_an_engine_has_for_itself(tmp_path: Path, engine: str, column: str) -> None:
    """Another engine takes them; so does this one where they are in a table that the runs do not make."""
    columns = [{"name": column, "type": "int64"}]
    assert problems(tmp_path, engine, columns=columns) == [
        f"tables[0].columns[0].name: '{column}' is a name that {engine} has for itself; expected another name"
    ]
    other = {"duckdb": "postgres", "postgres": "bigquery", "bigquery": "duckdb"}[engine]
    assert problems(tmp_path, other, columns=columns) == []
    assert problems(tmp_path, engine, columns=columns, managed=False) == []


@pytest.mark.parametrize(
    ("engine", "dataset"),
    [("duckdb", "temp"), ("duckdb", "system"), ("postgres", "pg_lab"), ("postgres", "information_schema")],
)
def test_datasets_that_an_engine_has_for_itself(tmp_path: Path, engine: str, dataset: str) -> None:
    assert problems(tmp_path, engine, dataset=dataset) == [
        f"dataset: '{dataset}' is a name that {engine} has for itself; expected another name"
    ]
