"""The servers as fixtures, for all tests. A server that cannot be had: a skip, or with `--require` a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from tests.servers.bigquery import BigQueryProcess, BigQueryProject, BigQueryServer
from tests.servers.debian_packages import NotToBeHadError
from tests.servers.places import new_folder
from tests.servers.postgres import PostgresDatabase, PostgresProcess, PostgresServer
from tests.servers.required import run_of, unavailable, without_time_limit
from tests.servers.shared import ServerNotStartedError, shared_server
from tests.servers.tcp_proxy import TcpProxy

NEWEST = 18

ProxyTo = Callable[[int], TcpProxy]


@pytest.fixture(scope="session")
def postgres_servers(request: pytest.FixtureRequest) -> Callable[[int], PostgresServer]:
    """`postgres_servers(15)`: the server of a version, one for all processes of the run, started when asked for."""

    @cache
    def found(version: int) -> PostgresServer | Exception:
        try:
            with without_time_limit():
                made = shared_server(run_of(request.config), f"postgres-{version}")
        except (NotToBeHadError, ServerNotStartedError) as error:
            return error
        return PostgresServer(made["version"], made["port"], Path(made["folder"]))

    def server(version: int) -> PostgresServer:
        result = found(version)
        if isinstance(result, Exception):
            unavailable(request.config, "postgres", result)
        return result

    return server


@pytest.fixture
def postgres_server(
    request: pytest.FixtureRequest, postgres_servers: Callable[[int], PostgresServer]
) -> PostgresServer:
    """PostgreSQL 18; `@pytest.mark.parametrize("postgres_server", [15, 18], indirect=True)` for several."""
    return postgres_servers(getattr(request, "param", NEWEST))


@pytest.fixture
def postgres_database(postgres_server: PostgresServer) -> Iterator[PostgresDatabase]:
    """An empty database of `postgres_server`."""
    with postgres_server.database() as database:
        yield database


@pytest.fixture
def new_postgres_database(
    postgres_servers: Callable[[int], PostgresServer],
) -> Iterator[Callable[[int], PostgresDatabase]]:
    """`new_postgres_database(15)`: a further empty database, of any version, dropped after the test."""
    with ExitStack() as made:
        yield lambda version: made.enter_context(postgres_servers(version).database())


@pytest.fixture
def private_postgres(request: pytest.FixtureRequest) -> Iterator[Callable[[int], PostgresProcess]]:
    """`private_postgres(18)`: a started server of this test alone, to be stopped, killed and restarted."""
    with ExitStack() as started:

        def start(version: int = NEWEST) -> PostgresProcess:
            try:
                with without_time_limit():
                    process = PostgresProcess(version, new_folder("pg"))
            except NotToBeHadError as error:
                unavailable(request.config, "postgres", error)
            started.callback(process.remove)
            process.start()
            return process

        yield start


@pytest.fixture(scope="session")
def bigquery_servers(request: pytest.FixtureRequest) -> Callable[[], BigQueryServer]:
    """`bigquery_servers()`: the emulator, one for all processes of the run, started when asked for."""

    @cache
    def found() -> BigQueryServer | Exception:
        try:
            with without_time_limit():
                made = shared_server(run_of(request.config), "bigquery")
        except (NotToBeHadError, ServerNotStartedError) as error:
            return error
        return BigQueryServer(made["rest"], made["grpc"], Path(made["folder"]))

    def server() -> BigQueryServer:
        result = found()
        if isinstance(result, Exception):
            unavailable(request.config, "bigquery", result)
        return result

    return server


@pytest.fixture
def bigquery_server(bigquery_servers: Callable[[], BigQueryServer]) -> BigQueryServer:
    """The emulator of the run. Each test is to use projects of its own."""
    return bigquery_servers()


@pytest.fixture
def bigquery_project(bigquery_server: BigQueryServer) -> Iterator[BigQueryProject]:
    """An empty project."""
    with bigquery_server.project() as project:
        yield project


@pytest.fixture
def new_bigquery_project(
    bigquery_servers: Callable[[], BigQueryServer],
) -> Iterator[Callable[[], BigQueryProject]]:
    """`new_bigquery_project()`: a further empty project, removed after the test."""
    with ExitStack() as made:
        yield lambda: made.enter_context(bigquery_servers().project())


@pytest.fixture
def private_bigquery(request: pytest.FixtureRequest) -> Iterator[Callable[[], BigQueryProcess]]:
    """`private_bigquery()`: a started emulator of this test alone, to be killed and restarted."""
    with ExitStack() as started:

        def start() -> BigQueryProcess:
            try:
                with without_time_limit():
                    process = BigQueryProcess(new_folder("bq"))
            except NotToBeHadError as error:
                unavailable(request.config, "bigquery", error)
            started.callback(process.remove)
            process.start()
            return process

        yield start


@pytest.fixture
def proxy_to() -> Iterator[Callable[[int], TcpProxy]]:
    """`proxy_to(server.port)`: a TCP proxy in front of a server on loopback, whose connections can be broken."""
    with ExitStack() as started:

        def proxied(port: int) -> TcpProxy:
            proxy = TcpProxy(("127.0.0.1", port))
            started.callback(proxy.close)
            return proxy

        yield proxied
