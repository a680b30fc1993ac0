"""What is wrong with a connection, a role or a table: each with its category, exit code, and what to do about it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import anyio.to_thread
import psycopg
import pytest

from runner.errors import (
    AuthenticationFailed,
    ObjectNotFound,
    WarehouseError,
    WarehouseTimeLimit,
    WarehouseUnavailable,
)
from runner.operations.init import init_project
from runner.ports import ReadQuery, WriteTarget
from tests.cli.demo_project import DemoProject
from tests.postgres_lab import open_lab, warehouse_at
from tests.servers.places import free_port
from tests.servers.postgres import PostgresDatabase
from tests.warehouse_lab import EVENTS, batch_of, table

PASSWORD = "correct horse"


@pytest.fixture
def role(postgres_database: PostgresDatabase) -> Iterator[str]:
    """A role that may log in with `PASSWORD`, and nothing else."""
    name = f"r_{uuid.uuid4().hex[:8]}"
    postgres_database.fetch(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
    yield name
    postgres_database.fetch(f"DROP OWNED BY {name} CASCADE")
    postgres_database.fetch(f"DROP ROLE {name}")


async def error_of(uri: str, folder: Path, **settings: Any) -> WarehouseError:
    """Return what the first question to a server ends with."""
    async with warehouse_at(uri, folder, **settings) as warehouse:
        with pytest.raises(WarehouseError) as raised:
            await warehouse.inspect([EVENTS.ref])
    return raised.value


@pytest.mark.asyncio
@pytest.mark.parametrize("postgres_server", [15, 18], indirect=True)
async def test_what_keeps_a_connection_from_being_made(
    tmp_path: Path, postgres_database: PostgresDatabase, role: str
) -> None:
    server, name = postgres_database.server, postgres_database.name
    told = f'postgres: connection failed: connection to server at "127.0.0.1", port {server.port} failed: '

    wrong = await error_of(server.uri(name, user=role), tmp_path, password="wrong")
    assert (type(wrong), wrong.category) == (AuthenticationFailed, "auth")
    assert str(wrong) == (
        f'{told}FATAL: password authentication failed for user "{role}" (check the credentials that [warehouse] names)'
    )
    missing = await error_of(server.uri(name, user=role), tmp_path)
    assert (missing.category, "no password supplied" in str(missing)) == ("auth", True)

    unknown = await error_of(server.uri("no_such_database"), tmp_path)
    assert (type(unknown), unknown.category) == (ObjectNotFound, "not_found")
    assert str(unknown) == (
        f'{told}FATAL: database "no_such_database" does not exist '
        "(create the database, or name another one in [warehouse])"
    )
    await anyio.to_thread.run_sync(postgres_database.fetch, f"ALTER ROLE {role} CONNECTION LIMIT 0")
    full = await error_of(server.uri(name, user=role), tmp_path, password=PASSWORD)
    assert (type(full), full.category, full.retryable) == (WarehouseUnavailable, "unavailable", True)
    assert str(full).endswith("(the server has no connection left; lower max_connections in [warehouse])")

    nobody = await error_of(f"postgresql://127.0.0.1:{free_port()}/x", tmp_path)
    assert (type(nobody), nobody.category) == (WarehouseUnavailable, "unavailable")
    assert "Connection refused; Is the server running on that host" in str(nobody)


@pytest.fixture
def demo(tmp_path: Path, postgres_database: PostgresDatabase, role: str) -> DemoProject:
    """A project of `init` whose warehouse is the database, as a role that may do nothing there."""
    made = DemoProject(init_project(tmp_path / "demo").folder)
    uri = postgres_database.server.uri(postgres_database.name, user=role)
    made.write(
        "configs/runner.toml", f'package = "demo_jobs"\n\n[warehouse]\nkind = "postgres"\ndsn = "{uri}"\n'
    )
    return made


def run(demo: DemoProject, *arguments: str, password: str = PASSWORD) -> CompletedProcess[str]:
    """Run the project's pipeline, the password as a variable."""
    return demo.run(*(arguments or ("hello",)), RUN_PIPELINE_WAREHOUSE__PASSWORD=password)


