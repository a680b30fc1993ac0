"""The warehouse as one step of one attempt sees it: what it sends bears the step's names, what it uses is counted."""

from __future__ import annotations

from functools import partial

from runner.executor.job_run import JobRun
from runner.ports import QueryScope, Warehouse
from runner.specs import RunPlan


def scoped(warehouse: Warehouse, plan: RunPlan, run: JobRun, step_id: str) -> Warehouse:
    """Return the warehouse for the use of a step in the present attempt of a job run."""
    return warehouse.scoped(
        QueryScope(
            pipeline_id=plan.name,
            run_id=run.pipeline_run_id,
            job_id=run.job.job_id,
            job_run_id=run.job_run_id,
            step_id=step_id,
            attempt=run.attempts,
            report=partial(run.account.add, step_id),
        )
    )
