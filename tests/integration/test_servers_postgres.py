"""The PostgreSQL servers of the tests do what the tests build on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import LiteralString

import psutil
import psycopg
import pytest

from tests.servers.postgres import PostgresDatabase, PostgresProcess, PostgresServer
from tests.servers.tcp_proxy import Break, Fault, TcpProxy

BOTH = pytest.mark.parametrize("postgres_server", [15, 18], indirect=True)


@BOTH
def test_each_version_answers_by_tcp_and_socket(postgres_database: PostgresDatabase) -> None:
    """The version is the one that was asked for; both addresses lead to the same database."""
    for uri in (postgres_database.uri, postgres_database.unix_uri):
        with psycopg.connect(uri) as connection:
            assert connection.info.server_version // 10_000 == postgres_database.server.version
            assert connection.info.dbname == postgres_database.name


@BOTH
def test_databases_are_apart(
    postgres_database: PostgresDatabase, new_postgres_database: Callable[[int], PostgresDatabase]
) -> None:
    """Tables and statements of one are not seen in another."""
    other = new_postgres_database(postgres_database.server.version)
    with psycopg.connect(other.uri) as connection:
        connection.execute("CREATE TABLE only_there (n int)")
    found = "SELECT count(*) FROM pg_tables WHERE tablename = 'only_there'"
    assert (postgres_database.fetch(found), other.fetch(found)) == ([(0,)], [(1,)])
    assert postgres_database.statements() == []
    assert other.statements() == ["BEGIN", "CREATE TABLE only_there (n int)", "COMMIT"]


@BOTH
def test_statements_are_told_as_they_were_sent(postgres_database: PostgresDatabase) -> None:
    """With newlines, tabs and the log's own separators, with and without parameters, and by whom."""
    odd = "SELECT 'a\nb\n\tc\x1e\x1fLOG:  statement: x'"
    with psycopg.connect(postgres_database.uri, autocommit=True, application_name="a client") as connection:
        connection.execute(odd)
        connection.execute("SELECT %s::int", [1])
        pid = connection.info.backend_pid
    postgres_database.fetch("SELECT 'of the test'")
    assert postgres_database.statements() == [odd, "SELECT $1::int"]
    assert {(one.pid, one.application) for one in postgres_database.sent()} == {(pid, "a client")}


def test_running_statements_are_told(postgres_database: PostgresDatabase) -> None:
    """Those of clients, while they run."""
    with psycopg.connect(postgres_database.uri, autocommit=True) as connection:
        client = threading.Thread(target=lambda: suppressed(connection, "SELECT pg_sleep(60)"))
        client.start()
        while not postgres_database.running():
            continue
        assert postgres_database.running() == ["SELECT pg_sleep(60)"]
        connection.cancel_safe()
        client.join()
        assert postgres_database.running() == []


def suppressed(connection: psycopg.Connection, statement: LiteralString) -> None:
    """Run a statement that will be cancelled."""
    with suppress(psycopg.errors.QueryCanceled):
        connection.execute(statement)


def test_roles_need_their_password(postgres_database: PostgresDatabase) -> None:
    """All but postgres: so a wrong password can be tried."""
    role = postgres_database.name
    postgres_database.fetch(f"CREATE ROLE {role} LOGIN PASSWORD 'right'")
    try:
        uri = postgres_database.server.uri(postgres_database.name, user=role)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(uri, password="wrong")
        psycopg.connect(uri, password="right").close()
    finally:
        postgres_database.fetch(f"DROP ROLE {role}")


@pytest.mark.parametrize("version", [15, 18])
def test_what_was_committed_outlives_kill_and_restart(
    version: int, private_postgres: Callable[[int], PostgresProcess]
) -> None:
    """A private server is killed and started again, on the same port."""
    process = private_postgres(version)
    database = process.server.create_database()
    database.fetch("CREATE TABLE kept AS SELECT 1 AS n")
    process.kill()
    with pytest.raises(psycopg.OperationalError):
        database.fetch("SELECT 1")
    process.start()
    assert database.fetch("SELECT n FROM kept") == [(1,)]
    process.restart()
    assert database.fetch("SELECT n FROM kept") == [(1,)]


def test_nothing_remains_of_a_removed_server(private_postgres: Callable[[int], PostgresProcess]) -> None:
    """No process, no file."""
    process = private_postgres(18)
    folder = process.server.folder
    process.remove()
    assert not folder.exists()
    assert not [
        p for p in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(p.info["cmdline"] or [])
    ]


def test_a_connection_is_cut_by_the_proxy(
    postgres_database: PostgresDatabase, proxy_to: Callable[[int], TcpProxy]
) -> None:
    """In the middle of an answer, the client finds out."""
    server = postgres_database.server
    proxy = proxy_to(server.port)
    through = PostgresServer(server.version, proxy.port, Path("/nonexistent"))
    with psycopg.connect(through.uri(postgres_database.name), autocommit=True) as connection:
        assert connection.execute("SELECT 1").fetchall() == [(1,)]
        proxy.fail(Fault(Break.RESET, "to_client", bytes=100_000))
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT repeat('x', 1000000)")
        assert proxy.broken == 1
