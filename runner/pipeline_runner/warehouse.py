"""Which warehouse the settings name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager

from runner.errors import ConfigurationError, Problem
from runner.extras import install_command
from runner.ports import Warehouse
from runner.retry import Backoff
from runner.settings import BigQuerySettings, DuckDBSettings, PostgresSettings, Settings


def build_warehouse(settings: Settings) -> AbstractAsyncContextManager[Warehouse]:
    """Return the warehouse of these settings, not yet opened. Blocks: it imports the client of its kind.

    Raises `ConfigurationError` where that client is not installed.
    """
    match settings.warehouse:
        case DuckDBSettings() as chosen:
            return _duckdb(settings, chosen)
        case PostgresSettings() as chosen:
            return _postgres(settings, chosen)
        case BigQuerySettings() as chosen:
            return _bigquery(settings, chosen)


def _duckdb(settings: Settings, chosen: DuckDBSettings) -> AbstractAsyncContextManager[Warehouse]:
    from runner.warehouses.duckdb import DuckDBWarehouse

    return DuckDBWarehouse(
        settings.warehouse_path,
        chosen,
        query_timeout=settings.timeouts.query,
        stage_bytes=settings.stage_bytes,
    )


def _postgres(settings: Settings, chosen: PostgresSettings) -> AbstractAsyncContextManager[Warehouse]:
    with _client("postgres", "psycopg[binary]", "adbc-driver-postgresql"):
        from runner.warehouses.postgres import PostgresWarehouse

    return PostgresWarehouse(
        chosen,
        query_timeout=settings.timeouts.query,
        stage_bytes=settings.stage_bytes,
        stage_folder=settings.staging_dir,
    )


def _bigquery(settings: Settings, chosen: BigQuerySettings) -> AbstractAsyncContextManager[Warehouse]:
    with _client("bigquery", "google-cloud-bigquery"):
        from runner.warehouses.bigquery import BigQueryWarehouse

    return BigQueryWarehouse(
        chosen,
        query_timeout=settings.timeouts.query,
        stage_bytes=settings.stage_bytes,
        stage_folder=settings.staging_dir,
        backoff=Backoff(settings.retries.base_delay, settings.retries.max_delay),
    )


@contextmanager
def _client(kind: str, *distributions: str) -> Iterator[None]:
    """Tell a client that is not installed as what it is: a missing extra, and the command that adds it. What the engine
    itself does not find is a bug.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "runner":
            raise
        problem = Problem(
            path="warehouse.kind",
            message=f"the client of {kind} is not installed: {error}",
            hint=install_command(*distributions),
        )
        raise ConfigurationError([problem]) from error
