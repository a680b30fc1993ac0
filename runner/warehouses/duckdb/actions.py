"""What a landing does besides its upserts: the project's own statements, and checks of tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pyarrow as pa

from runner.clock import monotonic_ns
from runner.expectations import check_error, table_findings
from runner.ports import (
    ActionLanding,
    LandingAction,
    LandingCheck,
    LandingStatement,
    Statement,
)
from runner.sql import DUCKDB
from runner.warehouses.duckdb.calls import Cursor
from runner.warehouses.duckdb.faults import DRIVER_ERRORS, is_invalidated, locate, translate
from runner.warehouses.duckdb.measures import table


def perform(cursor: Cursor, action: LandingAction) -> ActionLanding:
    """Perform one action inside the caller's transaction. Blocks.

    Raises `CheckFailed`, and `WarehouseError` that names the step and, of a statement, file and line.
    """
    started = monotonic_ns()
    done = _change(cursor, action) if isinstance(action, LandingStatement) else _check(cursor, action)
    return replace(done, duration_ms=(monotonic_ns() - started) / 1e6)


def perform_all(cursor: Cursor, actions: Sequence[LandingAction]) -> tuple[ActionLanding, ...]:
    """Perform actions one after the other. Blocks. Raises as `perform` does."""
    return tuple(perform(cursor, action) for action in actions)


def _change(cursor: Cursor, action: LandingStatement) -> ActionLanding:
    """Change tables. DuckDB answers INSERT, UPDATE, DELETE, MERGE and TRUNCATE with the number of rows."""
    statement = action.statement
    with _locating(statement, action):
        answer = cursor.execute(statement.text, statement.values or None).fetchone()
    return ActionLanding(step_id=action.step_id, rows=int(answer[0]) if answer else 0)


def _check(cursor: Cursor, action: LandingCheck) -> ActionLanding:
    findings = table_findings(action.check, DUCKDB, lambda statement: _asked(cursor, statement, action))
    if error := check_error(action.step_id, findings):
        raise error
    return ActionLanding(step_id=action.step_id, findings=findings)


def _asked(cursor: Cursor, statement: Statement, action: LandingAction) -> pa.Table:
    """Send a query and return its rows."""
    with _locating(statement, action):
        return table(cursor, statement)


@contextmanager
def _locating(statement: Statement, action: LandingAction) -> Iterator[None]:
    """Turn what the driver raises into an error that names the step."""
    try:
        yield
    except DRIVER_ERRORS as error:
        if is_invalidated(error):
            raise  # the caller must know that the file has to be opened again
        translated = translate(error, statement.text)
        translated.__cause__ = error
        locate(translated, statement, action.step_id)
        raise translated from error
