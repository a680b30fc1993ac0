"""What a landing does besides its upserts: the project's own statements, and checks of tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from runner.clock import monotonic_ns
from runner.expectations import check_error, table_findings
from runner.ports import ActionLanding, LandingAction, LandingCheck, LandingStatement, Statement
from runner.sql import Dialect

if TYPE_CHECKING:
    import pyarrow as pa


class Asked(Protocol):
    """How an engine is asked inside the landing's transaction. Errors name the step and, of a statement of the project,
    file and line.
    """

    def change(self, statement: Statement, step_id: str) -> int:
        """Send a statement of the project and return how many rows it changed. Blocks."""

    def table(self, statement: Statement, step_id: str) -> pa.Table:
        """Send a query and return its rows. Blocks."""


def perform(action: LandingAction, dialect: Dialect, asked: Asked) -> ActionLanding:
    """Perform one action inside the caller's transaction. Blocks.

    Raises `CheckFailed`, and `WarehouseError` that names the step and, of a statement, file and line.
    """
    started = monotonic_ns()
    if isinstance(action, LandingStatement):
        rows = asked.change(action.statement, action.step_id)
        done = ActionLanding(step_id=action.step_id, rows=rows)
    else:
        done = _check(action, dialect, asked)
    return replace(done, duration_ms=(monotonic_ns() - started) / 1e6)


def perform_all(
    actions: Sequence[LandingAction], dialect: Dialect, asked: Asked
) -> tuple[ActionLanding, ...]:
    """Perform actions one after the other. Blocks. Raises as `perform` does."""
    return tuple(perform(action, dialect, asked) for action in actions)


def _check(action: LandingCheck, dialect: Dialect, asked: Asked) -> ActionLanding:
    findings = table_findings(action.check, dialect, lambda statement: asked.table(statement, action.step_id))
    if error := check_error(action.step_id, findings):
        raise error
    return ActionLanding(step_id=action.step_id, findings=findings)
