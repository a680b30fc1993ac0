"""PostgreSQL's SQL. A placeholder is written as psql does; the adapter makes `$1` of it."""

from __future__ import annotations

from types import MappingProxyType

from runner.sql.dialect import Dialect

POSTGRES = Dialect(
    name="postgres",
    # As format_type() of the catalogue writes them.
    types=MappingProxyType(
        {
            "string": "text",
            "int64": "bigint",
            "float64": "double precision",
            "numeric": "numeric(38,9)",
            "bool": "boolean",
            "timestamp": "timestamp with time zone",
            "date": "date",
            "json": "jsonb",
            "bytes": "bytea",
        }
    ),
    placeholder=":{name}",
    cast=frozenset({"string", "numeric"}),
    texts=MappingProxyType(
        {
            "string": "{}",
            "json": "CAST({} AS text)",
            "int64": "CAST({} AS text)",
            "float64": "CAST({} AS text)",
            "numeric": "CAST({} AS text)",
            "bool": "CAST({} AS text)",
            "timestamp": "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
            "date": "to_char({}, 'YYYY-MM-DD')",
            "bytes": "upper(encode({}, 'hex'))",
        }
    ),
    part=r"""'"' || replace(replace({}, '\', '\\'), '"', '\"') || '"'""",
    # NAMEDATALEN is 64; PostgreSQL cuts what is longer without an error.
    name_length=63,
    is_nan="({} = 'NaN')",
    key_index=True,
    unfit_texts=MappingProxyType(
        {
            "string": (r"\x00", "the character NUL"),
            "json": (r"(^|[^\\])(\\\\)*\\u0000", "the character NUL"),
        }
    ),
    # Chapters "System Columns" and "Schemas".
    kept_columns="ctid|xmin|xmax|cmin|cmax|tableoid",
    kept_datasets="pg_.*|information_schema",
)
