"""What a landing does besides its upserts: the project's own statements, and checks of tables."""

from __future__ import annotations

from dataclasses import replace

from runner.clock import monotonic_ns
from runner.errors import CheckFailed, WarehouseError
from runner.ports import (
    ActionLanding,
    CheckQuery,
    Finding,
    LandingAction,
    LandingCheck,
    LandingStatement,
    Row,
    Statement,
    finding_text,
)
from runner.warehouses.duckdb.calls import Cursor
from runner.warehouses.duckdb.faults import DRIVER_ERRORS, is_invalidated, line_of, translate


def perform(cursor: Cursor, action: LandingAction) -> ActionLanding:
    """Perform one action inside the caller's transaction. Blocks.

    Raises `CheckFailed`, and `WarehouseError` that names the step and, of a statement, file and line.
    """
    started = monotonic_ns()
    done = _change(cursor, action) if isinstance(action, LandingStatement) else _check(cursor, action)
    return replace(done, duration_ms=(monotonic_ns() - started) / 1e6)


def _change(cursor: Cursor, action: LandingStatement) -> ActionLanding:
    rows = _rows(cursor, action.statement, action)
    (count,) = rows[0].values() if rows else (0,)
    return ActionLanding(step_id=action.step_id, rows=int(count))


def _check(cursor: Cursor, action: LandingCheck) -> ActionLanding:
    findings = tuple(
        found for query in action.queries if (found := _finding(cursor, query, action)) is not None
    )
    if findings and action.severity == "error":
        raise CheckFailed(action.step_id, str(action.table), [finding_text(found) for found in findings])
    return ActionLanding(step_id=action.step_id, findings=findings)


def _finding(cursor: Cursor, query: CheckQuery, action: LandingCheck) -> Finding | None:
    (row,) = _rows(cursor, query.count, action)
    (count,) = row.values()
    if not count:
        return None
    samples = _rows(cursor, query.samples, action)
    return Finding(expectation=query.expectation, count=int(count), samples=tuple(samples))


def _rows(cursor: Cursor, statement: Statement, action: LandingAction) -> list[Row]:
    """Execute and return the rows. They come through Arrow, which needs no library for time zones."""
    try:
        cursor.execute(statement.text, statement.values or None)
        table = cursor.to_arrow_table()
    except DRIVER_ERRORS as error:
        if is_invalidated(error):
            raise  # the caller must know that the file has to be opened again
        raise _located(error, statement, action) from error
    return [] if table is None else table.to_pylist()


def _located(error: BaseException, statement: Statement, action: LandingAction) -> Exception:
    translated = translate(error, statement.text)
    if isinstance(translated, WarehouseError):
        translated.step_id = action.step_id
        if isinstance(action, LandingStatement) and action.file:
            translated.hint = ""
            translated.place = f"{action.file}:{action.line + max(0, line_of(error) - 1)}"
    return translated
