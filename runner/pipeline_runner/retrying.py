"""What a run still owes, and the plan that does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from runner.errors import HeldByAnother, UsageError, did_you_mean
from runner.records import PipelineRun, Status
from runner.redaction import MASK
from runner.specs import RunPlan


def owed_jobs(run: PipelineRun) -> tuple[str, ...]:
    """Return the jobs of a run that failed, crashed, were cancelled or skipped, in the order of its plan.

    Raises `HeldByAnother` while it is still running, and `UsageError` for a run that cannot be retried.
    """
    if run.status is Status.RUNNING:
        raise HeldByAnother(f"what run {run.pipeline_run_id} owes", "that run itself, which has not ended")
    owed = run.owed
    if owed and run.rescore:
        raise UsageError(
            f"run {run.pipeline_run_id} was a rescore of {run.pipeline_id}: an ordinary run would not make up for it",
            hint="give the rescore again",
        )
    if run.status is Status.CRASHED and not run.jobs:
        raise UsageError(
            f"run {run.pipeline_run_id} ended before it recorded what it was to do",
            hint=f"run-pipeline {run.pipeline_id} does all of it",
        )
    return owed


def retried_params(run: PipelineRun, given: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters of a run, and over them those given now. Raises `UsageError` for one that was masked in the
    record.
    """
    params = {**run.params, **given}
    masked = [name for name, value in run.params.items() if MASK in value and name not in given]
    if masked:
        raise UsageError(
            f"run {run.pipeline_run_id} was given {', '.join(masked)}, which is not recorded: it holds a secret",
            hint="give it again: " + " ".join(f"--set {name}=…" for name in masked),
        )
    return params


def retry_plan(plan: RunPlan, run: PipelineRun) -> RunPlan:
    """Return the part of a plan that a run owes. Raises `UsageError` when a job of it is no longer in the plan."""
    owed, there = owed_jobs(run), [job.job_id for job in plan.jobs]
    missing = [job_id for job_id in owed if job_id not in there]
    if missing:
        raise UsageError(
            f"run {run.pipeline_run_id} owes {', '.join(map(repr, missing))}, which {plan.name!r} no longer has",
            hint=did_you_mean(missing[0], there) or f"run-pipeline {plan.name} does what there is now",
        )
    return replace(plan.restricted_to(owed), retry_of=run.pipeline_run_id)
