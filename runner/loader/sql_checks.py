"""`sql` steps: their texts, found and read for the engine of the settings, against what the steps say of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from runner.errors import did_you_mean
from runner.loader.declarations import LoadedJob, Reading
from runner.loader.nodes import Path
from runner.loader.sql_texts import LoadedText, load_text
from runner.specs import ENGINE_DATASET, SqlSpec, SqlText, TableRef, WriteSpec
from runner.sqltext import AS_OF, SqlMistake, placeholders
from runner.sqltext.analysis import Analysis, TableName, analyse

if TYPE_CHECKING:
    from runner.settings import Settings


def check_statements(job: LoadedJob, reading: Reading, settings: Settings) -> dict[str, SqlText]:
    """Check the `sql` steps of a job and return their texts by step id. Declared tables that they name are noted as
    used, so that a run makes them when they are missing.
    """
    found: dict[str, SqlText] = {}
    for number, step in enumerate(job.spec.steps):
        if not isinstance(step, SqlSpec):
            continue
        loaded = load_text(job, number, step, reading, settings.warehouse.kind)
        if loaded is not None:
            _StatementCheck(job, reading, number, step, loaded).check()
            found[step.step_id] = loaded.sql
    _check_pieces(job, reading)
    return found


def _check_pieces(job: LoadedJob, reading: Reading) -> None:
    """A statement runs once a job; a job that lands in pieces would run it once a piece."""
    changing = [step.step_id for step in job.spec.steps if isinstance(step, SqlSpec) and step.writes]
    for number, step in enumerate(job.spec.steps):
        if isinstance(step, WriteSpec) and step.commit_every and changing:
            message = (
                f"the job lands in pieces, and the statement of {changing[0]!r} would run with each of them"
            )
            path = ("steps", number, "commit_every")
            reading.report.add(
                job.document, path, message, expected="no commit_every, or the statement in a job of its own"
            )


class _StatementCheck:
    """Checks one statement."""

    def __init__(
        self, job: LoadedJob, reading: Reading, number: int, step: SqlSpec, loaded: LoadedText
    ) -> None:
        self._job, self._reading, self._step, self._loaded = job, reading, step, loaded
        self._path: Path = ("steps", number)

    def check(self) -> None:
        """Report whatever is wrong with it."""
        try:
            analysis = analyse(self._loaded.sql.text, self._loaded.sql.engine)
        except SqlMistake as mistake:
            self._mistake(mistake)
            return
        self._params(analysis)
        self._writes(analysis)
        for name in analysis.tables:
            self._reading.table(self._declared(name))

    def _mistake(self, mistake: SqlMistake) -> None:
        problem = self._loaded.problem(mistake)
        self._reading.report.problems.append(problem)

    # --- parameters ---

    def _params(self, analysis: Analysis) -> None:
        known = (*self._step.params, AS_OF)
        offsets = dict(reversed(placeholders(self._loaded.sql.text, self._loaded.sql.engine)))
        for name in sorted(analysis.placeholders - set(known)):
            hint = did_you_mean(name, known)
            expected = "" if hint else f"one of {', '.join(known)}"
            message = f"params has no value for :{name}"
            self._mistake(SqlMistake(message, offsets[name], expected=expected, hint=hint))
        for name in self._step.params:
            if name not in analysis.placeholders:
                unknown = sorted(analysis.placeholders - set(known))
                hint = did_you_mean(name, unknown)
                message = f"the statement has no :{name}"
                self._add((*self._path, "params", name), message, hint=hint, at_key=True)

    # --- tables ---

    def _writes(self, analysis: Analysis) -> None:
        changed = {self._declared(name): name for name in analysis.changed}
        for ref, name in changed.items():
            if ref not in self._step.writes:
                message = f"the statement changes {name}, which writes does not name"
                path = (*self._path, "writes") if self._step.writes else self._path
                self._add(path, message, expected=f"writes: [{', '.join(map(str, changed))}]")
        for position, ref in enumerate(self._step.writes):
            path = (*self._path, "writes", position)
            if not changed:
                message = "the statement is a query, which changes nothing"
                self._add(path, message, expected="no writes, or INSERT, UPDATE, DELETE, MERGE or TRUNCATE")
            elif ref.dataset == ENGINE_DATASET:
                message = f"dataset {ENGINE_DATASET!r} belongs to the engine: it can be read, not written"
                self._add(path, message)
            elif ref not in changed:
                names = ", ".join(map(str, changed.values()))
                self._add(path, f"the statement does not change {ref}, it changes {names}")
            elif self._reading.table(ref) is None and ref.dataset not in self._reading.broken:
                self._unknown(path, ref)

    def _unknown(self, path: Path, ref: TableRef) -> None:
        names = [
            str(table) for dataset in self._reading.index.tables for table in self._reading.dataset(dataset)
        ]
        hint = did_you_mean(str(ref), names)
        expected = "" if hint else f"a declaration in configs/tables/{ref.dataset}.yaml"
        self._add(path, f"no table {str(ref)!r} is declared", expected=expected, hint=hint)

    def _declared(self, name: TableName) -> TableRef:
        """Return the table that a statement names, spelled as its declaration does: engines fold case."""
        ref = TableRef(name.dataset, name.table)
        for dataset in (*self._reading.index.tables, ENGINE_DATASET):
            if dataset.casefold() == name.dataset.casefold():
                folded: Mapping[str, TableRef] = {
                    each.table.casefold(): each for each in self._reading.dataset(dataset)
                }
                return folded.get(name.table.casefold(), ref)
        return ref

    def _add(
        self, path: Path, message: str, *, expected: str = "", hint: str = "", at_key: bool = False
    ) -> None:
        self._reading.report.add(
            self._job.document, path, message, expected=expected, hint=hint, at_key=at_key
        )
