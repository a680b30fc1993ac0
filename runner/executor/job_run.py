"""The bookkeeping of one job run: what its steps did over all attempts, and the record made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from runner.executor.account import Account
from runner.executor.chain import Node
from runner.executor.meter import Meter
from runner.ports import LandingResult
from runner.records import ErrorInfo, PerformanceIndicators, RunRecord, Status, StepTiming, WarningInfo
from runner.specs import PlannedJob


@dataclass(slots=True)
class JobRun:
    """One run of one job, while it runs."""

    job: PlannedJob
    job_run_id: str
    pipeline_run_id: str
    queue_ms: float
    started_at: datetime
    meter: Meter
    started_ns: int
    attempts: int = 1
    nodes: list[Node] = field(default_factory=list)
    landed: list[LandingResult] = field(default_factory=list)
    errors: list[ErrorInfo] = field(default_factory=list)
    warnings: list[WarningInfo] = field(default_factory=list)
    failed_step: str = ""
    account: Account = field(default_factory=Account)

    @property
    def retries_allowed(self) -> int:
        """How often the step that failed may be tried again."""
        return next((spec.retries for spec in self.job.spec.steps if spec.step_id == self.failed_step), 0)

    def begin_again(self) -> None:
        """Note that another attempt begins."""
        self.attempts += 1
        self.failed_step = ""
        self.warnings.clear()

    def fail(self, error: BaseException, step_id: str) -> None:
        """Note what ended the job, and in which step ("" for none)."""
        self.failed_step = step_id
        self.errors.append(ErrorInfo.of(error, step_id))

    def status(self, *, cancelled: bool) -> Status:
        """Fold the outcome: partial when rows landed but not all of them, or some are in quarantine."""
        if cancelled:
            return Status.CANCELLED
        quarantined = any(result.quarantined for result in self.landed)
        if self.errors:
            return Status.PARTIAL if self.landed else Status.FAILURE
        return Status.PARTIAL if quarantined else Status.SUCCESS

    def record(
        self, status: Status, completed_at: datetime, clock: Callable[[], int], trace_id: str
    ) -> RunRecord:
        """Make the record of the finished job run."""
        timings = tuple(self._timings(status))
        return RunRecord(
            run_id=self.job_run_id,
            job_id=self.job.job_id,
            pipeline_run_id=self.pipeline_run_id,
            group=self.job.group,
            queue=self.job.spec.queue,
            waits_for=self.job.waits_for,
            needs=self.job.needs,
            trace_id=trace_id,
            status=status,
            started_at=self.started_at,
            completed_at=completed_at,
            duration_ms=round((clock() - self.started_ns) / 1e6, 3),
            queue_ms=round(self.queue_ms, 3),
            rows_read=sum(timing.rows_read or 0 for timing in timings),
            rows_written=sum(timing.rows_written or 0 for timing in timings),
            rows_quarantined=sum(result.quarantined for result in self.landed),
            errors=tuple(self.errors),
            warnings=tuple(self.warnings),
            step_timings=timings,
            performance_indicators=PerformanceIndicators.from_timings(timings) if timings else None,
            warehouse=self.account.total(),
        )

    def _timings(self, status: Status) -> Iterable[StepTiming]:
        written = self._written()
        for node in self.nodes:
            counts = node.step.counts
            duration_ms = self.meter.spent_ms(node.step_id)
            first_ms, last_ms = self._activity_ms(node.step_id)
            yield StepTiming(
                step_id=node.step_id,
                op=node.op,
                status=self._step_status(node, status),
                duration_ms=duration_ms,
                busy_ms=duration_ms if counts.busy_ns is None else round(counts.busy_ns / 1e6, 3),
                rows_read=counts.rows_read,
                rows_written=written.get(node.step_id, 0) if node.lands and node.op != "check" else None,
                rows_in=counts.rows_in,
                rows_out=counts.rows_out,
                batches=counts.batches,
                attempts=self.attempts if node.started else 0,
                first_ms=first_ms,
                last_ms=last_ms,
                warehouse=self.account.of(node.step_id),
            )

    def _activity_ms(self, step_id: str) -> tuple[float, float] | tuple[None, None]:
        """When a step was first asked and last worked, from the job's start."""
        found = self.meter.activity_ns(step_id)
        if found is None:
            return None, None
        first, last = found
        return round((first - self.started_ns) / 1e6, 3), round((last - self.started_ns) / 1e6, 3)

    def _step_status(self, node: Node, status: Status) -> Status:
        if not node.started:
            return Status.SKIPPED
        if status is Status.CANCELLED:
            return Status.CANCELLED
        if node.step_id == self.failed_step:
            return Status.FAILURE
        # What never landed did not succeed, whoever was to blame.
        if node.lands and self.errors and node.step_id not in self._landed_steps():
            return Status.SKIPPED
        return Status.SUCCESS

    def _written(self) -> dict[str, int]:
        written: dict[str, int] = {}
        for result in self.landed:
            for target in result.targets:
                written[target.step_id] = written.get(target.step_id, 0) + target.written
            for action in result.actions:
                written[action.step_id] = written.get(action.step_id, 0) + (action.rows or 0)
        return written

    def _landed_steps(self) -> set[str]:
        return {part.step_id for result in self.landed for part in result.parts}
