"""Which warehouse the settings name."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from runner.ports import Warehouse
from runner.settings import Settings


def build_warehouse(settings: Settings) -> AbstractAsyncContextManager[Warehouse]:
    """Return the warehouse of these settings, not yet opened."""
    from runner.warehouses.duckdb import DuckDBWarehouse

    return DuckDBWarehouse(
        settings.warehouse_path,
        settings.warehouse,
        query_timeout=settings.timeouts.query,
        stage_bytes=settings.stage_bytes,
    )
