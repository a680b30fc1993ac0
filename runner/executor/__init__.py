"""Runs one job: attempts, time limits, landing, outcome.

The executor knows steps only through their port: `build_step` makes them. It owns the job's staging area and
decides when it lands; failures become values (a `RunRecord` and a status), cancellation is recorded and re-raised.

    attempt     one pass: steps, landings, events         contexts    what each step may use
    chain       a batch through the steps                 landing     declarations to landing, results to notices
    meter       exclusive time                            job_run     the account, and the record made of it
    keys        which key a bad row came from             scopes      the warehouse as each step sees it
    account     what the warehouse reports of its queries
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime

import anyio

from runner.cancellation import time_limit
from runner.clock import monotonic_ns, utc_now
from runner.errors import RunPipelineError, UncleanCancel, is_retryable
from runner.events import Event, JobFinished, JobRetrying, JobStarted, StepFinished
from runner.executor.attempt import Attempt, BuildStep, Surroundings
from runner.executor.job_run import JobRun
from runner.executor.landing import incremental_reads, landing_spec, write_targets
from runner.executor.meter import Meter
from runner.executor.scopes import scoped
from runner.ids import new_ulid
from runner.ports import LandingSpec, Release, Warehouse, Writer
from runner.records import ErrorInfo, Status
from runner.retry import Backoff
from runner.specs import PlannedJob, RunPlan
from runner.statement_log import sent_for_job

__all__ = ["BuildStep", "JobExecutor", "incremental_reads", "landing_spec", "write_targets"]


class JobExecutor:
    """Executes the jobs of one run, each through `run_job`. Safe to use for many jobs at once.

    `step_limit` and `job_limit` are seconds, for steps and jobs that state none of their own.
    """

    def __init__(
        self,
        *,
        plan: RunPlan,
        run_id: str,
        trace_id: str = "",
        warehouse: Warehouse,
        build_step: BuildStep,
        emit: Callable[[Event], None],
        backoff: Backoff,
        releases: Mapping[str, Release] | None = None,
        step_limit: float | None = None,
        job_limit: float | None = None,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._surroundings = Surroundings(
            plan=plan,
            run_id=run_id,
            trace_id=trace_id,
            warehouse=warehouse,
            build_step=build_step,
            emit=emit,
            releases=releases or {},
            step_limit=step_limit,
        )
        self._emit = emit
        self._backoff = backoff
        self._job_limit = job_limit
        self._now = now
        self._clock = clock

    async def run_job(self, job: PlannedJob, queue_ms: float = 0) -> Status:
        """Run a job to its end and return how it went for those that need it: success, partial or failure.

        A partial job with errors counts as failure; with rows in quarantine, within their limit, it landed.
        Raises only cancellation and `UncleanCancel`, after the job has been recorded as cancelled.
        """
        run_id = self._surroundings.run_id
        sent_for_job(job.job_id)
        run = JobRun(job, new_ulid(), run_id, queue_ms, self._now(), Meter(self._clock), self._clock())
        self._emit(
            JobStarted(run_id=run_id, job_run_id=run.job_run_id, job_id=job.job_id, group=job.group,
                       queue_ms=round(queue_ms, 3))
        )  # fmt: skip
        try:
            with time_limit(f"job {job.job_id}", job.spec.timeout or self._job_limit):
                await self._attempts(run)
        except anyio.get_cancelled_exc_class():
            self._finish(run, cancelled=True)
            raise
        except UncleanCancel as error:
            run.fail(error, run.failed_step)
            self._finish(run, cancelled=True)
            raise
        except Exception as error:  # noqa: BLE001 - a failed job is a value: it stands in the record
            run.fail(error, run.failed_step)
        return self._finish(run, cancelled=False)

    async def _attempts(self, run: JobRun) -> None:
        """Try until it works, the error is final, or the failing step's retries are used up."""
        while True:
            try:
                return await self._attempt(run)
            except Exception as error:
                # What has landed must not be read and landed again under another batch number.
                if not is_retryable(error) or run.attempts > run.retries_allowed or run.landed:
                    raise
                delay = self._delay(run.attempts, error)
                self._emit(
                    JobRetrying(run_id=run.pipeline_run_id, job_run_id=run.job_run_id, job_id=run.job.job_id,
                                attempt=run.attempts, delay_ms=round(delay * 1000, 3),
                                error=ErrorInfo.of(error, run.failed_step))
                )  # fmt: skip
                await anyio.sleep(delay)
                run.begin_again()

    def _delay(self, attempts: int, error: Exception) -> float:
        """Return the seconds to wait before the next attempt: never less than who refused asked for."""
        asked = error.retry_after if isinstance(error, RunPipelineError) else None
        return self._backoff.delay(attempts) if asked is None else asked + self._backoff.delay(1)

    async def _attempt(self, run: JobRun) -> None:
        shared = self._surroundings
        spec = landing_spec(
            shared.plan, run.job, shared.releases.get(run.job.job_id),
            job_run_id=run.job_run_id, run_id=shared.run_id, stamp=run.started_at,
        )  # fmt: skip
        async with AsyncExitStack() as stack:
            writer = await self._writer(run, spec, stack)
            await Attempt(shared, run, spec, writer).execute()
            ended = self._clock()
        if parts := spec.parts:
            run.meter.charge(parts[0].step_id, self._clock() - ended)

    async def _writer(self, run: JobRun, spec: LandingSpec, stack: AsyncExitStack) -> Writer | None:
        """Open the staging area of an attempt; None for a job that lands nothing. It is opened and closed for the step
        that lands first, whose time that takes, and whose failure it is when it cannot be opened.
        """
        if not spec.parts:
            return None
        step_id = spec.parts[0].step_id
        warehouse = scoped(self._surroundings.warehouse, self._surroundings.plan, run, step_id)
        began = self._clock()
        try:
            return await stack.enter_async_context(warehouse.writer(spec))
        except RunPipelineError:
            run.failed_step = step_id
            raise
        finally:
            run.meter.charge(step_id, self._clock() - began)

    def _finish(self, run: JobRun, *, cancelled: bool) -> Status:
        """Record the job and return its outcome for those that need it."""
        status = run.status(cancelled=cancelled)
        record = run.record(status, self._now(), self._clock, self._surroundings.trace_id)
        run_id, job_run_id, job_id = run.pipeline_run_id, run.job_run_id, run.job.job_id
        for timing in record.step_timings:
            self._emit(StepFinished(run_id=run_id, job_run_id=job_run_id, job_id=job_id, timing=timing))
        self._emit(JobFinished(run_id=run_id, job_run_id=job_run_id, job_id=job_id, record=record))
        if cancelled:
            return Status.CANCELLED
        return Status.FAILURE if run.errors else record.status
