"""Statements of a landing, and of the project in it, on a cursor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from runner.ports import Statement
from runner.sql import DUCKDB
from runner.warehouses.duckdb.calls import Cursor
from runner.warehouses.duckdb.faults import DRIVER_ERRORS, is_invalidated, locate, translate
from runner.warehouses.duckdb.measures import fetch, table


class InTransaction:
    """Implements `runner.landings.changes.Sending` on a cursor. Blocks."""

    dialect = DUCKDB

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def send(self, statement: Statement) -> int:
        """Send a statement of the engine's own; return how many rows it changed: DuckDB answers with their number."""
        return int(fetch(self._cursor, statement)[0][0])

    def change(self, statement: Statement, step_id: str) -> int:
        """Change tables. DuckDB answers INSERT, UPDATE, DELETE, MERGE and TRUNCATE with the number of rows."""
        with _locating(statement, step_id):
            answer = self._cursor.execute(statement.text, statement.values or None).fetchone()
        return int(answer[0]) if answer else 0

    def table(self, statement: Statement, step_id: str) -> pa.Table:
        """Send a query and return its rows."""
        with _locating(statement, step_id):
            return table(self._cursor, statement)


@contextmanager
def _locating(statement: Statement, step_id: str) -> Iterator[None]:
    """Turn what the driver raises into an error that names the step."""
    try:
        yield
    except DRIVER_ERRORS as error:
        if is_invalidated(error):
            raise  # the caller must know that the file has to be opened again
        translated = translate(error, statement.text)
        translated.__cause__ = error
        locate(translated, statement, step_id)
        raise translated from error
