"""Which rows a rescore would take as absent: the filters of `--where`, checked, and how many rows they
meet.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from runner.errors import UsageError
from runner.pipeline_runner import PipelineRunner
from runner.ports import Release
from runner.specs import ExtractSpec, Filter, ReadSpec, RunPlan, TableSpec, WriteSpec
from runner.sql import filter_value

_CONDITION = re.compile(r"(?P<column>\w+?)\s*(?P<op><=|>=|!=|=|<|>)(?P<value>.*)", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class RescoreScope:
    """What a rescore would release: target rows by table name, and quarantined keys."""

    release: Release
    rows: dict[str, int]
    quarantined: int

    @property
    def total(self) -> int:
        """Rows and keys together."""
        return sum(self.rows.values()) + self.quarantined


def parse_condition(text: str) -> Filter:
    """Read `column=value` (or != < > <= >=). Raises `UsageError`."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a condition", hint="expected for example binding_id=intake_01")
    return Filter.model_validate(match.groupdict())


def targets(plan: RunPlan) -> list[TableSpec]:
    """Return the tables that the incremental reads and extracts of a job compare with.

    Raises `UsageError` for a pipeline, and for a job without such a step.
    """
    if plan.kind != "job":
        jobs = ", ".join(job.job_id for job in plan.jobs)
        raise UsageError(f"{plan.name!r} is a pipeline; rescore takes one job", hint=f"its jobs: {jobs}")
    (job,) = plan.jobs
    refs = {
        spec.incremental.target: None
        for spec in job.spec.steps
        if isinstance(spec, ReadSpec | ExtractSpec) and spec.incremental
    }
    if not refs:
        replaced = [
            step.ref for step in job.spec.steps if isinstance(step, WriteSpec) and step.mode == "replace"
        ]
        raise UsageError(
            f"{plan.name!r} has no incremental read or extract, which is what rescore works on",
            hint=f"it replaces {replaced[0]}: run-pipeline {plan.name} computes all of it again"
            if replaced
            else "",
        )
    return [plan.tables[ref] for ref in refs]


async def measure(pipelines: PipelineRunner, plan: RunPlan, release: Release) -> RescoreScope:
    """Count what would be released. Opens the warehouse, changes nothing.

    Raises `UsageError`, `ConfigurationError` for a column or value that does not fit, `HeldByAnother`.
    """
    tables = targets(plan)
    check(tables, release.filters)
    warehouse = await pipelines.open_warehouse()
    shapes = await warehouse.inspect([table.ref for table in tables])
    rows = {}
    if release.filters or not release.quarantined:
        for table in tables:
            exists = table.ref in shapes
            rows[str(table.ref)] = await warehouse.count_matching(table, release.filters) if exists else 0
    quarantined = await warehouse.count_quarantined(plan.name) if release.quarantined else 0
    return RescoreScope(release=release, rows=rows, quarantined=quarantined)


def check(tables: Sequence[TableSpec], filters: Sequence[Filter]) -> None:
    """Check columns and values against the declarations. Raises `ConfigurationError`."""
    for table in tables:
        for item in filters:
            filter_value(table, item)
