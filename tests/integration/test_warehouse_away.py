"""The warehouse is away for three runs: those that need nothing of it succeed, and then every event is there, once."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runner.errors import HeldByAnother, WarehouseUnavailable
from runner.event_log import pending_runs
from runner.pipeline_runner.places import outbox_dir
from runner.records import PipelineRun, Status
from runner.run_store import FileRunStore
from tests.postgres_lab import eventually
from tests.projects import ThrowAwayProject, call, extract, job_of, write
from tests.servers.postgres import PostgresProcess

LOG = "SELECT event_id, correlation_id FROM ops.event_log ORDER BY event_id"

HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def mixed(project: ThrowAwayProject) -> ThrowAwayProject:
    """A job that loads, and one that only brings rows to a function: it asks nothing of the warehouse."""
    project.table("out.numbers", "n int64!", key=["n"])
    project.functions("""
        import time
        from pathlib import Path

        def numbers(folder):
            yield {"n": 1}
            if Path(folder, "wait").exists():
                Path(folder, "reached").touch()
                while not Path(folder, "go").exists():
                    time.sleep(0.005)
            yield {"n": 2}

        def send(row, folder):
            with open(Path(folder, "sent"), "a") as sent:
                sent.write(f"{row['n']}\\n")
    """)
    arguments = {"folder": str(project.root)}
    project.job("load", extract("numbers", arguments=arguments), write("out.numbers"))
    project.job("send", extract("numbers", arguments=arguments), call("send", arguments=arguments))
    project.pipeline("both", jobs={"load": {}, "send": {}})
    return project


def stored_events(project: ThrowAwayProject) -> list[tuple[str, str]]:
    """Ids of all durable events of all runs, with those of their runs."""
    store = FileRunStore(project.settings().runs_dir)
    return sorted(
        (event.event_id, event.run_id)
        for run in store.latest()
        for event in store.events(run.pipeline_run_id)
        if event.durable
    )


def pending(project: ThrowAwayProject) -> list[str]:
    return pending_runs(outbox_dir(project.settings()))


@contextmanager
def held_by_another_process(file: Path) -> Iterator[None]:
    """Hold the DuckDB file as another program does."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.communicate()


def test_a_duckdb_file_that_another_process_holds(
    mixed: ThrowAwayProject, caplog: pytest.LogCaptureFixture
) -> None:
    mixed.run("both")
    with held_by_another_process(mixed.settings().warehouse_path), caplog.at_level(logging.WARNING):
        away = [mixed.run("send") for _ in range(3)]
        for name in ("load", "both"):
            with pytest.raises(HeldByAnother):
                mixed.run(name)

    assert [run.status for run in away] == [Status.SUCCESS] * 3
    assert [(run.jobs[0].rows_read, run.jobs[0].errors) for run in away] == [(2, ())] * 3
    assert (mixed.root / "sent").read_text().split() == ["1", "2"] * 4
    assert pending(mixed) == [run.pipeline_run_id for run in away]
    assert sum("goes on without the warehouse" in record.getMessage() for record in caplog.records) == 3
    assert sum("not in ops.event_log yet" in record.getMessage() for record in caplog.records) == 3

    assert mixed.run("load").status is Status.SUCCESS

    assert pending(mixed) == []
    logged = [(row["event_id"], row["correlation_id"]) for row in mixed.rows(LOG)]
    assert logged == stored_events(mixed)
    assert {run.pipeline_run_id for run in away} < {run_id for _, run_id in logged}


def test_a_postgresql_that_goes_away_in_the_middle_of_a_run(
    mixed: ThrowAwayProject, private_postgres: Callable[..., PostgresProcess]
) -> None:
    """The run that needs it fails and is recorded; all is made up for by the first run after it is back."""
    server = private_postgres()
    database = server.server.create_database()
    options: dict[str, Any] = {"warehouse": {"kind": "postgres", "dsn": database.uri}}

    def run(name: str) -> PipelineRun:
        return mixed.run(name, **options)

    assert run("both").status is Status.SUCCESS
    (mixed.root / "wait").touch()
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(run, "load")
        eventually((mixed.root / "reached").exists, 20)
        server.kill()
        (mixed.root / "go").touch()
        broken = running.result(40)
    away = [run("send") for _ in range(2)]
    with pytest.raises(WarehouseUnavailable):
        run("load")

    assert (broken.status, job_of(broken).errors[0].category) == (Status.FAILURE, "unavailable")
    assert [run.status for run in away] == [Status.SUCCESS] * 2
    assert pending(mixed) == [run.pipeline_run_id for run in (broken, *away)]

    server.start()
    assert run("load").status is Status.SUCCESS

    assert pending(mixed) == []
    assert database.fetch(LOG) == stored_events(mixed)
