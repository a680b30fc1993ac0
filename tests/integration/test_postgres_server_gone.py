"""A server that is restarted or killed in the middle of a run, and a client that is: nothing lands twice or in part."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner.records import PipelineRun, Status
from tests.postgres_lab import ENDLESS, eventually, make_endless
from tests.projects import (
    REPOSITORY,
    ThrowAwayProject,
    call,
    job_of,
    make_project,
    not_exists,
    project,
    read,
    write,
)
from tests.servers.postgres import PostgresDatabase, PostgresProcess

__all__ = ["make_project", "project"]

ROWS = 20_000
WAITING = """
    import time
    from pathlib import Path

    def pass_on(row, folder):
        if row["n"] == 1_000 and not Path(folder, "reached").exists():
            Path(folder, "reached").touch()
            while not Path(folder, "go").exists():
                time.sleep(0.005)
        return row
"""


class GoneServer:
    """A project whose run is held up in its middle, and its server."""

    def __init__(self, project: ThrowAwayProject, process: PostgresProcess, retries: int) -> None:
        self.project = project
        self.process = process
        self.database = process.server.create_database()
        self.folder = project.root
        retrying: dict[str, Any] = {"retries": retries}
        project.table("app.events", "id string, n int64, body string", key=["id"])
        project.table("out.copies", "id string, n int64, body string", key=["id"])
        project.functions(WAITING)
        incremental = not_exists("out.copies", "id")
        project.job(
            "job",
            read("app.events", incremental=incremental, **retrying),
            call("pass_on", arguments={"folder": str(self.folder)}, **retrying),
            write("out.copies", mode="append", **retrying),
        )
        self.run()
        self.database.fetch(
            "INSERT INTO app.events SELECT 'e' || x, x, repeat('x', 300) FROM generate_series(1, %s) AS a(x)",
            ROWS,
        )

    def run(self) -> PipelineRun:
        """Run once."""
        patient = {"base_delay": 0.1, "max_delay": 0.4}
        warehouse = {"kind": "postgres", "dsn": self.database.uri}
        return self.project.run("job", warehouse=warehouse, retries=patient)

    @contextmanager
    def in_the_middle(self, moment: str) -> Iterator[Future[PipelineRun]]:
        """Give a run that has come to the moment, and goes on afterwards."""
        with ThreadPoolExecutor(1) as threads:
            if moment == "reading":
                running = threads.submit(self.run)
                eventually((self.folder / "reached").exists, 10)
                yield running
                (self.folder / "go").touch()
                return
            (self.folder / "reached").touch()
            with closing(psycopg.connect(self.database.uri)) as held:  # it dies with the server
                held.execute("LOCK TABLE ops.landings IN SHARE MODE")
                running = threads.submit(self.run)
                eventually(self.waits_for_a_lock, 10)
                yield running

    def waits_for_a_lock(self) -> bool:
        """Tell whether the landing waits for the test's lock."""
        query = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        return bool(self.database.fetch(query, self.database.name))

    def landed(self) -> tuple[int, int, int]:
        """Return rows, distinct rows and markers."""
        query = "SELECT count(*), count(DISTINCT id), (SELECT count(*) FROM ops.landings) FROM out.copies"
        (found,) = self.database.fetch(query)
        return found


def restart(process: PostgresProcess) -> None:
    """Stop the server as its administrator does, and start it again."""
    process.restart()


def crash(process: PostgresProcess) -> None:
    """Kill the server, and start it again."""
    process.kill()
    process.start()


PrivatePostgres = Callable[[int], PostgresProcess]
ways = pytest.mark.parametrize("gone", [restart, crash])
moments = pytest.mark.parametrize("moment", ["reading", "landing"])


@ways
@moments
def test_retries_make_up_for_a_server_that_went_away(
    project: ThrowAwayProject, private_postgres: PrivatePostgres, gone: Callable[[Any], None], moment: str
) -> None:
    lab = GoneServer(project, private_postgres(18), retries=20)
    with lab.in_the_middle(moment) as running:
        gone(lab.process)
    assert running.result().status is Status.SUCCESS
    assert lab.landed() == (ROWS, ROWS, 1)
    assert any(timing.attempts > 1 for timing in job_of(running.result()).step_timings)
    assert lab.database.running() == []


@pytest.mark.chaos
@ways
@moments
def test_without_retries_the_error_names_the_cause_and_the_next_run_makes_it_whole(
    project: ThrowAwayProject, private_postgres: PrivatePostgres, gone: Callable[[Any], None], moment: str
) -> None:
    lab = GoneServer(project, private_postgres(15), retries=0)
    with lab.in_the_middle(moment) as running:
        gone(lab.process)
    (error,) = job_of(running.result()).errors
    assert (error.category, error.step_id) == (
        "unavailable",
        {"reading": "read", "landing": "write"}[moment],
    )
    assert lab.landed() == (0, 0, 0)
    assert lab.run().status is Status.SUCCESS
    assert lab.landed() == (ROWS, ROWS, 1)


READER = """
import anyio, sys
from pathlib import Path
from runner.ports import ReadQuery
from tests.postgres_lab import ENDLESS, warehouse_at

async def main():
    async with warehouse_at(sys.argv[1], Path(sys.argv[2])) as warehouse:
        if sys.argv[3] == "read":
            async with warehouse.read(ReadQuery(source=ENDLESS, columns=("x",))) as batches:
                async for batch in batches:
                    pass
        else:
            await warehouse.count_matching(ENDLESS, ())

anyio.run(main)
"""


@pytest.mark.parametrize("what", ["read", "count"])
def test_the_query_of_a_killed_client_ends(
    tmp_path: Path, postgres_database: PostgresDatabase, what: str
) -> None:
    make_endless(postgres_database)
    command = [sys.executable, "-c", textwrap.dedent(READER), postgres_database.uri, str(tmp_path), what]
    client = subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": str(REPOSITORY)})
    try:
        eventually(lambda: any(ENDLESS.table in text for text in postgres_database.running()), 20)
    finally:
        client.send_signal(signal.SIGKILL)
        client.wait()
    eventually(lambda: not postgres_database.running(), 1.5)  # it looks every 0.5 s
