"""What a change of layout is worth: reads of the project that touch the table, timed before and after.

Of all reads those are taken that can gain by a layout: incremental ones and those with filters. Where the project has
none, the table is asked for one value of its first declared column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from runner.errors import ConfigurationError, RunPipelineError
from runner.loader import TableUse
from runner.pipeline_runner import PipelineRunner
from runner.ports import ReadQuery, TableLayouts, TableShape, Warehouse
from runner.specs import Filter, TableRef, TableSpec

MOST = 3
"""Reads that are measured for one table."""
REPEATS = 3
"""How often each of them is sent. Once where the engine tells the bytes that it bills: they do not vary, and cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A query to be measured, and what it is, for people."""

    what: str
    query: ReadQuery


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One query before and after: the median of its times in milliseconds, and bytes where the engine tells."""

    what: str
    runs: int
    before_ms: float
    after_ms: float
    before_bytes: int | None = None
    after_bytes: int | None = None

    @property
    def ratio(self) -> float:
        """Times after to times before: 0.5 is half the time."""
        return self.after_ms / self.before_ms if self.before_ms else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one probe cost in one state of the table."""

    duration_ms: float
    bytes_processed: int | None
    runs: int


async def find_probes(pipelines: PipelineRunner, warehouse: Warehouse, use: TableUse) -> list[Probe]:
    """Return what is to be measured for a table; nothing for one whose layout serves no question."""
    found: list[Probe] = []
    for job_id in use.jobs:
        found += await _of_job(pipelines, warehouse, job_id, use.table.ref)
    if found:
        return found[:MOST]
    fallback = await _by_value(warehouse, use.table)
    return [fallback] if fallback else []


async def _of_job(pipelines: PipelineRunner, warehouse: Warehouse, job_id: str, ref: TableRef) -> list[Probe]:
    try:
        plan = pipelines.plan(job_id)
    except ConfigurationError:
        return []  # a parameter without a value: nobody can say what it would read
    shapes = await warehouse.inspect(list(plan.tables))
    queries = [pair for job in plan.jobs for pair in pipelines.read_queries(plan, job)]
    return [
        Probe(what=f"the rows that {job_id}/{step_id} reads", query=replace(query, limit=None, order_by=()))
        for step_id, query in queries
        if ref in _tables(query) and _gains(query) and all(one in shapes for one in _tables(query))
    ]


def _tables(query: ReadQuery) -> Sequence[TableRef]:
    return [query.source.ref, *([query.incremental.target.ref] if query.incremental else [])]


def _gains(query: ReadQuery) -> bool:
    return query.incremental is not None or bool(query.filters)


async def _by_value(warehouse: Warehouse, table: TableSpec) -> Probe | None:
    """Ask for the greatest value of the first column that the layout is about."""
    named = [*table.cluster_by, *(name for index in table.indexes for name in index.columns)]
    names = [name for name in named if table.column(name).type not in ("json", "bytes", "float64")]
    if not names or not await _exists(warehouse, table):
        return None
    value = await warehouse.greatest(table, names[0], ())
    if value is None:
        return None
    query = ReadQuery(
        source=table, columns=table.column_names, filters=(Filter(column=names[0], op="=", value=value),)
    )
    return Probe(what=f"rows with one value of {names[0]}", query=query)


async def _exists(warehouse: Warehouse, table: TableSpec) -> bool:
    shapes: dict[TableRef, TableShape] = dict(await warehouse.inspect([table.ref]))
    return table.ref in shapes


async def measure(
    layouts: TableLayouts, probes: Sequence[Probe], tell: Callable[[str], None]
) -> list[Cost | None]:
    """Send each probe; return the medians. One that fails (too long, too dear) is told and left out: it is not worth
    the work that it only measures.
    """
    return [await _measured(layouts, probe, tell) for probe in probes]


async def _measured(layouts: TableLayouts, probe: Probe, tell: Callable[[str], None]) -> Cost | None:
    try:
        return await _cost(layouts, probe)
    except RunPipelineError as error:
        tell(f"{probe.what} could not be measured: {error}")
        return None


async def _cost(layouts: TableLayouts, probe: Probe) -> Cost:
    costs = [await layouts.measure(probe.query)]
    if costs[0].bytes_processed is None:
        # The first one also brought the pages into memory: it does not count.
        costs = [await layouts.measure(probe.query) for _ in range(REPEATS)]
    return Cost(
        duration_ms=round(median(cost.duration_ms for cost in costs), 3),
        bytes_processed=costs[0].bytes_processed,
        runs=len(costs),
    )


def compared(
    probes: Sequence[Probe], before: Sequence[Cost | None], after: Sequence[Cost | None]
) -> tuple[Measurement, ...]:
    """Return each probe with its two costs."""
    return tuple(
        Measurement(
            what=probe.what,
            runs=first.runs,
            before_ms=first.duration_ms,
            after_ms=second.duration_ms,
            before_bytes=first.bytes_processed,
            after_bytes=second.bytes_processed,
        )
        for probe, first, second in zip(probes, before, after, strict=True)
        if first and second
    )
