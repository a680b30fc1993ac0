"""One run, from its folder to its last record."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from runner.analysis.performance import pipeline_finished
from runner.cancellation import time_limit
from runner.clock import monotonic_ns, utc_now
from runner.errors import RunPipelineError, UncleanCancel
from runner.event_log import add_to_outbox
from runner.events import Event, JobFinished, Noticed, RunStarted
from runner.executor import JobExecutor
from runner.graph import JobGraph
from runner.ids import Trace
from runner.memory import peak_memory_bytes
from runner.pipeline_runner.build import step_builder
from runner.pipeline_runner.figures import Figures
from runner.pipeline_runner.places import outbox_dir
from runner.pipeline_runner.slower import slower_steps
from runner.pipeline_runner.tables import sentence
from runner.ports import FunctionProcesses, FunctionThreads, Release, TableChange, Warehouse
from runner.recorder import Recorder
from runner.records import ErrorInfo, PipelineRun, RunRecord, Status
from runner.redaction import Redactor, secret_values
from runner.retry import Backoff
from runner.scheduler import Scheduler
from runner.settings import Settings
from runner.specs import PlannedJob, RunPlan

if TYPE_CHECKING:
    from runner.ports import RunWriter
    from runner.run_store import FileRunStore


class Execution:
    """Executes one plan once. `observers` are told of every event, on the event loop."""

    def __init__(
        self,
        *,
        run_id: str,
        settings: Settings,
        plan: RunPlan,
        warehouse: Warehouse,
        changes: Sequence[TableChange],
        threads: FunctionThreads,
        processes: FunctionProcesses | None = None,
        fail_fast: bool = False,
        notify: bool = True,
        releases: Mapping[str, Release] | None = None,
        setup_ms: float,
        trace: Trace,
        version: str,
    ) -> None:
        self.run_id = run_id
        self._settings = settings
        self._plan = plan
        self._warehouse = warehouse
        self._changes = changes
        self._threads = threads
        self._processes = processes
        self._fail_fast = fail_fast
        self._notify = notify
        self._releases = releases or {}
        self._setup_ms = setup_ms
        self._trace = trace
        self._started_at = utc_now()
        self._started_ns = monotonic_ns()
        self._version = version

    async def run(
        self, store: FileRunStore, observers: Sequence[Callable[[Event], None]] = ()
    ) -> PipelineRun:
        """Run to the end and return the record; failures are data.

        Raises cancellation and `UncleanCancel` after the run has been recorded as cancelled. To be run in a task that
        only scopes cancel, with the locks of the plan's jobs held.
        """
        writer = await anyio.to_thread.run_sync(partial(self._create, store))
        scope = anyio.CancelScope()
        async with Recorder(
            writer,
            run_id=self.run_id,
            observers=observers,
            redact=self._redactor(),
            on_failure=scope.cancel,
        ) as recorder:
            recorder.emit(self._started())
            return await self._recorded(recorder, store, scope)

    def _redactor(self) -> Redactor | None:
        """What keeps the secrets of the settings out of events and records; None where there are none."""
        redact = Redactor()
        redact.learn(secret_values(self._settings))
        return redact if redact else None

    async def _recorded(
        self, recorder: Recorder, store: FileRunStore, scope: anyio.CancelScope
    ) -> PipelineRun:
        """Do the work and record how it ended. `scope` is cancelled by the recorder when the disk refuses it."""
        errors: list[ErrorInfo] = []
        try:
            with scope, time_limit(f"run {self._plan.name}", self._settings.timeouts.run):
                await self._work(recorder)
        except (anyio.get_cancelled_exc_class(), UncleanCancel):
            await self._finish(recorder, store, status=Status.CANCELLED)
            raise
        except RunPipelineError as error:
            errors.append(ErrorInfo.of(error))
        except Exception:
            await self._finish(recorder, store, status=Status.FAILURE)
            raise
        return await self._finish(recorder, store, errors=errors)

    async def _finish(
        self,
        recorder: Recorder,
        store: FileRunStore,
        *,
        status: Status | None = None,
        errors: Sequence[ErrorInfo] = (),
    ) -> PipelineRun:
        return await recorder.finish(
            duration_ms=self._elapsed_ms(),
            status=status,
            errors=errors,
            peak_memory_bytes=self._peak_memory_bytes(),
            closing=partial(self._closing, store),
        )

    async def _closing(self, store: FileRunStore, run: PipelineRun) -> Sequence[Event]:
        """What is told of the run as a whole, before its last event: what got slower, and its figures."""
        told: list[Event] = []
        if run.status is not Status.CANCELLED:
            told += await anyio.to_thread.run_sync(slower_steps, run, store)
        return [*told, pipeline_finished(run)]

    def _peak_memory_bytes(self) -> int | None:
        """The peak of this process, or of its largest worker if that held more."""
        here = peak_memory_bytes()
        return here and max(here, self._processes.peak_memory_bytes if self._processes else 0)

    async def _work(self, recorder: Recorder) -> None:
        await self._apply_changes(recorder)
        figures = Figures(self._plan, self.run_id, recorder.emit)
        timeouts, retries = self._settings.timeouts, self._settings.retries
        executor = JobExecutor(
            plan=self._plan,
            run_id=self.run_id,
            trace_id=self._trace.trace_id,
            warehouse=self._warehouse,
            build_step=step_builder(self._settings, self._threads, self._processes),
            emit=figures.emit,
            backoff=Backoff(retries.base_delay, retries.max_delay),
            releases=self._releases,
            step_limit=timeouts.step,
            job_limit=timeouts.job,
        )
        scheduler = Scheduler(
            JobGraph(self._plan.jobs, self._plan.barriers),
            run_job=executor.run_job,
            on_skipped=partial(self._skipped, figures),
            limits=self._plan.limits,
            queues=self._settings.queues,
            max_workers=self._plan.max_workers,
            fail_fast=self._fail_fast,
        )
        await scheduler.run()

    async def _apply_changes(self, recorder: Recorder) -> None:
        if not self._changes:
            return
        await self._warehouse.apply(self._changes)
        for change in self._changes:
            code = "table.created" if change.kind == "create" else "table.column_added"
            recorder.emit(
                Noticed(run_id=self.run_id, level="info", code=code, message=sentence(change),
                        details={"table": str(change.table.ref), "column": change.column})
            )  # fmt: skip

    def _skipped(self, figures: Figures, job: PlannedJob, reason: str) -> None:
        record = RunRecord(
            run_id="",
            job_id=job.job_id,
            pipeline_run_id=self.run_id,
            group=job.group,
            queue=job.spec.queue,
            waits_for=job.waits_for,
            needs=job.needs,
            trace_id=self._trace.trace_id,
            status=Status.SKIPPED,
            completed_at=utc_now(),
            errors=(ErrorInfo(category="skipped", message=reason),),
        )
        figures.emit(JobFinished(run_id=self.run_id, job_run_id="", job_id=job.job_id, record=record))

    def _create(self, store: FileRunStore) -> RunWriter:
        writer = store.create(self.run_id, self._plan.name, self._started_at)
        try:
            add_to_outbox(outbox_dir(self._settings), self.run_id)
        except BaseException:
            writer.close()
            raise
        return writer

    def _started(self) -> RunStarted:
        jobs = self._plan.jobs
        return RunStarted(
            run_id=self.run_id,
            timestamp=self._started_at,
            name=self._plan.name,
            jobs=tuple((job.job_id, job.group) for job in jobs),
            queues={job.job_id: job.spec.queue for job in jobs},
            waits_for={job.job_id: job.waits_for for job in jobs if job.waits_for},
            needs={job.job_id: job.needs for job in jobs if job.needs},
            barriers={barrier.barrier_id: barrier.members for barrier in self._plan.barriers},
            trace_id=self._trace.trace_id,
            parent_span_id=self._trace.parent_span_id,
            max_workers=self._plan.max_workers,
            as_of=self._plan.as_of,
            params=self._plan.given,
            retry_of=self._plan.retry_of,
            rescore=bool(self._releases),
            notify=self._notify,
            setup_ms=self._setup_ms,
            version=self._version,
            host=platform.node(),
            pid=os.getpid(),
        )

    def _elapsed_ms(self) -> float:
        return round((monotonic_ns() - self._started_ns) / 1e6, 3)
