"""Runs one job: attempts, time limits, landing, outcome.

The executor knows steps only through their port: `build_step` makes them. It owns the job's staging area and
decides when it lands; failures become values (a `RunRecord` and a status), cancellation is recorded and re-raised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime

import anyio

from runner.cancellation import time_limit
from runner.clock import monotonic_ns, utc_now
from runner.errors import RunPipelineError, TimeLimitExceeded, UncleanCancel, is_retryable
from runner.events import (
    Event,
    JobFinished,
    JobRetrying,
    JobStarted,
    Landed,
    Noticed,
    StepFinished,
    StepProgress,
)
from runner.executor.chain import Chain, Node, parents
from runner.executor.job_run import JobRun
from runner.executor.keys import row_key
from runner.executor.landing import incremental_reads, landing_spec, notices, write_targets
from runner.executor.meter import Meter
from runner.ids import new_ulid
from runner.ports import LandingResult, LandingSpec, Release, Step, StepContext, StopFlag, Warehouse, Writer
from runner.records import ErrorInfo, Status
from runner.retry import Backoff
from runner.specs import PlannedJob, ReadSpec, RunPlan, StepSpec, TableSpec, WriteSpec

__all__ = ["BuildStep", "JobExecutor", "incremental_reads", "landing_spec", "write_targets"]

BuildStep = Callable[[StepSpec, StepContext], Step]
"""Makes the step of a declaration, for one attempt of one job."""


class JobExecutor:
    """Executes the jobs of one run, each through `run_job`. Safe to use for many jobs at once.

    `step_limit` and `job_limit` are seconds, for steps and jobs that state none of their own.
    """

    def __init__(
        self,
        *,
        plan: RunPlan,
        run_id: str,
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
        self._plan = plan
        self._run_id = run_id
        self._warehouse = warehouse
        self._build_step = build_step
        self._emit = emit
        self._backoff = backoff
        self._releases = releases or {}
        self._step_limit = step_limit
        self._job_limit = job_limit
        self._now = now
        self._clock = clock

    async def run_job(self, job: PlannedJob, queue_ms: float = 0) -> Status:
        """Run a job to its end and return how it went for those that need it: success, partial or failure.

        A partial job with errors counts as failure; with rows in quarantine, within their limit, it landed.
        Raises only cancellation and `UncleanCancel`, after the job has been recorded as cancelled.
        """
        run = JobRun(job, new_ulid(), self._run_id, queue_ms, self._now(), Meter(self._clock), self._clock())
        self._emit(
            JobStarted(run_id=self._run_id, job_run_id=run.job_run_id, job_id=job.job_id, group=job.group,
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
                step_id = run.failed_step
                allowed = next((spec.retries for spec in run.job.spec.steps if spec.step_id == step_id), 0)
                # What has landed must not be read and landed again under another batch number.
                if not is_retryable(error) or run.attempts > allowed or run.landed:
                    raise
                delay = self._backoff.delay(run.attempts)
                self._emit(
                    JobRetrying(run_id=self._run_id, job_run_id=run.job_run_id, job_id=run.job.job_id,
                                attempt=run.attempts, delay_ms=round(delay * 1000, 3),
                                error=ErrorInfo.of(error, step_id))
                )  # fmt: skip
                await anyio.sleep(delay)
                run.attempts += 1
                run.failed_step = ""

    async def _attempt(self, run: JobRun) -> None:
        spec = landing_spec(
            self._plan, run.job, self._releases.get(run.job.job_id),
            job_run_id=run.job_run_id, run_id=self._run_id, stamp=run.started_at,
        )  # fmt: skip
        async with AsyncExitStack() as stack:
            writer = await stack.enter_async_context(self._warehouse.writer(spec)) if spec.targets else None
            attempt = _Attempt(self, run, spec, writer)
            await attempt.execute()

    def _finish(self, run: JobRun, *, cancelled: bool) -> Status:
        record = run.record(run.status(cancelled=cancelled), self._now(), self._clock)
        for timing in record.step_timings:
            self._emit(
                StepFinished(
                    run_id=self._run_id, job_run_id=run.job_run_id, job_id=run.job.job_id, timing=timing
                )
            )
        self._emit(
            JobFinished(run_id=self._run_id, job_run_id=run.job_run_id, job_id=run.job.job_id, record=record)
        )
        if cancelled:
            return Status.CANCELLED
        return Status.FAILURE if run.errors else record.status


class _Attempt:
    """One pass over a job: its steps, their chain, and the landings."""

    def __init__(
        self, executor: JobExecutor, run: JobRun, landing: LandingSpec, writer: Writer | None
    ) -> None:
        self._executor = executor
        self._run = run
        self._landing = landing
        self._writer = writer
        self._stop = StopFlag()
        self._landings = 0
        self._chain = Chain(
            run.meter,
            default_limit=executor._step_limit,
            after_batch=self._after_batch,
            progress=self._progress,
        )
        self._commit_every = min(
            (
                spec.commit_every
                for spec in run.job.spec.steps
                if isinstance(spec, WriteSpec) and spec.commit_every
            ),
            default=None,
        )

    async def execute(self) -> None:
        """Pull every root to its end, then land."""
        nodes = self._build()
        self._run.nodes = list(nodes.values())
        try:
            for node in nodes.values():
                if self._parents[node.step_id] is None:
                    await self._chain.run(node)
            await self._land()
        except BaseException:
            if self._chain.failed is not None:
                self._run.failed_step = self._chain.failed.step_id
            raise
        finally:
            self._stop.stopped = True

    def _build(self) -> dict[str, Node]:
        steps = self._run.job.spec.steps
        self._parents = parents(steps)
        nodes = {
            spec.step_id: Node(spec, spec.op, self._executor._build_step(spec, self._context(spec)))
            for spec in steps
        }
        for step_id, parent in self._parents.items():
            if parent is not None:
                nodes[parent].children.append(nodes[step_id])
        return nodes

    def _context(self, spec: StepSpec) -> StepContext:
        executor, job, steps = self._executor, self._run.job, self._run.job.spec.steps
        targets = {target.step_id: number for number, target in enumerate(self._landing.targets)}
        tracked = {item.read.step_id: number for number, item in enumerate(self._landing.tracking)}
        consumers = [step for step in steps if self._parents[step.step_id] == spec.step_id]
        wanted = self._landing.targets[targets[consumers[0].step_id]].given if (
            len(consumers) == 1 and consumers[0].step_id in targets
        ) else None  # fmt: skip
        source = next((step for step in steps if step.step_id == self._parents[spec.step_id]), None)
        reads = incremental_reads(executor._plan, job, executor._releases.get(job.job_id))
        return StepContext(
            plan=executor._plan,
            job=job,
            job_run_id=self._run.job_run_id,
            as_of=executor._plan.as_of,
            warehouse=executor._warehouse,
            stop=self._stop,
            notice=lambda level, code, message, details: self._notice(
                level, code, spec.step_id, message, details
            ),
            writer=self._writer,
            target=targets.get(spec.step_id),
            incremental=reads.get(spec.step_id),
            tracked=tracked.get(spec.step_id),
            wanted=wanted,
            input_columns=executor._plan.tables[source.ref].columns if isinstance(source, ReadSpec) else (),
            key_of=row_key(spec, self._source_table(spec), reads.get(self._root(spec))),
        )

    def _root(self, spec: StepSpec) -> str:
        """Return the id of the step that brought in the rows which reach `spec`."""
        step_id = spec.step_id
        while (parent := self._parents[step_id]) is not None:
            step_id = parent
        return step_id

    def _source_table(self, spec: StepSpec) -> TableSpec | None:
        """Return the table that the rows of `spec` were read from; None when they were extracted."""
        root = next(step for step in self._run.job.spec.steps if step.step_id == self._root(spec))
        return self._executor._plan.tables[root.ref] if isinstance(root, ReadSpec) else None

    async def _after_batch(self, batches: int) -> None:
        if self._commit_every and batches % self._commit_every == 0:
            await self._land()

    async def _land(self) -> None:
        if self._writer is None:
            return
        writes = [node for node in self._run.nodes if node.op == "write"]
        last = writes[-1]
        try:
            with self._chain.charged_to(last):
                result = await self._writer.land(self._landings)
        except (anyio.get_cancelled_exc_class(), TimeLimitExceeded):
            await self._look_for_marker(self._writer, last)
            raise
        self._landings += 1
        if not (result.quarantined or any(t.staged or t.deleted for t in result.targets) or
                any(match.read or match.null_keys for match in result.matches)):  # fmt: skip
            return
        self._run.landed.append(result)
        for target in result.targets[:-1]:
            self._run.meter.move(last.step_id, target.step_id, int(target.duration_ms * 1e6))
        self._executor._emit(
            Landed(run_id=self._run.pipeline_run_id, job_run_id=self._run.job_run_id, job_id=self._run.job.job_id,
                   batch=result.batch, rows={str(target.table): target.written for target in result.targets})
        )  # fmt: skip
        for level, code, step_id, message, details in notices(result):
            self._notice(level, code, step_id, message, details)

    async def _look_for_marker(self, writer: Writer, last: Node) -> None:
        """Note a landing that was committed although it was stopped: a commit cannot be interrupted."""
        try:
            with anyio.CancelScope(shield=True):
                if not await writer.has_landed(self._landings):
                    return
        except RunPipelineError as error:
            text = f"it is not known whether the landing that was stopped has been committed: {error}"
            self._notice("warning", "landing.unknown", last.step_id, text, {"batch": self._landings})
            return
        self._run.landed.append(LandingResult(batch=self._landings, targets=()))
        text = "the landing was committed although it was stopped: its rows are written, but not counted here"
        self._notice("warning", "landing.committed", last.step_id, text, {"batch": self._landings})

    def _notice(
        self, level: str, code: str, step_id: str, message: str, details: Mapping[str, object]
    ) -> None:
        self._executor._emit(
            Noticed(run_id=self._run.pipeline_run_id, level=level, code=code, message=message, step_id=step_id,
                    job_run_id=self._run.job_run_id, job_id=self._run.job.job_id, details=details)
        )  # fmt: skip

    def _progress(self, node: Node) -> None:
        self._executor._emit(
            StepProgress(run_id=self._run.pipeline_run_id, job_run_id=self._run.job_run_id,
                         job_id=self._run.job.job_id, step_id=node.step_id, rows=node.step.counts.rows_out)
        )  # fmt: skip
