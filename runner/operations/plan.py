"""What a run would do: for each job its reads with their SQL, its calls, its writes, and on demand row
counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runner.clock import format_utc
from runner.pipeline_runner import PipelineRunner
from runner.ports import IncrementalCounts, IncrementalRead, ReadQuery, TableShape, Warehouse
from runner.specs import (
    CallSpec,
    CheckSpec,
    ExtractSpec,
    PlannedJob,
    ReadSpec,
    RunPlan,
    SqlSpec,
    Step,
    TableRef,
    WriteSpec,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCounts:
    """How many rows a read would find. `rows`: those it would bring in, before its limit; `incremental`:
    how they are made up, where the read is incremental and both tables exist; `missing`: the table that
    does not exist yet.
    """

    rows: int
    incremental: IncrementalCounts | None = None
    missing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One step. `table` is what it reads or writes, `function` what it calls; the others are "" or empty.

    `statement` is the SQL of a read or of a `sql` step, with placeholders; `values` what it compares with, by column
    and operator, or what a check expects. `incremental` says in one line which rows are new, `mode` and `key` how a
    write lands.
    """

    step_id: str
    op: str
    table: str = ""
    function: str = ""
    mode: str = ""
    key: tuple[str, ...] = ()
    incremental: str = ""
    statement: str = ""
    values: tuple[str, ...] = ()
    counts: RowCounts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutline:
    """One job of the plan, in its order."""

    job_id: str
    group: str
    queue: str
    priority: int
    file: str
    params: Mapping[str, str]
    steps: tuple[PlannedStep, ...]


def outline(pipelines: PipelineRunner, plan: RunPlan) -> list[JobOutline]:
    """Describe every job of a plan. Opens no warehouse."""
    return [_job(pipelines, plan, job, {}) for job in plan.jobs]


async def counted_outline(pipelines: PipelineRunner, plan: RunPlan) -> list[JobOutline]:
    """Describe every job and count the rows that its reads would find. Opens the warehouse, changes nothing.

    Raises `HeldByAnother` when another process has the warehouse, `WarehouseError` for what it answers.
    """
    warehouse = await pipelines.open_warehouse()
    shapes = await warehouse.inspect(list(plan.tables))
    outlines = []
    for job in plan.jobs:
        queries = pipelines.read_queries(plan, job)
        counts = {step_id: await _count(warehouse, query, shapes) for step_id, query in queries}
        outlines.append(_job(pipelines, plan, job, counts))
    return outlines


async def _count(warehouse: Warehouse, query: ReadQuery, shapes: Mapping[TableRef, TableShape]) -> RowCounts:
    if query.source.ref not in shapes:
        return RowCounts(rows=0, missing=str(query.source.ref))
    if query.incremental is None:
        return RowCounts(rows=await warehouse.count_matching(query.source, query.filters))
    if query.incremental.target.ref not in shapes:
        rows = await warehouse.count_matching(query.source, query.filters)
        return RowCounts(rows=rows, missing=str(query.incremental.target.ref))
    counts = await warehouse.count(query)
    return RowCounts(rows=counts.new + counts.null_key, incremental=counts)


def _job(
    pipelines: PipelineRunner, plan: RunPlan, job: PlannedJob, counts: Mapping[str, RowCounts]
) -> JobOutline:
    queries = dict(pipelines.read_queries(plan, job))
    steps = tuple(
        _step(pipelines, plan, job, spec, queries.get(spec.step_id), counts.get(spec.step_id))
        for spec in job.spec.steps
    )
    return JobOutline(
        job_id=job.job_id,
        group=job.group,
        queue=job.spec.queue,
        priority=job.spec.priority,
        file=str(job.file),
        params={name: str(value) for name, value in job.params.items()},
        steps=steps,
    )


def _step(
    pipelines: PipelineRunner,
    plan: RunPlan,
    job: PlannedJob,
    spec: Step,
    query: ReadQuery | None,
    counts: RowCounts | None,
) -> PlannedStep:
    match spec:
        case ReadSpec():
            if query is None:
                raise AssertionError(f"no query for read step {spec.step_id}")
            return PlannedStep(
                step_id=spec.step_id,
                op=spec.op,
                table=str(spec.ref),
                incremental=new_rows_text(spec),
                statement=pipelines.statement(query),
                values=(
                    *(f"{item.column} {item.op} {item.value!r}" for item in spec.filters),
                    *_lookback_texts(query.incremental),
                ),
                counts=counts,
            )
        case ExtractSpec():
            return PlannedStep(
                step_id=spec.step_id, op=spec.op, function=spec.origin, incremental=new_rows_text(spec)
            )
        case CallSpec():
            return PlannedStep(step_id=spec.step_id, op=spec.op, function=spec.function)
        case WriteSpec():
            key = spec.key or plan.tables[spec.ref].key
            return PlannedStep(step_id=spec.step_id, op=spec.op, table=str(spec.ref), mode=spec.mode, key=key)
        case SqlSpec():
            return PlannedStep(
                step_id=spec.step_id,
                op=spec.op,
                table=", ".join(map(str, spec.writes)),
                statement=job.statements[spec.step_id].text.strip(),
                values=tuple(f":{name} = {value!r}" for name, value in spec.params.items()),
            )
        case CheckSpec():
            return PlannedStep(
                step_id=spec.step_id,
                op=spec.op,
                table=str(spec.ref or ""),
                values=tuple(f"{expectation} ({expectation.severity})" for expectation in spec.expectations),
            )


def _lookback_texts(read: IncrementalRead | None) -> Iterator[str]:
    """Say from which time on the rows of each side are looked at."""
    if read and read.since and (lookback := read.spec.lookback):
        since = format_utc(read.since)
        yield f"{lookback.source} >= {since!r} or NULL"
        yield f"{lookback.target} of {read.target.ref} >= {since!r} or NULL"


def new_rows_text(spec: ReadSpec | ExtractSpec) -> str:
    """Say which rows an incremental step takes; "" for a step that takes all."""
    if spec.incremental is None:
        return ""
    part = spec.incremental
    source = f"{part.key_prefix}{', '.join(part.source_key)}{part.key_suffix}"
    text = f"not in {part.target} ({source} = {', '.join(part.target_key)})"
    return f"{text}, or older there ({part.target_ts} < {part.source_ts})" if part.source_ts else text
