"""What would be done to each table, and doing it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio.to_thread

from runner.clock import utc_now
from runner.loader import TableUse
from runner.locks import LockSet, acquire_all
from runner.operations.optimize.choosing import chosen
from runner.operations.optimize.probing import Measurement, compared, find_probes, measure
from runner.pipeline_runner import PipelineRunner
from runner.pipeline_runner.places import locks_dir
from runner.ports import Backup, LayoutChange, LayoutReport, TableLayouts

Tell = Callable[[str], None]
"""Is told what is about to be done, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizeOptions:
    """What is wanted besides the declared layout.

    `backup`: keep a copy of each table before anything is changed. `rewrite`: write rows anew also where only those to
    come would be kept as declared. `prune`: also remove backups, and indexes that were made here and are no longer
    declared. `measures`: send reads before and after.
    """

    backup: bool = False
    rewrite: bool = False
    prune: bool = False
    measures: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOutcome:
    """What there was to do for a table, in order, and what came of it. `backups` were made by this call."""

    report: LayoutReport
    changes: tuple[LayoutChange, ...]
    backups: tuple[Backup, ...] = ()
    measurements: tuple[Measurement, ...] = ()

    @property
    def alters(self) -> bool:
        """Whether the table or its indexes change; else only leftovers go."""
        return any(change.kind not in ("finish", "remove") for change in self.changes)

    @property
    def needs_backup(self) -> bool:
        """Whether `--backup` copies the table: it changes, and the old one is not kept anyway."""
        return self.alters and not any(change.kind == "partition" for change in self.changes)


async def survey(pipelines: PipelineRunner, name: str | None, options: OptimizeOptions) -> list[TableOutcome]:
    """Say what would be done. Changes nothing, and takes no lock.

    Raises `UsageError` for a name that is no managed table, `ConfigurationError`, `WarehouseError`, `HeldByAnother`.
    """
    uses = await anyio.to_thread.run_sync(chosen, pipelines, name)
    layouts = (await pipelines.open_warehouse()).layouts
    return [await _survey(layouts, use, options) for use in uses]


async def optimize(
    pipelines: PipelineRunner, name: str | None, options: OptimizeOptions, tell: Tell = lambda text: None
) -> list[TableOutcome]:
    """Bring tables to their declarations, one after the other, while no job of the project uses those that need it.

    Raises what `survey` raises; `HeldByAnother` while a job runs that uses one of them, before anything is changed.
    """
    uses = await anyio.to_thread.run_sync(chosen, pipelines, name)
    layouts = (await pipelines.open_warehouse()).layouts
    found = {use.table.ref: await _survey(layouts, use, options) for use in uses}
    due = [use for use in uses if found[use.table.ref].changes]
    if due:
        with await anyio.to_thread.run_sync(_lock, pipelines, due):
            for use in due:
                found[use.table.ref] = await _optimize(pipelines, use, options, tell)
    return list(found.values())


def _lock(pipelines: PipelineRunner, uses: Sequence[TableUse]) -> LockSet:
    """Keep the jobs that use these tables from running, and others from optimizing them."""
    jobs = {f"job.{job_id}" for use in uses for job_id in use.jobs}
    tables = {f"table.{use.table.ref}" for use in uses}
    holder = f"optimize {uses[0].table.ref}" + (f" and {len(uses) - 1} more" if len(uses) > 1 else "")
    return acquire_all(locks_dir(pipelines.settings), [*jobs, *tables], holder)


async def _survey(layouts: TableLayouts, use: TableUse, options: OptimizeOptions) -> TableOutcome:
    report = await layouts.report(use.table, rewrite=options.rewrite)
    return TableOutcome(report=report, changes=(*report.changes, *(report.spare if options.prune else ())))


async def _optimize(
    pipelines: PipelineRunner, use: TableUse, options: OptimizeOptions, tell: Tell
) -> TableOutcome:
    warehouse = await pipelines.open_warehouse()
    layouts, stamp = warehouse.layouts, utc_now()
    await layouts.settle(use.table)
    # Under the locks nothing changes any more; before them something may have.
    before = await _survey(layouts, use, options)
    report, backups = before.report, []
    probes = await find_probes(pipelines, warehouse, use) if options.measures and before.alters else []
    costs = await measure(layouts, probes, tell)
    if options.backup and before.needs_backup:
        tell(f"{use.table.ref}: copying it")
        backups.append(await layouts.back_up(use.table, stamp))
    for change in before.changes:
        tell(f"{use.table.ref}: {_doing(change)}")
        if (kept := await layouts.change(change, stamp)) is not None:
            backups.append(kept)
    done = before.changes
    if any(change.kind == "finish" for change in done):
        # What was brought to its end may leave something to do.
        again = await _optimize(pipelines, use, options, tell)
        return TableOutcome(
            report=again.report,
            changes=(*done, *again.changes),
            backups=(*backups, *again.backups),
            measurements=again.measurements,
        )
    measurements = compared(probes, costs, await measure(layouts, probes, tell))
    return TableOutcome(report=report, changes=done, backups=tuple(backups), measurements=measurements)


def _doing(change: LayoutChange) -> str:
    """Say what is being done."""
    match change.kind:
        case "order":
            return f"writing all rows anew in the order of {', '.join(change.table.cluster_by)}"
        case "cluster":
            return f"clustering by {', '.join(change.table.cluster_by)}"
        case "partition":
            return "making it anew with other partitions"
        case "index":
            return f"building index {change.subject}"
        case "finish":
            return "finishing what was interrupted"
        case "remove":
            return f"removing {change.subject}"
