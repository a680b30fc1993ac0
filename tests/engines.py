"""The engines that a project can run on, as tests see them: their settings, and their tables read by hand.

What an engine holds is read by its own client, not by the warehouse that is tested.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import pytest

from runner.ddl import ENGINE_TABLES
from tests.projects import open_file, rows_of
from tests.servers.bigquery import BigQueryProject
from tests.servers.postgres import PostgresDatabase

Rows = list[dict[str, Any]]


class Engine(Protocol):
    """One engine, empty at first."""

    @property
    def warehouse(self) -> dict[str, Any]:
        """Its `[warehouse]`."""

    def tables(self) -> dict[str, Rows]:
        """Return all that it holds, by DATASET.TABLE."""

    def sent(self) -> list[str]:
        """Return what it was sent so far, oldest first, each on one line."""


@dataclass(frozen=True)
class DuckDBEngine:
    """A DuckDB file. No runner may have it open while it is read."""

    file: Path

    @property
    def warehouse(self) -> dict[str, Any]:
        """Its `[warehouse]`."""
        return {"kind": "duckdb", "path": str(self.file)}

    def sent(self) -> list[str]:
        """Return nothing: DuckDB keeps no log of its own."""
        return []

    def tables(self) -> dict[str, Rows]:
        """Return all that it holds, by DATASET.TABLE."""
        query = """SELECT schema_name || '.' || table_name AS name,
                          list(column_name) FILTER (data_type = 'JSON') AS jsons
                   FROM duckdb_columns() WHERE NOT internal GROUP BY ALL"""
        with open_file(self.file) as connection:
            return {
                table["name"]: [
                    row | {name: parsed(row[name]) for name in table["jsons"] or ()}
                    for row in rows_of(connection, f"SELECT * FROM {table['name']}")
                ]
                for table in rows_of(connection, query)
            }


@dataclass(frozen=True)
class PostgresEngine:
    """A database of PostgreSQL."""

    database: PostgresDatabase

    @property
    def warehouse(self) -> dict[str, Any]:
        """Its `[warehouse]`."""
        return {"kind": "postgres", "dsn": self.database.uri}

    def sent(self) -> list[str]:
        """Return the statements it was sent so far, oldest first, each on one line."""
        return [" ".join(text.split()) for text in self.database.statements()]

    def tables(self) -> dict[str, Rows]:
        """Return all that it holds, by DATASET.TABLE."""
        from psycopg import sql
        from psycopg.rows import dict_row

        query = b"""SELECT schemaname, tablename FROM pg_tables
                    WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"""
        select = sql.SQL("SELECT * FROM {}")
        with self.database.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
            names = [tuple(row.values()) for row in cursor.execute(query).fetchall()]
            return {
                ".".join(name): cursor.execute(select.format(sql.Identifier(*name))).fetchall()
                for name in names
            }


@dataclass(frozen=True)
class BigQueryEngine:
    """A project of BigQuery."""

    project: BigQueryProject

    @property
    def warehouse(self) -> dict[str, Any]:
        """Its `[warehouse]`."""
        server = self.project.server
        return {
            "kind": "bigquery", "project": self.project.name, "endpoint": server.rest,
            "storage_endpoint": server.grpc,
        }  # fmt: skip

    def sent(self) -> list[str]:
        """Return the requests that do something, oldest first: the SQL of queries, of others METHOD PATH BODY."""
        return [
            _said(request) for request in self.project.requests() if request["method"] not in ("GET", "RPC")
        ]

    def tables(self) -> dict[str, Rows]:
        """Return all that it holds, by DATASET.TABLE."""
        with self.project.client() as client:
            references = [
                table.reference
                for dataset in client.list_datasets()
                for table in client.list_tables(dataset.reference)
            ]
            return {
                f"{table.dataset_id}.{table.table_id}": [
                    dict(row.items()) for row in client.list_rows(client.get_table(table))
                ]
                for table in references
            }


@contextmanager
def new_engine(name: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Engine]:
    """Make an engine with nothing in it: `duckdb` (a file in `folder`), `postgres-15`, `postgres-18`, `bigquery`."""
    kind, _, version = name.partition("-")
    match kind:
        case "duckdb":
            yield DuckDBEngine(folder / "warehouse.duckdb")
        case "postgres":
            with request.getfixturevalue("postgres_servers")(int(version)).database() as database:
                yield PostgresEngine(database)
        case "bigquery":
            with request.getfixturevalue("bigquery_servers")().project() as project:
                yield BigQueryEngine(project)


def _said(request: Mapping[str, Any]) -> str:
    body = request["body"] or {}
    query = body.get("query") or body.get("configuration", {}).get("query", {}).get("query")
    said = query or f"{request['method']} {request['path'].partition('/projects/')[2]} {body}"
    return " ".join(said.split())


def content(tables: Mapping[str, Rows], *, without: Iterable[str] = ()) -> dict[str, list[str]]:
    """Return every table as sorted lines of text; columns in `without` are left out.

    The tables of the engine are left out, but for the keys that are remembered and the bad rows, whose content is JSON:
    engines that keep JSON parsed keep no order of its keys.
    """
    kept = {"ops.processed_keys", "ops.quarantine"}
    engine = {str(table.ref) for table in ENGINE_TABLES} - kept
    hidden = set(without)
    return {
        name: sorted(text({key: row[key] for key in row if key not in hidden}) for row in _read(name, rows))
        for name, rows in tables.items()
        if name not in engine
    }


def _read(name: str, rows: Rows) -> Rows:
    return [row | {"content": parsed(row["content"])} for row in rows] if name == "ops.quarantine" else rows


def digests(lines: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return a digest a table: the number of its rows, and a hash of them."""
    return {name: f"{len(rows)} rows {_hash(rows)}" for name, rows in lines.items()}


def _hash(rows: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def text(value: Any) -> str:
    """Return one text for equal values, whichever client brought them."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat()
        case Decimal():
            return f"{value:.9f}"
        case bytes():
            return value.hex()
        case dict():
            return "{" + ", ".join(f"{key}: {text(value[key])}" for key in sorted(value)) + "}"
        case list():
            return "[" + ", ".join(map(text, value)) + "]"
        case _:
            return repr(value)


def parsed(value: str | None) -> Any:
    """Return what JSON text says."""
    return None if value is None else json.loads(value)
