"""Which warehouse the settings name."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from runner.errors import ConfigurationError, Problem
from runner.ports import Warehouse
from runner.settings import DuckDBSettings, Settings


def build_warehouse(settings: Settings) -> AbstractAsyncContextManager[Warehouse]:
    """Return the warehouse of these settings, not yet opened. Raises `ConfigurationError` for a kind that this
    installation has not.
    """
    if not isinstance(settings.warehouse, DuckDBSettings):
        message = f"there is no warehouse of kind {settings.warehouse.kind}"
        raise ConfigurationError([Problem(path="warehouse.kind", message=message, expected="duckdb")])
    from runner.warehouses.duckdb import DuckDBWarehouse

    return DuckDBWarehouse(
        settings.warehouse_path,
        settings.warehouse,
        query_timeout=settings.timeouts.query,
        stage_bytes=settings.stage_bytes,
    )
