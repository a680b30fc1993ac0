"""What each step of an attempt may use: its place in the job's landing, and what is known of its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from runner.executor.chain import parents
from runner.executor.keys import row_key
from runner.executor.landing import incremental_reads, statement_of
from runner.ports import LandingSpec, Release, StepContext, StopFlag, Warehouse, Writer, WriteTarget
from runner.specs import CheckSpec, ColumnSpec, PlannedJob, ReadSpec, RunPlan, SqlSpec, StepSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextMaker:
    """Makes the contexts of one attempt of one job. `warehouse` gives the one for the use of a step, by its id."""

    plan: RunPlan
    job: PlannedJob
    release: Release | None
    landing: LandingSpec
    warehouse: Callable[[str], Warehouse]
    writer: Writer | None
    stop: StopFlag
    notice: Callable[[str, str, str, str, Mapping[str, Any]], None]

    def context(self, spec: StepSpec) -> StepContext:
        """Return the context of one of the job's steps."""
        reads = incremental_reads(self.plan, self.job, self.release)
        consumer = self._consumer(spec)
        tracked = {item.read.step_id: number for number, item in enumerate(self.landing.tracking)}
        return StepContext(
            plan=self.plan,
            warehouse=self.warehouse(spec.step_id),
            stop=self.stop,
            writer=self.writer,
            target=self._targets().get(spec.step_id),
            incremental=reads.get(spec.step_id),
            tracked=tracked.get(spec.step_id),
            wanted=beyond.given if (beyond := self._write_beyond(spec)) else None,
            consumer=consumer,
            input_columns=self._input_columns(spec),
            key_of=row_key(spec, reads.get(self._root(spec))),
            statement=statement_of(self.plan, self.job, spec) if isinstance(spec, SqlSpec) else None,
            keys=self._keys(spec),
            lands=any(action.step_id == spec.step_id for action in self.landing.actions),
            notice=lambda level, code, message, details: self.notice(
                level, code, spec.step_id, message, details
            ),
        )

    def _targets(self) -> dict[str, int]:
        return {target.step_id: number for number, target in enumerate(self.landing.targets)}

    def _parents(self) -> dict[str, str | None]:
        return parents(self.job.spec.steps)

    def _root(self, spec: StepSpec) -> str:
        """Return the id of the step that brought in the rows which reach `spec`."""
        above = self._parents()
        step_id = spec.step_id
        while (parent := above[step_id]) is not None:
            step_id = parent
        return step_id

    def _consumer(self, spec: StepSpec) -> WriteTarget | None:
        """Return the only consumer of a step's rows, if that is a write."""
        consumers = [step_id for step_id, parent in self._parents().items() if parent == spec.step_id]
        numbers = self._targets()
        if len(consumers) != 1 or consumers[0] not in numbers:
            return None
        return self.landing.targets[numbers[consumers[0]]]

    def _write_beyond(self, spec: StepSpec) -> WriteTarget | None:
        """Return the write that takes a step's rows, and nobody else. Checks on the way hand them on as they are."""
        step_id, targets = spec.step_id, self._targets()
        while True:
            takers = [taker for taker, parent in self._parents().items() if parent == step_id]
            if len(takers) != 1:
                return None
            (step_id,) = takers
            if step_id in targets:
                return self.landing.targets[targets[step_id]]
            if not isinstance(self._spec(step_id), CheckSpec):
                return None

    def _keys(self, spec: StepSpec) -> tuple[str, ...]:
        """Return the key of the table that the rows come straight from, else of the one that they go to."""
        if isinstance(origin := self._origin(spec), ReadSpec) and (key := self.plan.tables[origin.ref].key):
            return key
        target = self._write_beyond(spec)
        return target.key if target else ()

    def _origin(self, spec: StepSpec) -> StepSpec | None:
        """Return the step that gave the rows which reach a step the shape they have: checks leave them as they are."""
        parent = self._parents()[spec.step_id]
        origin = self._spec(parent) if parent else None
        return self._origin(origin) if isinstance(origin, CheckSpec) else origin

    def _spec(self, step_id: str) -> StepSpec:
        return next(step for step in self.job.spec.steps if step.step_id == step_id)

    def _input_columns(self, spec: StepSpec) -> tuple[ColumnSpec, ...]:
        """Return the declared columns of the rows that come straight from a table."""
        origin = self._origin(spec)
        return self.plan.tables[origin.ref].columns if isinstance(origin, ReadSpec) else ()
