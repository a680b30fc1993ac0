"""Whether a run needs the warehouse at all. One that does not goes on while the warehouse is away."""

from __future__ import annotations

from typing import cast

from runner.ports import QueryScope, Warehouse
from runner.specs import CallSpec, CheckSpec, ExtractSpec, RunPlan, StepSpec


def needs_warehouse(plan: RunPlan) -> bool:
    """Tell whether any step of the plan asks something of the warehouse or brings something there."""
    return not all(_keeps_to_itself(step) for job in plan.jobs for step in job.spec.steps)


def _keeps_to_itself(step: StepSpec) -> bool:
    match step:
        case ExtractSpec():
            return step.cursor is None and step.incremental is None
        case CallSpec():
            return step.on_bad_row == "fail"
        case CheckSpec():
            return step.table is None
        case _:
            return False


class _Unopened:
    """Stands in the warehouse's place where nobody asks for anything but a part of it for a step."""

    def scoped(self, _scope: QueryScope) -> _Unopened:
        return self


UNOPENED = cast("Warehouse", _Unopened())
