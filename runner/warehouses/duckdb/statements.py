"""The log of statements: a cursor that tells what it is sent, used only while somebody listens."""

from __future__ import annotations

from typing import Any, cast

import duckdb

from runner.clock import monotonic_ns
from runner.statement_log import Sending, is_anyone_listening, log_statement
from runner.warehouses.duckdb.faults import ENGINE

Cursor = duckdb.DuckDBPyConnection


def told(cursor: Cursor) -> Cursor:
    """Return the cursor, or one like it that tells its statements if anyone listens."""
    return cast("Cursor", _Told(cursor)) if is_anyone_listening(ENGINE) else cursor


def untold(cursor: Cursor) -> Cursor:
    """Return the cursor that `told` was given."""
    return cast("Cursor", getattr(cursor, "cursor_told", cursor))


class _Told:
    """Behaves as the cursor, for all that the adapter does with one."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor_told = cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cursor_told, name)

    def execute(self, text: str, values: Any = None) -> Cursor:
        """Execute and log, also what fails."""
        with Sending(ENGINE, text):
            return self.cursor_told.execute(text, values)

    def sql(self, text: str, *, params: Any = None) -> _ToldRelation:
        """Return a relation, which is not executed yet; log what makes none."""
        started = monotonic_ns()
        try:
            return _ToldRelation(self.cursor_told.sql(text, params=params), text)
        except Exception as error:
            log_statement(ENGINE, text, duration_ms=(monotonic_ns() - started) / 1e6, error=error)
            raise


class _ToldRelation:
    def __init__(self, relation: duckdb.DuckDBPyRelation, text: str) -> None:
        self._relation = relation
        self._text = text

    def __getattr__(self, name: str) -> Any:
        return getattr(self._relation, name)

    def to_arrow_reader(self, batch_rows: int) -> Any:
        """Open the stream, which its reader logs at its end; log what cannot be opened."""
        started = monotonic_ns()
        try:
            return self._relation.to_arrow_reader(batch_rows)
        except Exception as error:
            log_statement(ENGINE, self._text, duration_ms=(monotonic_ns() - started) / 1e6, error=error)
            raise

    def to_arrow_table(self) -> Any:
        """Execute and log."""
        with Sending(ENGINE, self._text) as sending:
            table = self._relation.to_arrow_table()
            sending.rows = table.num_rows
        return table
