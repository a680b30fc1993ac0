"""`mode: replace` in whole runs: the table is what this run's rows say, also when there are none."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import anyio
import pytest

from runner.errors import UsageError
from runner.operations.rescore import targets
from runner.pipeline_runner import PipelineRunner
from runner.records import RunRecord, Status
from runner.warehouses.duckdb import DuckDBWarehouse
from tests.projects import ThrowAwayProject, call, extract, write
from tests.warehouse_lab import EVENTS, Lab

ROOT = Path(__file__).resolve().parents[2]

FUNCTIONS = """
    from pathlib import Path

    def lines(*, file: str):
        for line in Path(file).read_text().split():
            name, _, value = line.partition("=")
            yield {"name": name, "value": int(value) if value.isdigit() else value}

    def wanted(row):
        return row if row["name"] != "unwanted" else None
"""


@pytest.fixture
def prices(project: ThrowAwayProject) -> ThrowAwayProject:
    """A project whose job keeps the lines of `prices.txt`, and nothing else, in shop.prices."""
    project.table(
        "shop.prices", "name string!, value int64, first_at timestamp, kept_at timestamp", key=["name"]
    )
    project.functions(FUNCTIONS)
    keep(project)
    return project


def keep(project: ThrowAwayProject, **more: str) -> None:
    """Declare the job."""
    file = str(project.root / "prices.txt")
    stamps = {"set_on_insert": "first_at", "set_on_write": "kept_at"}
    project.job(
        "keep",
        extract("lines", arguments={"file": file}),
        call("wanted"),
        write("shop.prices", mode="replace", **stamps, **more),
    )


def run(project: ThrowAwayProject, text: str) -> RunRecord:
    """Run the job over these lines."""
    (project.root / "prices.txt").write_text(text, encoding="utf-8")
    (job,) = project.run("keep").jobs
    return job


def names(project: ThrowAwayProject) -> list[tuple[str, int]]:
    """Return what the table holds."""
    return [(row["name"], row["value"]) for row in project.rows("SELECT * FROM shop.prices ORDER BY name")]


def statuses(job: RunRecord) -> list[tuple[str, Status, int | None]]:
    """Return step ids with status and rows written."""
    return [(step.step_id, step.status, step.rows_written) for step in job.step_timings]


def test_a_run_leaves_its_own_rows_and_no_others(prices: ThrowAwayProject) -> None:
    assert run(prices, "a=1 b=2 b=3").rows_written == 2
    assert names(prices) == [("a", 1), ("b", 3)]
    job = run(prices, "b=4 c=5")
    assert (job.status, job.rows_written) == (Status.SUCCESS, 2)
    assert names(prices) == [("b", 4), ("c", 5)]
    assert prices.rows("SELECT count(*) AS n FROM shop.prices WHERE first_at <> kept_at") == [{"n": 0}]


@pytest.mark.parametrize("text", ["", "unwanted=1"])
def test_the_write_runs_also_when_no_row_came(prices: ThrowAwayProject, text: str) -> None:
    run(prices, "a=1 b=2")
    job = run(prices, text)
    assert names(prices) == []
    assert (job.status, job.rows_written) == (Status.SUCCESS, 0)
    called = Status.SUCCESS if text else Status.SKIPPED
    assert [status for _, status, _ in statuses(job)] == [Status.SUCCESS, called, Status.SUCCESS]
    assert prices.rows("SELECT count(*) AS n FROM ops.landings") == [{"n": 2}]


def test_a_failure_leaves_the_table_as_it_was(prices: ThrowAwayProject) -> None:
    run(prices, "a=1")
    job = run(prices, "b=2 c=many")
    assert job.status is Status.FAILURE
    assert statuses(job)[-1] == ("write", Status.FAILURE, 0)
    assert names(prices) == [("a", 1)]


def test_bad_rows_go_to_quarantine_and_the_others_replace(prices: ThrowAwayProject) -> None:
    run(prices, "a=1")
    keep(prices, on_bad_row="quarantine")
    job = run(prices, "b=2 c=many")
    assert (job.status, job.rows_quarantined, job.errors) == (Status.PARTIAL, 1, ())
    assert names(prices) == [("b", 2)]


def test_rescore_says_that_there_is_nothing_to_rescore(prices: ThrowAwayProject) -> None:
    async def plan_targets() -> None:
        async with PipelineRunner.open(prices.settings()) as pipelines:
            targets(pipelines.plan("keep"))

    with pytest.raises(UsageError, match=r"replaces shop\.prices.*run-pipeline keep"):
        anyio.run(plan_targets)


CHILD = textwrap.dedent("""
    import sys
    import anyio
    from runner.ports import WriteTarget
    from runner.warehouses.duckdb import DuckDBWarehouse
    from tests.contract.test_warehouse_replace import REPLACED, generation
    from tests.warehouse_lab import EVENTS, Lab, landing_of
    from pathlib import Path

    async def main():
        async with DuckDBWarehouse(Path(sys.argv[1]), stage_bytes=1) as warehouse:
            lab = Lab(warehouse, "duckdb")
            await lab.prepare(EVENTS)
            for number in range(1_000_000):
                name = f"{sys.argv[2]}:{number}"
                await lab.land(REPLACED, generation(name, 20_000), job_run_id=name)
                print(name, flush=True)

    anyio.run(main)
""")


def test_a_kill_leaves_one_whole_table(tmp_path: Path) -> None:
    """kill -9 somewhere in the landing after the third: the table is of one landing, and no earlier than that."""
    path = tmp_path / "w.duckdb"
    for kill in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path), str(kill)], stdout=subprocess.PIPE, cwd=ROOT, text=True
        ) as child:
            assert child.stdout is not None
            for _ in range(3):
                child.stdout.readline()
            try:
                child.wait(0.02 * kill)  # where in a landing the kill falls; none is waited for
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
            told = child.communicate()[0].split()
        assert child.returncode == -signal.SIGKILL
        last = max([f"{kill}:2", *told], key=lambda name: int(name.partition(":")[2]))
        found = anyio.run(contents, path)
        assert len(found) == 1, "rows of several landings"
        ((name, rows),) = found.items()
        assert rows == 20_000
        assert name in (last, f"{kill}:{int(last.partition(':')[2]) + 1}")


async def contents(path: Path) -> dict[str, int]:
    """Return how many rows of each generation the table holds."""
    async with DuckDBWarehouse(path) as warehouse:
        bindings = [name for (name,) in await Lab(warehouse, "duckdb").rows(EVENTS, "binding")]
    return {name: bindings.count(name) for name in set(bindings)}
