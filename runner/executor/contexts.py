"""What each step of an attempt may use: its place in the job's landing, and what is known of its rows."""

from __future__ import annotations

from dataclasses import dataclass

from runner.executor.chain import parents
from runner.executor.keys import row_key
from runner.executor.landing import incremental_reads
from runner.ports import LandingSpec, Release, StepContext, StopFlag, Warehouse, Writer
from runner.specs import ColumnSpec, PlannedJob, ReadSpec, RunPlan, StepSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextMaker:
    """Makes the contexts of one attempt of one job."""

    plan: RunPlan
    job: PlannedJob
    release: Release | None
    landing: LandingSpec
    warehouse: Warehouse
    writer: Writer | None
    stop: StopFlag

    def context(self, spec: StepSpec) -> StepContext:
        """Return the context of one of the job's steps."""
        reads = incremental_reads(self.plan, self.job, self.release)
        tracked = {item.read.step_id: number for number, item in enumerate(self.landing.tracking)}
        return StepContext(
            plan=self.plan,
            warehouse=self.warehouse,
            stop=self.stop,
            writer=self.writer,
            target=self._targets().get(spec.step_id),
            incremental=reads.get(spec.step_id),
            tracked=tracked.get(spec.step_id),
            wanted=self._wanted(spec),
            input_columns=self._input_columns(spec),
            key_of=row_key(spec, reads.get(self._root(spec))),
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

    def _wanted(self, spec: StepSpec) -> tuple[str, ...] | None:
        """Return the columns that the only consumer, a write, takes."""
        consumers = [step_id for step_id, parent in self._parents().items() if parent == spec.step_id]
        numbers = self._targets()
        if len(consumers) != 1 or consumers[0] not in numbers:
            return None
        return self.landing.targets[numbers[consumers[0]]].given

    def _input_columns(self, spec: StepSpec) -> tuple[ColumnSpec, ...]:
        """Return the declared columns of the rows that come straight from a table."""
        parent = self._parents()[spec.step_id]
        step = next((step for step in self.job.spec.steps if step.step_id == parent), None)
        return self.plan.tables[step.ref].columns if isinstance(step, ReadSpec) else ()
