"""A lab on a PostgreSQL of the tests, and what can be seen of it from outside."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from runner.settings import PostgresSettings
from runner.specs import TableSpec
from runner.warehouses.postgres import PostgresWarehouse
from tests.servers.postgres import PostgresDatabase
from tests.warehouse_lab import TABLES, Lab, table

ENDLESS = table("endless", x="int64").model_copy(update={"managed": False})
"""A view whose reading would take hours; made by `make_endless`."""


def warehouse_at(
    uri: str,
    folder: Path,
    *,
    query_timeout: float | None = None,
    stage_bytes: int = 64_000_000,
    **settings: Any,
) -> PostgresWarehouse:
    """Return a warehouse, not yet opened. `folder`: for what is staged."""
    return PostgresWarehouse(
        PostgresSettings(kind="postgres", dsn=SecretStr(uri), **settings),
        stage_folder=folder,
        query_timeout=query_timeout,
        stage_bytes=stage_bytes,
    )


@asynccontextmanager
async def open_lab(uri: str, folder: Path, *tables: TableSpec, **options: Any) -> AsyncIterator[Lab]:
    """Open a lab with tables, those of the contract suite unless others are given."""
    async with warehouse_at(uri, folder, **options) as warehouse:
        lab = Lab(warehouse, "postgres")
        await lab.prepare(*(tables or TABLES))
        yield lab


def make_endless(database: PostgresDatabase) -> None:
    """Make the view `lab.endless`, with the schema."""
    database.fetch("CREATE SCHEMA IF NOT EXISTS lab")
    database.fetch(
        "CREATE VIEW lab.endless AS SELECT CAST(a.x AS bigint) AS x FROM generate_series(1, 100000000) AS a(x), "
        "generate_series(1, 1000000) AS b(y) WHERE a.x % 7 = 8"
    )


def eventually(holds: Callable[[], bool], seconds: float) -> float:
    """Wait until something holds; return after how many seconds it did. Blocks. Fails if it does not in time."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < seconds, f"not within {seconds} s"
        time.sleep(0.01)
    return time.monotonic() - started
