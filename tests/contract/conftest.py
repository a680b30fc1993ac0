"""The warehouses that pass one suite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path

import anyio.to_thread
import pytest
from pydantic import SecretStr

from runner.ports import Warehouse
from runner.retry import Backoff
from runner.settings import BigQuerySettings, DuckDBSettings, PostgresSettings
from runner.specs import TableSpec
from runner.testing import MemoryWarehouse
from runner.warehouses.bigquery import BigQueryWarehouse
from runner.warehouses.duckdb import DuckDBWarehouse
from runner.warehouses.postgres import PostgresWarehouse
from tests.servers.bigquery import BigQueryProject, BigQueryServer
from tests.warehouse_lab import TABLES, Lab

OpenLab = Callable[..., AbstractAsyncContextManager[Lab]]

Build = Callable[[pytest.FixtureRequest, float | None, int], AbstractAsyncContextManager[Warehouse]]
"""Makes a warehouse, not yet opened: the test, `query_timeout` in seconds, `stage_bytes`."""


def _memory(
    request: pytest.FixtureRequest, query_timeout: float | None, stage_bytes: int
) -> AbstractAsyncContextManager[Warehouse]:
    return MemoryWarehouse()


def _duckdb(
    request: pytest.FixtureRequest, query_timeout: float | None, stage_bytes: int
) -> AbstractAsyncContextManager[Warehouse]:
    path: Path = request.getfixturevalue("tmp_path") / "lab.duckdb"
    settings = DuckDBSettings(threads=2)
    return DuckDBWarehouse(path, settings, query_timeout=query_timeout, stage_bytes=stage_bytes)


def _bigquery(
    request: pytest.FixtureRequest, query_timeout: float | None, stage_bytes: int
) -> AbstractAsyncContextManager[Warehouse]:
    project = request.getfixturevalue("bigquery_project")
    settings = BigQuerySettings(
        kind="bigquery",
        project=project.name,
        endpoint=project.server.rest,
        storage_endpoint=project.server.grpc,
        storage_api_rows=1000,
    )
    return BigQueryWarehouse(
        settings,
        query_timeout=query_timeout,
        stage_bytes=stage_bytes,
        stage_folder=request.getfixturevalue("tmp_path"),
        backoff=Backoff(0.01, 0.1),
    )


def _postgres(version: int) -> Build:
    def build(
        request: pytest.FixtureRequest, query_timeout: float | None, stage_bytes: int
    ) -> AbstractAsyncContextManager[Warehouse]:
        database = request.getfixturevalue("new_postgres_database")(version)
        return PostgresWarehouse(
            PostgresSettings(kind="postgres", dsn=SecretStr(database.uri)),
            stage_folder=request.getfixturevalue("tmp_path"),
            query_timeout=query_timeout,
            stage_bytes=stage_bytes,
        )

    return build


class BigQueryTables:
    """Projects with empty tables, to be copied: making them takes the emulator a second for each test."""

    def __init__(self, new_project: Callable[[], BigQueryProject]) -> None:
        self._new_project = new_project
        self._made: dict[tuple[TableSpec, ...], BigQueryProject] = {}
        self._latest = ""

    async def prepare(self, lab: Lab, project: BigQueryProject, tables: tuple[TableSpec, ...]) -> None:
        """Have tables in the project of a test, which may open it twice."""
        has_some, self._latest = self._latest == project.name, project.name
        if has_some:
            await lab.prepare(*tables)
            return
        if tables in self._made:
            await anyio.to_thread.run_sync(project.copy, self._made[tables])
            return
        await lab.prepare(*tables)
        kept = self._made[tables] = self._new_project()
        await anyio.to_thread.run_sync(kept.copy, project)


@pytest.fixture(scope="session")
def bigquery_tables(bigquery_servers: Callable[[], BigQueryServer]) -> Iterator[BigQueryTables]:
    """What `open_lab` copies, for all tests of a process."""
    with ExitStack() as made:
        yield BigQueryTables(lambda: made.enter_context(bigquery_servers().project()))


WAREHOUSES: dict[str, Build] = {
    "duckdb": _duckdb,
    "memory": _memory,
    "postgres-15": _postgres(15),
    "postgres-18": _postgres(18),
    "bigquery": _bigquery,
}


@pytest.fixture(params=list(WAREHOUSES))
def open_lab(request: pytest.FixtureRequest) -> OpenLab:
    """Return a function that opens a lab with the suite's tables; `stage_bytes`, `query_timeout` as given."""
    build = WAREHOUSES[request.param]

    @asynccontextmanager
    async def opened(
        *tables: TableSpec, stage_bytes: int = 64_000_000, query_timeout: float | None = None
    ) -> AsyncIterator[Lab]:
        async with build(request, query_timeout, stage_bytes) as warehouse:
            lab = Lab(warehouse, request.param)
            if request.param == "bigquery":
                project = request.getfixturevalue("bigquery_project")
                await request.getfixturevalue("bigquery_tables").prepare(lab, project, tables or TABLES)
            else:
                await lab.prepare(*(tables or TABLES))
            yield lab

    return opened
