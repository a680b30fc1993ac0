"""The composition root, and the API for applications that embed the engine.

    async with PipelineRunner.open(settings) as pipelines:
        run = await pipelines.run("daily", max_workers=4)
        run.raise_for_status()

It installs no signal handlers, configures no logging, keeps no global state, and leaves no thread or file open.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import anyio
import anyio.to_thread

from runner.cancellation import in_own_task
from runner.clock import monotonic_ns, utc_now
from runner.errors import HeldByAnother, RunPipelineError, WarehouseError
from runner.event_log import flush_outbox
from runner.events import Event
from runner.executor import incremental_reads
from runner.ids import new_ulid
from runner.loader import Project, open_project
from runner.locks import LockSet, acquire_all
from runner.logs import get_logger
from runner.pipeline_runner.execution import Execution
from runner.pipeline_runner.needs import UNOPENED, needs_warehouse
from runner.pipeline_runner.observing import NO_PROVIDERS, Providers, Tracing
from runner.pipeline_runner.places import locks_dir, outbox_dir
from runner.pipeline_runner.processes import processes_of
from runner.pipeline_runner.retrying import owed_jobs, retried_params, retry_plan
from runner.pipeline_runner.tables import changes_for
from runner.pipeline_runner.threads import LimitedThreads
from runner.pipeline_runner.warehouse import build_warehouse
from runner.ports import FunctionProcesses, ReadQuery, Release, TableChange, Warehouse
from runner.records import PipelineRun
from runner.run_store import FileRunStore
from runner.settings import Settings
from runner.specs import PlannedJob, ReadSpec, RunPlan
from runner.version import __version__

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from runner.notifications import Notifier

log = get_logger("pipeline_runner")

WarehouseContext = AbstractAsyncContextManager[Warehouse]
"""A warehouse that is not open yet."""

FUNCTION_THREADS = 64
"""Threads for project functions; how many work at once is decided by `max_workers` and the queues."""


class PipelineRunner:
    """One project, its warehouse and its run store. Make it with `open`; several may live in one process.

    The warehouse is opened by the first run (or `open_warehouse`) and closed with the runner.
    """

    def __init__(
        self,
        settings: Settings,
        warehouse: WarehouseContext | None,
        resources: AsyncExitStack,
        providers: Providers = NO_PROVIDERS,
    ) -> None:
        self.settings = settings
        self.project: Project = open_project(settings)
        self.store = FileRunStore(settings.runs_dir)
        self._given = warehouse
        self._resources = resources
        self._opened: Warehouse | None = None
        self._opening = anyio.Lock()
        self._tracing = Tracing(settings, providers, resources)
        self._threads = LimitedThreads(threads=FUNCTION_THREADS, grace=settings.timeouts.grace)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings | None = None,
        *,
        warehouse: WarehouseContext | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> AsyncIterator[Self]:
        """Open a project: `settings`, or those that `Settings.load()` finds from here.

        `warehouse`: another than the settings name, for example `runner.testing.MemoryWarehouse`; it is entered and
        left with the runner. `tracer_provider`, `meter_provider`: OpenTelemetry's, of the application, told of the runs
        in place of what `[telemetry]` names; neither is flushed or ended here.

        Raises `UsageError` and `ConfigurationError`.
        """
        if settings is None:
            settings = await anyio.to_thread.run_sync(Settings.load)
        resources = AsyncExitStack()
        try:
            yield cls(settings, warehouse, resources, Providers(tracer_provider, meter_provider))
        finally:
            with anyio.CancelScope(shield=True):
                await in_own_task(resources.aclose)

    async def open_warehouse(self) -> Warehouse:
        """Return the open warehouse. Raises `HeldByAnother` when another process has its file."""
        if self._opened is None:
            return await in_own_task(self._open)
        return self._opened

    async def _open(self) -> Warehouse:
        async with self._opening:
            if self._opened is not None:
                return self._opened
            context = self._given
            if context is None:
                # In a thread: it imports the driver, for a tenth of a second in which the host's loop would stand.
                context = await anyio.to_thread.run_sync(build_warehouse, self.settings)
            self._opened = opened = await self._resources.enter_async_context(context)
            return opened

    def plan(
        self,
        name: str,
        *,
        params: Mapping[str, str] | None = None,
        as_of: datetime | None = None,
        max_workers: int | None = None,
    ) -> RunPlan:
        """Return what a run of this pipeline or job would execute, checked in full. Reads files; does not block long.

        Raises `ConfigurationError` with every problem, and `UsageError` for an unknown name.
        """
        return self.project.plan(
            name, given_params=params or {}, as_of=as_of or utc_now(), max_workers=max_workers
        )

    def read_queries(
        self, plan: RunPlan, job: PlannedJob, release: Release | None = None
    ) -> list[tuple[str, ReadQuery]]:
        """Return (step_id, query) of each `read` of a job, as a run would send it."""
        from runner.steps.read import read_query

        reads = incremental_reads(plan, job, release)
        return [
            (
                spec.step_id,
                read_query(spec, plan, reads.get(spec.step_id), batch_rows=self.settings.batch_rows),
            )
            for spec in job.spec.steps
            if isinstance(spec, ReadSpec)
        ]

    def statement(self, query: ReadQuery) -> str:
        """Return the SQL that a read would send, with placeholders for values. The warehouse need not be open."""
        warehouse = self._opened or self._given or build_warehouse(self.settings)
        return cast("Warehouse", warehouse).statement(query)

    async def run(
        self,
        name: str,
        *,
        max_workers: int | None = None,
        params: Mapping[str, str] | None = None,
        as_of: datetime | None = None,
        fail_fast: bool = False,
        on_event: Callable[[Event], None] | None = None,
        releases: Mapping[str, Release] | None = None,
        notify: bool = True,
        traceparent: str | None = None,
    ) -> PipelineRun:
        """Run a pipeline or a job and return its record; failures are data, see `PipelineRun.raise_for_status`.

        `max_workers` caps the run and overrides its stages; `params` are texts as after `--set`; `as_of` is the run's
        logical time (UTC, default now); `on_event` is told of every event on the event loop; `releases` say per job
        what a rescore treats as absent; `notify=False`: no message is ever owed to people for this run (see
        `notifier`); `traceparent` is the W3C header of a trace that the run is to belong to, else it has one of its
        own. Cancelling the caller's scope cancels the run: it is recorded, then the cancellation goes on.

        Raises before anything ran: `ConfigurationError`, `UsageError`, `TableMismatch`, `HeldByAnother`, and
        `WarehouseError` when the warehouse cannot be opened.
        """
        plan_run = partial(self.plan, name, params=params, as_of=as_of, max_workers=max_workers)
        return await self._run(
            plan_run,
            fail_fast=fail_fast,
            on_event=on_event,
            releases=releases,
            notify=notify,
            traceparent=traceparent,
        )

    async def retry(
        self,
        reference: str = "last",
        *,
        max_workers: int | None = None,
        params: Mapping[str, str] | None = None,
        fail_fast: bool = False,
        on_event: Callable[[Event], None] | None = None,
        traceparent: str | None = None,
    ) -> PipelineRun | None:
        """Run what a run owes: its jobs that failed, crashed, were cancelled or skipped, and nothing else.

        `reference` is an id, the beginning of one, `last`, `last-failed`, or the name of a pipeline or job, whose
        newest run is meant. The jobs run in the order that their pipeline has now, with the parameters (`params` win)
        and the logical time of that run; the other arguments are those of `run`. Returns the record of a run of its
        own, whose `retry_of` names the other; None when nothing is owed.

        Raises what `run` raises, `RunNotFound`, `DamagedRecord`, and `HeldByAnother` while that run has not ended.
        """
        found = await anyio.to_thread.run_sync(lambda: self.store.load(self.store.resolve(reference)))
        if not owed_jobs(found):
            return None

        def plan_run() -> RunPlan:
            given = retried_params(found, params or {})
            plan = self.plan(found.pipeline_id, params=given, as_of=found.as_of, max_workers=max_workers)
            return retry_plan(plan, found)

        return await self._run(plan_run, fail_fast=fail_fast, on_event=on_event, traceparent=traceparent)

    async def _run(
        self,
        plan_run: Callable[[], RunPlan],
        *,
        fail_fast: bool,
        on_event: Callable[[Event], None] | None,
        releases: Mapping[str, Release] | None = None,
        notify: bool = True,
        traceparent: str | None = None,
    ) -> PipelineRun:
        """Run what `plan_run` (in a worker thread) returns, as `run` says."""
        asked_ns = monotonic_ns()

        async def execute() -> PipelineRun:
            # The first id imports its library, which reads files: not for the event loop.
            plan, run_id = await anyio.to_thread.run_sync(lambda: (plan_run(), new_ulid()))
            # Before the warehouse: who starts a job that is running is told which run has it.
            with await anyio.to_thread.run_sync(self._lock_jobs, plan, run_id):
                async with processes_of(plan, self.settings) as processes:
                    run = await locked(plan, run_id, processes)
                await self.flush_events()
                return run

        async def locked(plan: RunPlan, run_id: str, processes: FunctionProcesses | None) -> PipelineRun:
            warehouse, changes = await self._prepared(plan)
            async with self._tracing.of_run(plan.name, traceparent) as (trace, observers):
                execution = Execution(
                    run_id=run_id,
                    settings=self.settings,
                    plan=plan,
                    warehouse=warehouse,
                    changes=changes,
                    threads=self._threads,
                    processes=processes,
                    fail_fast=fail_fast,
                    releases=releases,
                    notify=notify,
                    setup_ms=round((monotonic_ns() - asked_ns) / 1e6, 3),
                    trace=trace,
                    version=__version__,
                )
                return await execution.run(self.store, [*observers, on_event] if on_event else observers)

        return await in_own_task(execute)

    async def _prepared(self, plan: RunPlan) -> tuple[Warehouse, Sequence[TableChange]]:
        """Return the open warehouse, and the DDL that the run's tables need. A run that asks nothing of the warehouse
        goes on while it is away; the run's events get there later.
        """
        try:
            warehouse = await self._open()
            return warehouse, await changes_for(plan, warehouse)
        except (HeldByAnother, WarehouseError) as error:
            if needs_warehouse(plan):
                raise
            log.warning("the run goes on without the warehouse, of which it needs nothing: %s", error)
            return UNOPENED, ()

    def _lock_jobs(self, plan: RunPlan, run_id: str) -> LockSet:
        names = [f"job.{job.job_id}" for job in plan.jobs]
        return acquire_all(locks_dir(self.settings), names, f"run {run_id}")

    async def flush_events(self) -> None:
        """Bring the events of finished runs to `ops.event_log`. What fails, also opening the warehouse, is logged and
        retried by the next run.
        """
        try:
            warehouse = await self.open_warehouse()
        except RunPipelineError as error:
            log.warning("the events of runs are not in ops.event_log yet: %s", error)
            return
        result = await flush_outbox(self.store, warehouse, outbox_dir(self.settings))
        for problem in result.problems:
            log.warning("%s", problem)

    async def query_event_log(
        self, *, run_id: str | None = None, event_type: str | None = None, limit: int = 1_000
    ) -> Sequence[Mapping[str, Any]]:
        """Return the newest rows of `ops.event_log`, oldest first, with their payload as data.

        `run_id` is that of a pipeline run or of a run of one job; `event_type` also a word that YAML gives. Raises
        `HeldByAnother` and `WarehouseError`.
        """
        from runner.pipeline_runner.event_query import logged_events

        warehouse = await self.open_warehouse()
        return await logged_events(warehouse, run_id=run_id, event_type=event_type, limit=limit)

    def notifier(self, program: str = "run-pipeline") -> Notifier:
        """Return what tells the receivers of `[notify.NAME]` how the project's runs went. It blocks: use a thread.

        The command line does so after its runs; an application that embeds the engine decides for itself.
        `program` is what messages name to show more.
        """
        from runner.pipeline_runner.notifying import build_notifier

        return build_notifier(self.settings, self.store, program)


def run_pipeline(
    name: str,
    *,
    project: Path | str | None = None,
    max_workers_override: int | None = None,
    params: Mapping[str, str] | None = None,
    as_of: datetime | None = None,
    traceparent: str | None = None,
    **settings: Any,
) -> PipelineRun:
    """Run a pipeline (or job) from a script, synchronously. `settings` override those of the project.

    Not for use inside a running event loop: there, use `PipelineRunner`. Raises what `PipelineRunner.run` raises.
    """

    async def execute() -> PipelineRun:
        async with PipelineRunner.open(Settings.load(project, **settings)) as pipelines:
            return await pipelines.run(
                name,
                max_workers=max_workers_override,
                params=params,
                as_of=as_of,
                traceparent=traceparent,
            )

    return anyio.run(execute)


def query_event_log(
    *,
    run_id: str | None = None,
    event_type: str | None = None,
    limit: int = 1_000,
    project: Path | str | None = None,
    **settings: Any,
) -> Sequence[Mapping[str, Any]]:
    """Return rows of `ops.event_log` from a script, synchronously: see `PipelineRunner.query_event_log`."""

    async def execute() -> Sequence[Mapping[str, Any]]:
        async with PipelineRunner.open(Settings.load(project, **settings)) as pipelines:
            return await pipelines.query_event_log(run_id=run_id, event_type=event_type, limit=limit)

    return anyio.run(execute)


def run_job(job_id: str, **options: Any) -> PipelineRun:
    """Run a single job from a script: `run_pipeline` under the name that says so."""
    return run_pipeline(job_id, **options)
