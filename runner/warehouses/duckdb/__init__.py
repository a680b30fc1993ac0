"""DuckDB: the embedded default."""

from runner.warehouses.duckdb.warehouse import DuckDBWarehouse

__all__ = ["DuckDBWarehouse"]
