"""BigQuery's GoogleSQL."""

from __future__ import annotations

from types import MappingProxyType

from runner.sql.dialect import Dialect

BIGQUERY = Dialect(
    name="bigquery",
    # As INFORMATION_SCHEMA.COLUMNS writes them.
    types=MappingProxyType(
        {
            "string": "STRING",
            "int64": "INT64",
            "float64": "FLOAT64",
            "numeric": "NUMERIC",
            "bool": "BOOL",
            "timestamp": "TIMESTAMP",
            "date": "DATE",
            "json": "JSON",
            "bytes": "BYTES",
        }
    ),
    placeholder="@{name}",
    cast=frozenset(),
    texts=MappingProxyType(
        {
            "string": "{}",
            "json": "TO_JSON_STRING({})",
            "int64": "CAST({} AS STRING)",
            "float64": "CAST({} AS STRING)",
            "numeric": "FORMAT('%.9f', {})",
            "bool": "CAST({} AS STRING)",
            "timestamp": "FORMAT_TIMESTAMP('%E4Y-%m-%dT%H:%M:%E6SZ', {}, 'UTC')",
            "date": "CAST({} AS STRING)",
            "bytes": "UPPER(TO_HEX({}))",
        }
    ),
    part=r"""'"' || REPLACE(REPLACE({}, '\\', '\\\\'), '"', '\\"') || '"'""",
    is_nan="IS_NAN({})",
    # docs, "Window function calls": "An expression can't contain floating point types". -0.0 + 0 is 0.0.
    partitions=MappingProxyType({"float64": "CAST({} + 0 AS STRING)"}),
    quotes="`",
    nulls_last=" NULLS LAST",
    set_type="SET DATA TYPE {}",
    sets_required=False,
    # docs, "Specifying a schema", "Column names".
    kept_columns="(_TABLE_|_FILE_|_PARTITION|_ROW_TIMESTAMP|__ROOT__|_COLIDENTIFIER|_CHANGE_).*",
    kept_datasets="information_schema",
)
