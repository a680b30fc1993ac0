"""Statements of a landing, and of the project in it, inside a transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from runner.ports import Statement
from runner.sql import POSTGRES
from runner.warehouses.postgres.faults import DRIVER_ERRORS, is_lost, locate, translate
from runner.warehouses.postgres.session import Session


class InTransaction:
    """Implements `runner.landings.changes.Sending` on a session. Blocks."""

    dialect = POSTGRES

    def __init__(self, session: Session) -> None:
        self._session = session

    def send(self, statement: Statement) -> int:
        """Send a statement of the engine's own; return how many rows it changed."""
        return self._session.execute(statement.text, statement.values).rowcount

    def change(self, statement: Statement, step_id: str) -> int:
        """Send a statement that changes tables; return how many rows."""
        with _locating(statement, step_id):
            return max(0, self._session.execute(statement.text, statement.values).rowcount)

    def table(self, statement: Statement, step_id: str) -> pa.Table:
        """Send a query and return its rows."""
        with _locating(statement, step_id):
            return self._session.table(statement)


@contextmanager
def _locating(statement: Statement, step_id: str) -> Iterator[None]:
    """Turn what the driver raises into an error that names the step."""
    try:
        yield
    except DRIVER_ERRORS as error:
        if is_lost(error):
            raise  # not about this statement
        translated = translate(error, statement.text)
        translated.__cause__ = error
        locate(translated, statement, step_id)
        raise translated from error
