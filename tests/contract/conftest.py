"""The warehouses that pass one suite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from runner.settings import DuckDBSettings
from runner.specs import TableSpec
from runner.testing import MemoryWarehouse
from runner.warehouses.duckdb import DuckDBWarehouse
from tests.warehouse_lab import TABLES, Lab

OpenLab = Callable[..., AbstractAsyncContextManager[Lab]]


@pytest.fixture(params=["duckdb", "memory"])
def open_lab(request: pytest.FixtureRequest, tmp_path: Path) -> OpenLab:
    """Return a function that opens a lab with the suite's tables; `stage_bytes`, `query_timeout` as given."""

    @asynccontextmanager
    async def opened(
        *tables: TableSpec, stage_bytes: int = 64_000_000, query_timeout: float | None = None
    ) -> AsyncIterator[Lab]:
        if request.param == "memory":
            async with MemoryWarehouse() as memory:
                lab = Lab(memory, "memory")
                await lab.prepare(*(tables or TABLES))
                yield lab
            return
        settings = DuckDBSettings(threads=2)
        async with DuckDBWarehouse(
            tmp_path / "lab.duckdb", settings, query_timeout=query_timeout, stage_bytes=stage_bytes
        ) as duckdb:
            lab = Lab(duckdb, "duckdb")
            await lab.prepare(*(tables or TABLES))
            yield lab

    return opened