def test_the_command_line_says_what_is_wrong_and_its_exit_code_how_bad_it_is(
    demo: DemoProject, postgres_database: PostgresDatabase, role: str
) -> None:
    wrong = run(demo, password="wrong")
    assert wrong.returncode == 3
    assert "password authentication failed" in wrong.stderr
    assert "check the credentials that [warehouse] names" in wrong.stderr

    denied = run(demo)
    assert denied.returncode == 3
    assert f"permission denied for database {postgres_database.name}" in denied.stderr
    assert "GRANT it to the role that [warehouse] connects as" in denied.stderr

    postgres_database.fetch(f"GRANT CREATE ON DATABASE {postgres_database.name} TO {role}")
    assert run(demo).returncode == 0, run(demo).stderr

    postgres_database.fetch("ALTER TABLE hello.people OWNER TO postgres")
    denied = run(demo)
    assert denied.returncode == 3
    assert "permission denied for table people" in denied.stderr
    (error,) = last_run(demo)["jobs"][0]["errors"]
    assert error["category"] == "auth"


def last_run(demo: DemoProject) -> dict[str, list[dict[str, list[dict[str, str]]]]]:
    """Return the record of the last run."""
    found: dict[str, list[dict[str, list[dict[str, str]]]]] = json.loads(
        demo.run("show", "last", "-o", "json").stdout
    )
    return found


@pytest.mark.asyncio
async def test_a_table_that_is_gone_meanwhile_is_named(
    tmp_path: Path, postgres_database: PostgresDatabase
) -> None:
    async with warehouse_at(postgres_database.uri, tmp_path) as warehouse:
        with pytest.raises(
            ObjectNotFound, match=r'"lab\.events" does not exist .*run-pipeline plan'
        ) as raised:
            await warehouse.count_matching(EVENTS, ())
    assert raised.value.category == "not_found"
    assert isinstance(raised.value.__cause__, psycopg.errors.UndefinedTable)


@pytest.mark.asyncio
async def test_a_transaction_timeout_that_sql_of_the_project_sets_is_told_as_a_timeout(
    tmp_path: Path, postgres_database: PostgresDatabase
) -> None:
    """Through both drivers; afterwards the warehouse goes on, on another connection."""
    async with open_lab(postgres_database.uri, tmp_path, EVENTS) as lab:
        bounded = "PERFORM set_config('transaction_timeout', '200ms', false); PERFORM pg_sleep(5); RETURN 1;"
        for text in (
            f"CREATE FUNCTION lab.bounded() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN {bounded} END $$",
            "CREATE VIEW lab.slow AS SELECT n FROM generate_series(lab.bounded(), 1) AS a(n)",
        ):
            await anyio.to_thread.run_sync(postgres_database.fetch, text)
        slow = table("slow", n="int64").model_copy(update={"managed": False})
        with pytest.raises(WarehouseTimeLimit) as short:
            await lab.warehouse.count_matching(slow, ())
        with pytest.raises(WarehouseTimeLimit) as streamed:
            await lab.read(ReadQuery(source=slow, columns=("n",)))
        for raised in (short, streamed):
            assert raised.value.category == "timeout"
            assert "transaction timeout" in raised.value.message
            assert "longer than the transaction_timeout that a statement in it has set" in str(raised.value)
        assert await lab.warehouse.count_matching(EVENTS, ()) == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("postgres_server", [15, 18], indirect=True)
async def test_rows_are_written_with_the_rights_that_are_said_to_be_needed(
    tmp_path: Path, postgres_database: PostgresDatabase, role: str
) -> None:
    """Into tables of somebody else, as a role that may neither make nor change them."""
    owner = postgres_database.uri
    upsert = WriteTarget(step_id="write", table=EVENTS, mode="upsert", key=("id",))
    async with open_lab(owner, tmp_path, EVENTS) as lab:
        await lab.fill(EVENTS, ("a", "old", 1, None))
    for text in (
        f"GRANT USAGE ON SCHEMA lab, ops TO {role}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA lab, ops TO {role}",
    ):
        await anyio.to_thread.run_sync(postgres_database.fetch, text)

    uri = postgres_database.server.uri(postgres_database.name, user=role)
    async with open_lab(uri, tmp_path, EVENTS, password=PASSWORD) as lab:
        batch = batch_of(EVENTS, EVENTS.column_names, [("a", "new", 2, None), ("b", "new", 3, None)])
        await lab.land(upsert, batch)
        assert await lab.rows(EVENTS, "id", "binding") == [("a", "new"), ("b", "new")]
        await lab.land(replace(upsert, mode="replace"), batch.slice(0, 1))
        assert await lab.rows(EVENTS, "id", "binding") == [("a", "new")]
