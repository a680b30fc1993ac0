"""One pass over a job: its steps, their chain, and the landings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import anyio

from runner.errors import CheckFailed, RunPipelineError, TimeLimitExceeded, WarehouseError
from runner.events import Event, Landed, Noticed, StepProgress
from runner.executor.chain import Chain, Node, parents
from runner.executor.contexts import ContextMaker
from runner.executor.job_run import JobRun
from runner.executor.landing import notices, rows_by_table
from runner.executor.scopes import scoped
from runner.ports import (
    LandingResult,
    LandingSpec,
    Release,
    Step,
    StepContext,
    StopFlag,
    Warehouse,
    Writer,
)
from runner.records import WarningInfo
from runner.specs import PlannedJob, RunPlan, StepSpec, WriteSpec

BuildStep = Callable[[StepSpec, StepContext], Step]
"""Makes the step of a declaration, for one attempt of one job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the jobs of one run share. `releases` by job id; `step_limit` in seconds, None: unbounded."""

    plan: RunPlan
    run_id: str
    trace_id: str
    warehouse: Warehouse
    build_step: BuildStep
    emit: Callable[[Event], None]
    releases: Mapping[str, Release] = field(default_factory=dict)
    step_limit: float | None = None


class Attempt:
    """Pulls the rows of a job through its steps and lands them. `run` keeps the account over all attempts."""

    def __init__(
        self, surroundings: Surroundings, run: JobRun, landing: LandingSpec, writer: Writer | None
    ) -> None:
        self._surroundings = surroundings
        self._run = run
        self._landing = landing
        self._writer = writer
        self._stop = StopFlag()
        self._landings = 0
        self._always_lands = landing.always_lands
        self._chain = Chain(
            run.meter,
            default_limit=surroundings.step_limit,
            after_batch=self._after_batch,
            progress=self._progress,
        )
        self._contexts = ContextMaker(
            plan=surroundings.plan,
            job=run.job,
            release=surroundings.releases.get(run.job.job_id),
            landing=landing,
            warehouse=partial(scoped, surroundings.warehouse, surroundings.plan, run),
            writer=writer,
            stop=self._stop,
            notice=self._notice,
        )
        self._commit_every = commit_every(run.job, surroundings.releases.get(run.job.job_id))

    async def execute(self) -> None:
        """Pull every root to its end, then land. Raises what the steps and the warehouse raise."""
        roots = self._build()
        try:
            for root in roots:
                await self._chain.run(root)
            await self._land()
        except BaseException:
            if self._chain.failed is not None:
                self._run.failed_step = self._chain.failed.step_id
            raise
        finally:
            self._stop.stopped = True
            with anyio.CancelScope(shield=True):
                for node in self._run.nodes:
                    if node.holding is not None:
                        await node.holding.drop()
            self._run.meter.enter(None)

    def _build(self) -> list[Node]:
        """Make the steps, tie them together, and return those that bring rows in."""
        build = self._surroundings.build_step
        specs = self._run.job.spec.steps
        landing = {part.step_id for part in (*self._landing.targets, *self._landing.actions)}
        nodes = {
            spec.step_id: Node(
                spec, spec.op, build(spec, self._contexts.context(spec)), lands=spec.step_id in landing
            )
            for spec in specs
        }
        roots = []
        for step_id, parent in parents(specs).items():
            if parent is None:
                roots.append(nodes[step_id])
            else:
                nodes[parent].children.append(nodes[step_id])
        self._run.nodes = list(nodes.values())
        return roots

    async def _after_batch(self, batches: int) -> None:
        if self._commit_every and batches % self._commit_every == 0:
            # The keys of what was read are staged: their rows must not land in a later piece.
            await self._chain.flush()
            await self._land()

    async def _land(self) -> None:
        """Land what is staged. The time is that of the last step which lands, less what the landing says the others
        took.
        """
        if self._writer is None:
            return
        last = [node for node in self._run.nodes if node.lands][-1]
        for node in self._run.nodes:
            # A replacement always runs: that no row came is what the table is to say.
            node.started |= isinstance(node.spec, WriteSpec) and node.spec.mode == "replace"
        try:
            with self._chain.charged_to(last):
                result = await self._writer.land(self._landings)
        except (anyio.get_cancelled_exc_class(), TimeLimitExceeded):
            await self._look_for_marker(self._writer, last)
            raise
        except (CheckFailed, WarehouseError) as error:
            self._chain.failed = self._node(error.step_id) or last
            raise
        self._landings += 1
        for part in result.parts:
            if part.step_id != last.step_id:
                self._run.meter.move(last.step_id, part.step_id, int(part.duration_ms * 1e6))
        if self._always_lands or did_something(result):
            self._run.landed.append(result)
            self._tell(result)
        for level, code, step_id, message, details in notices(result):
            self._notice(level, code, step_id, message, details)

    def _tell(self, result: LandingResult) -> None:
        run = self._run
        self._surroundings.emit(
            Landed(run_id=run.pipeline_run_id, job_run_id=run.job_run_id, job_id=run.job.job_id,
                   batch=result.batch, rows=rows_by_table(self._landing, result))
        )  # fmt: skip

    def _node(self, step_id: str) -> Node | None:
        return next((node for node in self._run.nodes if node.step_id == step_id), None)

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
        run = self._run
        if level == "warning":
            run.warnings.append(WarningInfo(code=code, message=message, step_id=step_id))
        self._surroundings.emit(
            Noticed(run_id=run.pipeline_run_id, level=level, code=code, message=message, step_id=step_id,
                    job_run_id=run.job_run_id, job_id=run.job.job_id, details=details)
        )  # fmt: skip

    def _progress(self, node: Node) -> None:
        run = self._run
        self._surroundings.emit(
            StepProgress(run_id=run.pipeline_run_id, job_run_id=run.job_run_id, job_id=run.job.job_id,
                         step_id=node.step_id, rows=node.step.counts.rows_out)
        )  # fmt: skip


def commit_every(job: PlannedJob, release: Release | None) -> int | None:
    """Return after how many batches the job lands; None: once, at its end.

    A rescore lands once: it deletes the released rows of the keys that were read, and a key whose rows come in two
    batches would lose with the second landing what the first has written.
    """
    pieces = [spec.commit_every for spec in job.spec.steps if isinstance(spec, WriteSpec)]
    return None if release else min((piece for piece in pieces if piece), default=None)


def did_something(result: LandingResult) -> bool:
    """Tell whether a landing left anything behind, or read anything worth telling."""
    rows = any(target.staged or target.deleted for target in result.targets)
    keys = any(match.read or match.null_keys for match in result.matches)
    changes = any(action.rows is not None for action in result.actions)
    return bool(rows or keys or changes or result.quarantined)
