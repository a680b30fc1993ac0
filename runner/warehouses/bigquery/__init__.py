"""Google BigQuery, and servers that speak its API."""

from runner.warehouses.bigquery.warehouse import BigQueryWarehouse

__all__ = ["BigQueryWarehouse"]
