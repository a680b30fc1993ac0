"""The worker processes of one run."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runner.ports import FunctionProcesses
from runner.processes.pool import ProcessPool
from runner.settings import Settings
from runner.specs import RunPlan


@asynccontextmanager
async def processes_of(plan: RunPlan, settings: Settings) -> AsyncIterator[FunctionProcesses]:
    """Hold the processes that the plan's `runs_in: process` steps share: started with the first batch, ended with the
    run.
    """
    pool = ProcessPool(
        project=plan.project, package=settings.package, workers=settings.processes or available_cpus()
    )
    try:
        yield pool
    finally:
        await pool.aclose()


def available_cpus() -> int:
    """Return how many CPUs this process may use: containers and `taskset` allow fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
