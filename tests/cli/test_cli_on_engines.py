"""The demo project on PostgreSQL and BigQuery, with nothing changed but variables: its commands, and what is told when
the server is not to be had.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.cli.demo_project import DemoProject, environment
from tests.engines import Engine, PostgresEngine, new_engine

SERVERS = ("postgres-18", "bigquery")
WITHOUT = """
import sys
sys.modules["psycopg"] = sys.modules["google.cloud.bigquery"] = None  # as if they were not there
from runner.cli import main
sys.exit(main(sys.argv[1:]))
"""


@dataclass
class OnServer:
    """The demo project, whose warehouse is a server."""

    project: DemoProject
    engine: Engine

    def run(self, *args: str, **warehouse: str) -> CompletedProcess[str]:
        """Run a command; `warehouse`: settings that differ."""
        given = {**self.engine.warehouse, **warehouse}
        return self.project.run(
            *args, **{f"RUN_PIPELINE_WAREHOUSE__{key.upper()}": str(value) for key, value in given.items()}
        )

    def ok(self, *args: str) -> str:
        """Run a command that succeeds, and return what it printed, stdout and stderr."""
        done = self.run(*args)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr


@pytest.fixture(params=SERVERS)
def on_server(request: pytest.FixtureRequest, project: DemoProject, tmp_path: Path) -> Iterator[OnServer]:
    with new_engine(request.param, request, tmp_path) as engine:
        yield OnServer(project, engine)


def test_the_commands_of_a_day(on_server: OnServer) -> None:
    engine = on_server.engine.warehouse["kind"]
    assert "ok: 1 pipeline" in on_server.ok("validate")
    assert "0 rows to read: hello.people does not exist yet" in on_server.ok("plan", "hello", "--count")
    assert on_server.engine.tables() == {}, "a plan makes nothing"

    assert "hello: success" in (said := on_server.ok("hello"))
    assert "6 rows read, 6 written" in said
    assert "0 rows read, 0 written" in on_server.ok("hello")
    shown = on_server.ok("show")
    assert ("\nwarehouse " in shown) == (engine == "bigquery"), "who bills is shown with what was billed"
    assert "3 rows: 0 new, 3 present, 0 remembered, 0 without a key" in on_server.ok(
        "plan", "hello", "--count"
    )

    examined = on_server.ok("doctor", "greet_people")
    assert "ok: 3 of 3 source keys (100.0 %) are in the target" in examined
    before = on_server.engine.tables()["hello.greetings"]
    assert "3 rows read, 3 written" in on_server.ok(
        "rescore", "greet_people", "--where", "greeted_at<2999-01-01T00:00:00Z", "--yes"
    )
    assert "nothing to do" in on_server.ok("rescore", "greet_people", "--quarantined", "--yes")
    after = on_server.engine.tables()["hello.greetings"]
    assert {row["person_id"] for row in after} == {row["person_id"] for row in before}
    assert "0 rows read, 0 written" in on_server.ok("hello")

    warehouse = json.loads(on_server.ok("config", "-o", "json"))["warehouse"]
    assert warehouse["kind"] == engine
    assert not (on_server.project.folder / "var" / "warehouse.duckdb").exists()


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("postgres", {"dsn": "postgresql://postgres@127.0.0.1:1/x"}, "Connection refused"),
        ("postgres", {"dsn": "postgresql://postgres@nowhere.invalid/x"}, "failed to resolve host 'nowhere.invalid'"),
        ("bigquery", {"project": "p", "endpoint": "http://127.0.0.1:1"}, "reach 127.0.0.1:1: Connection refused"),
        ("bigquery", {"project": "p", "endpoint": "http://nowhere.invalid"}, "cannot reach nowhere.invalid:80: "),
    ],
)  # fmt: skip
def test_a_server_that_cannot_be_reached_tells_nothing_of_the_data(
    project: DemoProject, kind: str, settings: dict[str, str], said: str
) -> None:
    variables = {
        f"RUN_PIPELINE_WAREHOUSE__{key.upper()}": value for key, value in {"kind": kind, **settings}.items()
    }
    done = project.run("hello", **variables, RUN_PIPELINE_RETRIES__BASE_DELAY="1ms")
    assert (done.returncode, said in done.stderr) == (3, True), done.stderr
    assert done.stderr.startswith(f"error: {kind}: ")
    assert "Traceback" not in done.stderr


def test_a_wrong_password_and_a_missing_database(
    project: DemoProject, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with new_engine("postgres-18", request, tmp_path) as engine:
        assert isinstance(engine, PostgresEngine)
        server, database = engine.database.server, engine.database.name
        engine.database.fetch(f"CREATE ROLE {database} LOGIN PASSWORD 'right'")
        try:
            loader = server.uri(database, user=database)
            refused = OnServer(project, engine).run("hello", dsn=loader, password="geheim")
        finally:
            engine.database.fetch(f"DROP ROLE {database}")
        assert refused.returncode == 3, refused.stderr
        assert "password authentication failed" in refused.stderr
        assert "(check the credentials that [warehouse] names)" in refused.stderr
        assert "geheim" not in refused.stderr
        missing = OnServer(project, engine).run("hello", dsn=server.uri("nowhere"))
        assert missing.returncode == 2, missing.stderr
        assert 'database "nowhere" does not exist (create the database' in missing.stderr


@pytest.mark.parametrize(
    ("kind", "packages"),
    [("postgres", "'psycopg[binary]' adbc-driver-postgresql"), ("bigquery", "google-cloud-bigquery")],
)
def test_a_client_that_is_not_installed_is_told_with_the_command_that_installs_it(
    project: DemoProject, kind: str, packages: str
) -> None:
    command = [sys.executable, "-P", "-c", WITHOUT, "hello"]
    variables = environment({"RUN_PIPELINE_WAREHOUSE__KIND": kind})
    done = subprocess.run(
        command, cwd=project.folder, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert f"warehouse.kind: the client of {kind} is not installed" in done.stderr
    assert f"({sys.executable} -m pip install {packages})" in done.stderr
    assert "Traceback" not in done.stderr
