"""Jobs of scripted steps, run by the real executor on a warehouse in memory, under a clock that the steps move."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio.lowlevel
import pyarrow as pa

from runner.ddl import ENGINE_TABLES
from runner.events import Event, JobFinished
from runner.executor import JobExecutor
from runner.ids import new_ulid
from runner.ports import Batch, Row, StepContext, StepCounts, TableChange, Warehouse
from runner.records import RunRecord, Status
from runner.retry import Backoff
from runner.specs import ExtractSpec, JobSpec, PlannedJob, ReadSpec, RunPlan, StepSpec, TableSpec, WriteSpec
from runner.testing import MemoryWarehouse

AS_OF = datetime(2026, 2, 12, 6, tzinfo=UTC)
Flow = Callable[[Batch, StepContext], AsyncGenerator[Batch, None]]

new_ulid()  # its first call imports a module, which would block the event loop of the first test


@dataclass
class FakeClock:
    """Nanoseconds that only pass when somebody says so."""

    now: int = 1_000_000_000

    def __call__(self) -> int:
        """Tell the time."""
        return self.now

    def pass_ms(self, milliseconds: float) -> None:
        """Let time pass."""
        self.now += int(milliseconds * 1e6)


class ScriptedStep:
    """A step that does what a function says, and counts."""

    def __init__(self, spec: StepSpec, context: StepContext, flow: Flow) -> None:
        consumes = not isinstance(spec, ReadSpec | ExtractSpec)
        self._context = context
        self._flow = flow
        self._consumes = consumes
        self.counts = StepCounts(rows_read=None if consumes else 0)

    async def flow(self, batch: Batch) -> AsyncGenerator[Batch, None]:
        """Yield what the function yields."""
        if self._consumes:
            self.counts.rows_in += batch.length
            self.counts.batches += 1
        async with aclosing(self._flow(batch, self._context)) as rows:
            async for given in rows:
                self.counts.rows_out += given.length
                if self.counts.rows_read is not None:
                    self.counts.rows_read += given.length
                yield given


async def stage(batch: Batch, context: StepContext) -> AsyncGenerator[Batch, None]:
    """Stage rows of one integer column, as a write does."""
    assert context.writer is not None
    assert context.target is not None
    rows = pa.RecordBatch.from_pylist(batch.rows or [], pa.schema([("n", pa.int64())]))
    await context.writer.stage(context.target, rows)
    nothing: Sequence[Batch] = ()
    for each in nothing:
        yield each


def give(*batches: Sequence[int]) -> Flow:
    """Return the flow of a source that gives these batches of numbers."""

    async def flow(batch: Batch, context: StepContext) -> AsyncGenerator[Batch, None]:
        for numbers in batches:
            await anyio.lowlevel.checkpoint()
            yield numbered(numbers)

    return flow


def numbered(numbers: Sequence[int]) -> Batch:
    """Return a batch of rows with one column n."""
    rows: list[Row] = [{"n": n} for n in numbers]
    return Batch(len(rows), rows=rows)


async def pass_on(batch: Batch, context: StepContext) -> AsyncGenerator[Batch, None]:
    """Give what came in."""
    yield batch


@dataclass
class Scripted:
    """One job and what its steps do, by step id; writes stage unless the script says else."""

    steps: Sequence[dict[str, Any]]
    script: dict[str, Flow]
    timeout: float | None = None
    warehouse: Warehouse = field(default_factory=MemoryWarehouse)
    clock: Callable[[], int] | None = None
    step_limit: float | None = None
    job_limit: float | None = None
    emit: Callable[[Event], None] | None = None
    events: list[Event] = field(default_factory=list)
    builds: int = 0

    async def run(self, queue_ms: float = 0) -> Status:
        """Run the job once."""
        job = self.job()
        tables = {table.ref: table for table in self._tables(job)}
        plan = RunPlan(
            name="job", kind="job", project=Path("/project"), as_of=AS_OF, jobs=(job,), tables=tables
        )
        changes = [TableChange(kind="create", table=table) for table in (*ENGINE_TABLES, *tables.values())]
        await self.warehouse.apply(changes)
        more: dict[str, Any] = {"clock": self.clock} if self.clock else {}
        executor = JobExecutor(
            plan=plan,
            run_id="RUN",
            warehouse=self.warehouse,
            build_step=self._build,
            emit=self.emit or self.events.append,
            backoff=Backoff(0.001, 0.001),
            step_limit=self.step_limit,
            job_limit=self.job_limit,
            **more,
        )
        return await executor.run_job(job, queue_ms)

    def job(self) -> PlannedJob:
        """Return the job as a plan has it."""
        declared = {"job_id": "job", "timeout": self.timeout, "steps": list(self.steps)}
        return PlannedJob(spec=JobSpec.model_validate(declared), group="group", file=Path("job.yaml"))

    @property
    def record(self) -> RunRecord:
        """Return the record of the last run."""
        return [event.record for event in self.events if isinstance(event, JobFinished)][-1]

    def of(self, kind: type[Event]) -> list[Any]:
        """Return the events of one type."""
        return [event for event in self.events if isinstance(event, kind)]

    def _build(self, spec: StepSpec, context: StepContext) -> ScriptedStep:
        self.builds += 1
        default = stage if isinstance(spec, WriteSpec) else pass_on
        return ScriptedStep(spec, context, self.script.get(spec.step_id, default))

    def _tables(self, job: PlannedJob) -> list[TableSpec]:
        refs = {spec.ref for spec in job.spec.steps if isinstance(spec, ReadSpec | WriteSpec)}
        column = {"name": "n", "type": "int64"}
        return [
            TableSpec.model_validate(
                {"dataset": ref.dataset, "table": ref.table, "columns": [column], "key": ["n"]}
            )
            for ref in sorted(refs)
        ]


def extract_step(step_id: str = "source", **more: Any) -> dict[str, Any]:
    """Declare a source."""
    return {"step_id": step_id, "op": "extract", "function": "some.module:function", **more}


def call_step(step_id: str, **more: Any) -> dict[str, Any]:
    """Declare a transform."""
    return {"step_id": step_id, "op": "call", "function": "some.module:function", **more}


def write_step(step_id: str = "write", table: str = "numbers", **more: Any) -> dict[str, Any]:
    """Declare a write."""
    return {"step_id": step_id, "op": "write", "dataset": "out", "table": table, "mode": "upsert", **more}
