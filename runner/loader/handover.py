"""Rows that go from a read or extract straight into a write: columns that can only be bad rows are told before the run.

Behind a function nothing is known about the columns; there the rows themselves tell.
"""

from __future__ import annotations

from runner.errors import did_you_mean
from runner.loader.declarations import LoadedJob, Reading
from runner.loader.expectation_checks import origin_of
from runner.loader.nodes import Path
from runner.specs import ExtractSpec, ReadSpec, Step, TableSpec, WriteSpec


def check_handover(job: LoadedJob, reading: Reading) -> None:
    """Check the columns of every write whose rows come from no function's hands."""
    numbers = {step.step_id: number for number, step in reversed(list(enumerate(job.spec.steps)))}
    for number, step in enumerate(job.spec.steps):
        if isinstance(step, WriteSpec) and (origin := origin_of(job.spec.steps, step)) is not None:
            target = reading.table(step.ref)
            if target is not None:
                source = numbers[origin.step_id]
                _Handover(job, reading, number, step, source, target).check(origin)


class _Handover:
    def __init__(
        self, job: LoadedJob, reading: Reading, number: int, write: WriteSpec, source: int, target: TableSpec
    ) -> None:
        self._job, self._reading, self._number = job, reading, number
        self._write, self._source, self._target = write, source, target
        self._stamped = {*write.set_on_insert, *write.set_on_write}

    def check(self, step: Step) -> None:
        """Check what a read gives, or what an extract adds."""
        path: Path = ("steps", self._source)
        if isinstance(step, ExtractSpec):
            if step.identify:
                self._fits(step.identify.column, (*path, "identify", "column"))
            for name in step.defaults:
                self._fits(name, (*path, "defaults", name), at_key=True)
        elif isinstance(step, ReadSpec) and (table := self._reading.table(step.ref)):
            for position, name in enumerate(step.columns):
                if name in table.column_names:
                    self._fits(name, (*path, "columns", position))
            for name in () if step.columns else table.column_names:
                self._fits(name, path)
            added = self._added(step, table) if step.columns else {}
            for name, key in added.items():
                self._fits(name, (*path, "incremental", key))
            self._complete({*(step.columns or table.column_names), *added})

    def _added(self, step: ReadSpec, table: TableSpec) -> dict[str, str]:
        """Return the columns that an incremental read brings besides those it names, and the key that names them."""
        spec = step.incremental
        if spec is None:
            return {}
        named = dict.fromkeys(spec.source_key, "source_key")
        if spec.source_ts:
            named.setdefault(spec.source_ts, "source_ts")
        columns = set(table.column_names) - set(step.columns)
        return {name: key for name, key in named.items() if name in columns}

    def _fits(self, name: str, path: Path, *, at_key: bool = False) -> None:
        where = f"step {self._write.step_id!r} writes these rows to {self._target.ref}"
        if name not in self._target.column_names:
            hint = did_you_mean(name, self._target.column_names)
            message = f"{where}, which has no column {name!r}"
        elif name in self._stamped:
            message, hint = f"{where} and stamps {name!r} itself", ""
        else:
            return
        self._reading.report.add(self._job.document, path, message, hint=hint, at_key=at_key)

    def _complete(self, given: set[str]) -> None:
        for column in self._target.columns:
            if column.required and column.name not in given | self._stamped:
                message = f"{self._target.ref} requires {column.name!r}, which the rows do not have"
                self._reading.report.add(self._job.document, ("steps", self._number), message)
