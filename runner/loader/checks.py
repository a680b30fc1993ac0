"""Everything that a job refers to: its own steps, tables, functions, and settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from runner.errors import did_you_mean
from runner.loader.declarations import LoadedJob, Reading
from runner.loader.expectation_checks import check_verdicts
from runner.loader.flow import check_flow
from runner.loader.function_checks import FunctionChecks
from runner.loader.handover import check_handover
from runner.loader.nodes import Path
from runner.loader.pieces import check_pieces
from runner.loader.replacing import check_replacing
from runner.loader.table_checks import TableChecks
from runner.specs import SqlSpec, SqlText

if TYPE_CHECKING:
    from runner.settings import Settings


class JobChecks:
    """Checks jobs of one reading. What is wrong goes into its report."""

    def __init__(self, reading: Reading, settings: Settings) -> None:
        self._reading = reading
        self._settings = settings
        self._functions = FunctionChecks(settings, reading.report)

    def check(self, job: LoadedJob) -> LoadedJob:
        """Return the job with its filters typed by their columns."""
        check_flow(job.document, job.spec, self._reading.report)
        self._known(job, ("queue",), "queue", job.spec.queue, self._settings.queues)
        tables = TableChecks(job, self._reading, self._settings.warehouse.kind)
        steps = []
        for number, step in enumerate(job.spec.steps):
            connection = getattr(step, "connection", None)
            if connection is not None:
                path = ("steps", number, "connection")
                self._known(job, path, "connection", connection, self._settings.connections)
            self._functions.step(job, number, step)
            steps.append(tables.step(number, step))
        check_handover(job, self._reading)
        check_pieces(job, self._reading)
        check_replacing(job, self._reading.report)
        check_verdicts(job, self._reading)
        return replace(
            job,
            spec=job.spec.model_copy(update={"steps": tuple(steps)}),
            statements=self._statements(job),
        )

    def _statements(self, job: LoadedJob) -> dict[str, SqlText]:
        if not any(isinstance(step, SqlSpec) for step in job.spec.steps):
            return {}
        from runner.loader.sql_checks import check_statements  # brings sqlglot along

        return check_statements(job, self._reading, self._settings)

    def _known(self, job: LoadedJob, path: Path, what: str, name: str, known: Iterable[str]) -> None:
        """Report a name that the settings do not have."""
        names = sorted(known)
        if name in names:
            return
        hint = did_you_mean(name, names)
        section = f"[{what}s] of configs/runner.toml"
        expected = "" if hint else f"one of {', '.join(names)}" if names else f"an entry in {section}"
        self._reading.report.add(
            job.document, path, f"there is no {what} {name!r} in the settings", expected=expected, hint=hint
        )
