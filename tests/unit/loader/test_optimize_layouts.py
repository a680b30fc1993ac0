"""Layouts of tables at load: what an engine would refuse is told with file, line and column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.errors import ConfigurationError
from runner.loader import open_project
from runner.settings import Settings

TABLE = """\
dataset: lab
tables:
  - table: readings
    columns:
      - {{name: id, type: int64}}
      - {{name: device, type: string}}
      - {{name: value, type: float64}}
      - {{name: raw, type: json}}
      - {{name: day, type: date}}
      - {{name: broken, type: bool}}
    {layout}
"""
JOB = """\
job_id: copy
steps:
  - {step_id: read, op: read, dataset: lab, table: readings}
  - {step_id: write, op: write, dataset: lab, table: readings, mode: append}
"""
ENGINES: dict[str, dict[str, Any]] = {
    "duckdb": {"kind": "duckdb"},
    "postgres": {"kind": "postgres", "dsn": "postgresql:///lab"},
    "bigquery": {"kind": "bigquery", "project": "lab"},
}


def problems(folder: Path, layout: str, engine: str = "duckdb") -> list[str]:
    """Return what `validate` says of a table with this layout; a plan says the same on this engine."""
    for name, text in (
        ("runner.toml", ""),
        ("tables/lab.yaml", TABLE.format(layout=layout)),
        ("jobs/copy.yaml", JOB),
    ):
        file = folder / "configs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    settings = Settings.load(folder, warehouse=ENGINES[engine])
    return [str(problem) for problem in open_project(settings).check()]


def planned(folder: Path, engine: str) -> str:
    """Return what is wrong with the plan of the job; "" for nothing."""
    from runner.clock import utc_now

    settings = Settings.load(folder, warehouse=ENGINES[engine])
    try:
        open_project(settings).plan("copy", as_of=utc_now())
    except ConfigurationError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("column", ["value", "raw"])
def test_what_bigquery_cannot_cluster_by(tmp_path: Path, column: str) -> None:
    layout = f"cluster_by: [device, {column}]"
    (problem,) = problems(tmp_path, layout, "bigquery")
    assert problem.startswith("configs/tables/lab.yaml:11:26: tables[0].cluster_by[1]:")
    assert f"{column!r} is " in problem
    assert planned(tmp_path, "bigquery") == problem
    assert problems(tmp_path, layout, "duckdb") == problems(tmp_path, layout, "postgres") == []


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ("cluster_by: [id, device, day, broken, value]", "5 entries; expected at most 4"),
        ("cluster_by: [devise]", "'devise' is not a column of this table"),
        ("cluster_by: [id, id]", "'id' stands there already"),
        ("partition_by: {column: device}", "not a time"),
        ("partition_by: {column: day, unit: hour}", "a date has no hours"),
        ("partition_by: {column: day, unit: week}", "unknown value 'week'"),
        ("indexes: [{columns: [devise]}]", "'devise' is not a column of this table"),
        ("indexes: [{columns: [device], include: [devise]}]", "'devise' is not a column of this table"),
    ],
)
def test_what_no_engine_takes(tmp_path: Path, layout: str, said: str) -> None:
    for engine in ENGINES:
        (problem,) = problems(tmp_path, layout, engine)
        assert said in problem


@pytest.mark.parametrize(
    "where",
    [
        "value IS NULL",
        "broken",
        "NOT broken AND device <> 'x;y' AND day > date '2026-01-01'",
        "(value > 1) OR lower(device) = 'a--b'",
        "device IN ('a', 'b') AND value BETWEEN 1 AND 2",
    ],
)
def test_conditions_of_one_row(tmp_path: Path, where: str) -> None:
    assert problems(tmp_path, f'indexes: [{{columns: [id], where: "{where}"}}]', "postgres") == []


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("true); DROP TABLE lab.readings; --", "has a comment"),
        ("true); DROP TABLE lab.readings", "has a semicolon"),
        ("true;", "has a semicolon"),
        ("true /* and */", "has a comment"),
        ("true) OR (true", "is no SQL of postgres"),
        ("value >", "is no SQL of postgres"),
        ("value IS NULL -- old", "has a comment"),
        ("device = 'a", "does not end"),
        ("device = :name", "has a placeholder"),
        ("device = $1", "has a placeholder"),
        ("id IN (SELECT id FROM lab.others)", "has a query within"),
        ("count(*) > 1", "has an aggregate"),
        ("row_number() OVER () = 1", "has a window function"),
        ("valeu IS NULL", "names 'valeu', which is no column"),
        ("lab.readings.id = 1", "which is no column"),
        ("id + 1", "is a value, not a condition"),
        ("device", "is a value, not a condition"),
        ("DROP TABLE x", "has a statement"),
    ],
)
def test_what_is_no_condition_of_one_row(tmp_path: Path, where: str, said: str) -> None:
    layout = f'indexes: [{{columns: [id], where: "{where}"}}]'
    found = problems(tmp_path, layout, "postgres")
    assert said in found[0]
    assert found[0].startswith("configs/tables/lab.yaml:11:")
    assert "tables[0].indexes[0].where" in found[0]
    assert planned(tmp_path, "postgres") == "\n".join(found)
    # Where no index is made a run does not read the condition, but `validate` does.
    assert problems(tmp_path, layout, "duckdb") == found
    assert planned(tmp_path, "duckdb") == ""
