"""DuckDB's SQL."""

from __future__ import annotations

from types import MappingProxyType

from runner.sql.dialect import Dialect

DUCKDB = Dialect(
    name="duckdb",
    types=MappingProxyType(
        {
            "string": "VARCHAR",
            "int64": "BIGINT",
            "float64": "DOUBLE",
            "numeric": "DECIMAL(38,9)",
            "bool": "BOOLEAN",
            "timestamp": "TIMESTAMP WITH TIME ZONE",
            "date": "DATE",
            "json": "JSON",
            "bytes": "BLOB",
        }
    ),
    placeholder="${name}",
    cast=frozenset({"numeric"}),
    anti_join=True,
    row_id="rowid",
    texts=MappingProxyType(
        {
            "string": "{}",
            "json": "CAST({} AS VARCHAR)",
            "int64": "CAST({} AS VARCHAR)",
            "float64": "CAST({} AS VARCHAR)",
            "numeric": "CAST({} AS VARCHAR)",
            "bool": "CAST({} AS VARCHAR)",
            "timestamp": "strftime({}, '%Y-%m-%dT%H:%M:%S.%fZ')",
            "date": "CAST({} AS VARCHAR)",
            "bytes": "hex({})",
        }
    ),
    part=r"""'"' || replace(replace({}, '\', '\\'), '"', '\"') || '"'""",
    is_nan="isnan({})",
    kept_columns="rowid",
    kept_datasets="temp|system|information_schema|pg_catalog",
)
