"""What `doctor` asks of both sides of an incremental read."""

from __future__ import annotations

from runner.incremental import key_profile
from runner.ports import KeyProfile, ReadQuery
from runner.sql import DUCKDB
from runner.warehouses.duckdb.calls import Cursor
from runner.warehouses.duckdb.measures import fetch
from runner.warehouses.duckdb.shapes import inspect


def profile(cursor: Cursor, query: ReadQuery) -> KeyProfile:
    """Measure both sides of an incremental query. Blocks. Raises `ConfigurationError` for a query that is none."""
    target = query.incremental.target.ref if query.incremental else query.source.ref
    shapes = inspect(cursor, [query.source.ref, target])
    return key_profile(query, DUCKDB, lambda statement: fetch(cursor, statement), shapes)
