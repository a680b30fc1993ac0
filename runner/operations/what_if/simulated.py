"""A run in simulated time: the scheduler of real runs, jobs that only last, a clock that jumps to what happens next."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import anyio

from runner.graph import JobGraph
from runner.records import PipelineRun, RunRecord, Status
from runner.scheduler import Scheduler
from runner.specs.plan import PlannedJob, RunPlan

START = datetime(2000, 1, 1, tzinfo=UTC)
"""When simulated runs begin."""


class _JumpingSelector(selectors.DefaultSelector):
    """Tells at once that the time to wait has passed, and how long it was in all."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Look, and wait only where nothing but a thread could wake the loop."""
        if timeout is None:
            return super().select(None)
        found = super().select(0)
        if not found:
            self.now += max(0.0, timeout)
        return found


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while all of its tasks wait: then it jumps to the next of them."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return simulated seconds since the loop was made."""
        return self._jumping.now


def simulate(plan: RunPlan, queues: Mapping[str, int], milliseconds: Mapping[str, float]) -> PipelineRun:
    """Return the run of a plan whose jobs last so many milliseconds each (0 where it is not said) and succeed.

    `queues` are slots by name. The engine itself takes no time. It may not be called where an event loop runs.
    """
    records: dict[str, RunRecord] = {}

    async def main() -> float:
        loop = asyncio.get_running_loop()

        async def run_job(job: PlannedJob, queue_ms: float) -> Status:
            begin = loop.time()
            length = milliseconds.get(job.job_id, 0.0)
            await anyio.sleep(length / 1000)
            records[job.job_id] = _record(plan, job, begin, queue_ms, length)
            return Status.SUCCESS

        await Scheduler(
            JobGraph(plan.jobs, plan.barriers),
            run_job=run_job,
            on_skipped=_never,
            limits=plan.limits,
            queues=queues,
            max_workers=plan.max_workers,
            monotonic_ns=lambda: round(loop.time() * 1e9),
        ).run()
        return loop.time()

    seconds = anyio.run(main, backend="asyncio", backend_options={"loop_factory": SimulatedLoop})
    return PipelineRun(
        pipeline_run_id="",
        pipeline_id=plan.name,
        status=Status.SUCCESS,
        started_at=START,
        completed_at=START + timedelta(seconds=seconds),
        duration_ms=seconds * 1000,
        max_workers=plan.max_workers,
        jobs=tuple(records[job.job_id] for job in plan.jobs),
        barriers={barrier.barrier_id: barrier.members for barrier in plan.barriers},
    )


def _record(plan: RunPlan, job: PlannedJob, begin: float, queue_ms: float, length: float) -> RunRecord:
    started = START + timedelta(seconds=begin)
    return RunRecord(
        run_id="",
        job_id=job.job_id,
        group=job.group,
        queue=job.spec.queue,
        waits_for=(*job.needs, *job.after),
        needs=job.needs,
        status=Status.SUCCESS,
        started_at=started,
        completed_at=started + timedelta(milliseconds=length),
        duration_ms=length,
        queue_ms=queue_ms,
    )


def _never(job: PlannedJob, reason: str) -> None:
    raise AssertionError(f"{job.job_id} was skipped where nothing fails: {reason}")
