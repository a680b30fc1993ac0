"""From a job's declaration to what its landing will do, and from what it did to what people should know."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from runner.expectations import notice_of, table_check
from runner.ports import (
    IncrementalRead,
    KeyMatch,
    KeyTracking,
    LandingAction,
    LandingCheck,
    LandingResult,
    LandingSpec,
    LandingStatement,
    Release,
    Statement,
    WriteTarget,
)
from runner.specs import (
    CheckSpec,
    ExtractSpec,
    Incremental,
    PlannedJob,
    ReadSpec,
    RunPlan,
    SqlSpec,
    TableRef,
    WriteSpec,
)
from runner.sql import DIALECTS
from runner.sqltext import AS_OF, bind

Notice = tuple[str, str, str, str, dict[str, Any]]
"""(level, code, step_id, message, details) of a `Noticed` event."""


def write_targets(plan: RunPlan, job: PlannedJob) -> tuple[WriteTarget, ...]:
    """Return the job's writes in step order, each with its table and key resolved."""
    return tuple(
        WriteTarget(
            step_id=spec.step_id,
            table=plan.tables[spec.ref],
            mode=spec.mode,
            key=spec.key or plan.tables[spec.ref].key,
            set_on_insert=spec.set_on_insert,
            set_on_write=spec.set_on_write,
        )
        for spec in job.spec.steps
        if isinstance(spec, WriteSpec)
    )


def incremental_reads(plan: RunPlan, job: PlannedJob, release: Release | None) -> dict[str, IncrementalRead]:
    """Return the incremental parts of the job's reads and extracts by step id.

    A rescore looks at everything: a row that it releases must be read again, however old it is.
    """
    return {
        spec.step_id: IncrementalRead(
            spec=spec.incremental,
            target=plan.tables[spec.incremental.target],
            job_id=job.job_id,
            step_id=spec.step_id,
            release=release,
            since=None if release else _since(plan, spec.incremental),
        )
        for spec in job.spec.steps
        if isinstance(spec, ReadSpec | ExtractSpec) and spec.incremental
    }


def _since(plan: RunPlan, spec: Incremental) -> datetime | None:
    return plan.as_of - timedelta(seconds=spec.lookback.window) if spec.lookback else None


def landing_spec(
    plan: RunPlan, job: PlannedJob, release: Release | None, *, job_run_id: str, run_id: str, stamp: datetime
) -> LandingSpec:
    """Describe the job's landing. Keys are tracked for the reads whose target the job itself writes."""
    targets = write_targets(plan, job)
    index = {target.table.ref: number for number, target in enumerate(targets)}
    tracking = tuple(
        KeyTracking(read=read, target=index[read.target.ref])
        for read in incremental_reads(plan, job, release).values()
        if read.target.ref in index
    )
    return LandingSpec(
        job_id=job.job_id,
        job_run_id=job_run_id,
        run_id=run_id,
        stamp=stamp,
        targets=targets,
        tracking=tracking,
        actions=landing_actions(plan, job),
    )


def statement_of(plan: RunPlan, job: PlannedJob, spec: SqlSpec) -> Statement:
    """Return the statement of a `sql` step as its engine takes it, with its values."""
    sql = job.statements[spec.step_id]
    placeholder = DIALECTS[sql.engine].placeholder
    text, values = bind(sql.text, sql.engine, placeholder, {**spec.params, AS_OF: plan.as_of})
    return Statement(text=text, values=values, file=sql.file, line=sql.line)


def landing_actions(plan: RunPlan, job: PlannedJob) -> tuple[LandingAction, ...]:
    """Return what the landing does besides its writes, in step order: statements, and checks of tables that the job
    has written by then. Other tables are checked when the turn comes to their step.
    """
    actions: list[LandingAction] = []
    written: set[TableRef] = set()
    targets = 0
    for spec in job.spec.steps:
        match spec:
            case WriteSpec():
                targets += 1
                written.add(spec.ref)
            case SqlSpec() if spec.writes:
                written.update(spec.writes)
                statement = statement_of(plan, job, spec)
                actions.append(
                    LandingStatement(
                        step_id=spec.step_id, after_targets=targets, statement=statement, writes=spec.writes
                    )
                )
            case CheckSpec() if spec.ref in written:
                actions.append(LandingCheck(after_targets=targets, check=table_check(spec, plan)))
            case _:
                continue
    return tuple(actions)


def notices(result: LandingResult) -> Iterator[Notice]:
    """Say what a landing revealed: an ineffective incremental read, NULL keys, duplicates, quarantined rows."""
    for match in result.matches:
        yield from _match_notices(match)
    for target in result.targets:
        if target.duplicates:
            message = (
                f"{_counted(target.duplicates, 'staged row')} of {target.table} had the key of a later row;"
                " the last one was kept"
            )
            yield "info", "rows.duplicate_keys", target.step_id, message, {"duplicates": target.duplicates}
    for action in result.actions:
        for finding in action.findings:
            message, details = notice_of(finding)
            yield "warning", "check.failed", action.step_id, message, details
    if result.quarantined:
        message = f"{_counted(result.quarantined, 'bad row')} went to ops.quarantine"
        yield "warning", "rows.quarantined", "", message, {"rows": result.quarantined}


def rows_by_table(spec: LandingSpec, result: LandingResult) -> dict[str, int]:
    """Return how many rows a landing wrote, per table name. A statement of several tables tells only their sum, so
    its rows stand under all their names.
    """
    names = {
        action.step_id: ", ".join(map(str, action.writes))
        for action in spec.actions
        if isinstance(action, LandingStatement)
    }
    written = [(str(target.table), target.written) for target in result.targets]
    written += [(names[part.step_id], part.rows or 0) for part in result.actions if part.step_id in names]
    rows: dict[str, int] = {}
    for name, count in written:
        rows[name] = rows.get(name, 0) + count
    return rows


def _match_notices(match: KeyMatch) -> Iterator[Notice]:
    if match.ineffective:
        message = (
            f"none of the {match.staged} keys written matches any of the {match.read} keys read, so every run will"
            f" read these rows again: read {_some(match.read_samples)} against written {_some(match.staged_samples)}"
        )
        details = {"read": list(match.read_samples), "written": list(match.staged_samples)}
        yield "warning", "incremental.ineffective", match.step_id, message, details
    if match.null_keys:
        rows = _counted(match.null_keys, "row")
        message = f"{rows} without a key came in; such rows match nothing and come back in every run"
        yield "warning", "incremental.null_keys", match.step_id, message, {"rows": match.null_keys}


def _some(samples: tuple[str, ...]) -> str:
    return ", ".join(repr(sample) for sample in samples) or "none"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
