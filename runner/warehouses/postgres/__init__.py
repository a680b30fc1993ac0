"""PostgreSQL, 15 or newer: where the application's database is the warehouse."""

from runner.warehouses.postgres.warehouse import PostgresWarehouse

__all__ = ["PostgresWarehouse"]
