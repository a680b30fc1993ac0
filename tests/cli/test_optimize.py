"""`optimize` as a user starts it: what it says, what it exits with, what the shell completes."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from runner.cli.project_files import table_names
from runner.locks import acquire_all
from tests.cli.demo_project import DemoProject
from tests.projects import open_file

TABLE = """\
dataset: lab
tables:
  - table: readings
    columns: [{name: id, type: int64}, {name: device, type: string}]
    cluster_by: [device]
"""
JOB = """\
job_id: load_readings
steps:
  - {step_id: read_people, op: read, dataset: hello, table: people}
  - {step_id: write, op: write, dataset: lab, table: readings, mode: append}
"""
ROWS = 400_000


@pytest.fixture
def readings(loaded: DemoProject) -> DemoProject:
    """The demo project with a table of four blocks in no order."""
    loaded.write("configs/tables/lab.yaml", TABLE)
    with open_file(loaded.folder / "var" / "warehouse.duckdb") as connection:
        connection.execute("CREATE SCHEMA lab")
        connection.execute(
            "CREATE TABLE lab.readings AS "
            f"SELECT i AS id, 'd' || (i * 7919 % 1000) AS device FROM range({ROWS}) AS r(i)"
        )
    return loaded


def test_a_dry_run_shows_the_statements_and_changes_nothing(readings: DemoProject) -> None:
    shown = readings.run("optimize", "lab.readings", "--dry-run", "--backup")
    assert shown.returncode == 0, shown.stderr
    assert "lab.readings, 400,000 rows\n  order     a value of device lies in 4 of 4 blocks" in shown.stdout
    assert 'ORDER BY "device"' in shown.stdout
    assert "1 change to make; nothing was changed" in shown.stderr
    assert "  backup    a copy would be kept as lab.readings__backup_TIME\n" in shown.stdout
    again = readings.run("optimize", "lab.readings", "--dry-run", "--backup")
    assert again.stdout == shown.stdout


def test_it_tells_what_it_does_and_what_that_was_worth(readings: DemoProject) -> None:
    done = readings.run("optimize", "--backup")
    assert done.returncode == 0, done.stderr
    assert (
        "lab.readings: copying it\nlab.readings: writing all rows anew in the order of device\n"
        in done.stderr
    )
    assert "1 change made, 3 tables looked at" in done.stderr
    assert 'to remove it: DROP TABLE "lab"."readings__backup_' in done.stdout
    assert "  measured  rows with one value of device: " in done.stdout
    assert "hello.people, 3 rows: as declared" in done.stdout
    after = readings.run("optimize")
    assert (after.returncode, "nothing to do: 3 tables looked at" in after.stderr) == (0, True)
    assert "optimize lab.readings --prune" in after.stdout


def test_as_json_it_is_data(readings: DemoProject) -> None:
    (found,) = json.loads(readings.run("optimize", "lab.readings", "-o", "json").stdout)
    assert (found["table"], found["rows"], found["dry_run"]) == ("lab.readings", ROWS, False)
    assert [change["kind"] for change in found["changes"]] == ["order"]
    (measured,) = found["measurements"]
    assert measured["ratio"] == pytest.approx(measured["after_ms"] / measured["before_ms"], abs=0.001)
    lines = readings.run("optimize", "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line)["changes"] for line in lines] == [[], [], []]


def test_a_running_job_is_named_and_nothing_is_done(readings: DemoProject) -> None:
    readings.write(
        "configs/jobs/load_readings.yaml", JOB.replace("hello", "lab").replace("people", "readings")
    )
    with acquire_all(readings.folder / "var" / "locks", ["job.load_readings"], "run 01ABC"):
        done = readings.run("optimize")
    assert done.returncode == 75
    assert "job load_readings is held by run 01ABC" in done.stderr
    assert done.stdout == ""


def test_ctrl_c_leaves_the_table_as_it_was(readings: DemoProject) -> None:
    before = content(readings)
    process = readings.start("optimize", "lab.readings", "--no-measure")
    assert process.stderr is not None
    assert process.stderr.readline() == "lab.readings: writing all rows anew in the order of device\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    assert content(readings) == before
    assert readings.run("optimize").returncode == 0
    assert content(readings)[0] == before[0]


def content(project: DemoProject) -> list[Any]:
    """Return what stands for the rows of the table, and for their order."""
    with open_file(project.folder / "var" / "warehouse.duckdb") as connection:
        text = "SELECT (SELECT [count(*), sum(hash(t))] FROM lab.readings AS t), (SELECT id FROM lab.readings LIMIT 1)"
        return list(connection.execute(text).fetchall()[0])


@pytest.mark.parametrize(
    ("name", "said"), [("lab.reading", "did you mean"), ("ops.landings", "belong to the engine")]
)
def test_other_tables_are_refused(readings: DemoProject, name: str, said: str) -> None:
    done = readings.run("optimize", name)
    assert (done.returncode, said in done.stderr) == (2, True)


def test_names_of_tables_complete(readings: DemoProject) -> None:
    assert table_names(readings.folder) == ["hello.greetings", "hello.people", "lab.readings"]
    readings.write("configs/tables/broken.yaml", "tables: [")
    done = readings.run(
        _RUN_PIPELINE_COMPLETE="bash_complete", COMP_WORDS="run-pipeline optimize lab", COMP_CWORD="2"
    )
    assert done.stdout == "plain,lab.readings\n"
