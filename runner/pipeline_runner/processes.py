"""The worker processes of one run."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runner.ports import FunctionProcesses
from runner.settings import Settings
from runner.specs import CallSpec, RunPlan


@asynccontextmanager
async def processes_of(plan: RunPlan, settings: Settings) -> AsyncIterator[FunctionProcesses | None]:
    """Hold the processes that the plan's `runs_in: process` steps share; None for a plan without such steps.

    They start at once, while this process opens the warehouse and other CPUs have nothing to do: started by the first
    batch, the run would wait for them. On a single CPU there is nothing to gain, and they start when they are needed.
    """
    steps = [step for job in plan.jobs for step in job.spec.steps]
    if not any(isinstance(step, CallSpec) and step.runs_in == "process" for step in steps):
        yield None
        return
    from runner.processes.pool import ProcessPool  # brings subprocess and socket along

    cpus = available_cpus()
    pool = ProcessPool(project=plan.project, package=settings.package, workers=settings.processes or cpus)
    try:
        if cpus > 1:
            pool.start()
        yield pool
    finally:
        await pool.aclose()


def available_cpus() -> int:
    """Return how many CPUs this process may use: containers and `taskset` allow fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
