"""`run-pipeline optimize [DATASET.TABLE]`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from runner.cli.completion import TableName
from runner.cli.console import BOLD, DIM, Part, Styled
from runner.cli.exit_codes import ExitCode
from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.cli.wording import count, duration, size

if TYPE_CHECKING:
    from runner.operations.optimize import Measurement, TableOutcome
    from runner.pipeline_runner import PipelineRunner
    from runner.ports import LayoutChange

EXAMPLE = """run-pipeline optimize --dry-run
run-pipeline optimize derived.observations --backup"""


@click.command(name="optimize", cls=RunnerCommand, example=EXAMPLE)
@click.argument("table", metavar="[DATASET.TABLE]", type=TableName(), required=False)
@click.option("--dry-run", is_flag=True, help="Show what would be done, with its statements; change nothing.")
@click.option("--backup", is_flag=True, help="Keep a copy of each table before it is changed.")
@click.option(
    "--rewrite", is_flag=True, help="Write all rows anew in the declared order, also those that are there."
)
@click.option(
    "--prune", is_flag=True, help="Remove backups, and indexes made here that are no longer declared."
)
@click.option("--no-measure", is_flag=True, help="Do not send reads before and after to compare them.")
@click.pass_obj
def command(
    invocation: Invocation,
    table: str | None,
    dry_run: bool,
    backup: bool,
    rewrite: bool,
    prune: bool,
    no_measure: bool,
) -> int:
    """Bring tables to their declared order, partitions and indexes.

    Compares one table, or all that are declared and managed, with cluster_by, partition_by and indexes in
    configs/tables, and changes what differs. Jobs that use such a table do not run meanwhile. What is as
    declared is left alone.
    """
    from runner.cli.loop import with_runner
    from runner.operations.optimize import OptimizeOptions, optimize, survey

    options = OptimizeOptions(backup=backup, rewrite=rewrite, prune=prune, measures=not no_measure)

    async def work(pipelines: PipelineRunner) -> list[TableOutcome]:
        if dry_run:
            return await survey(pipelines, table, options)
        return await optimize(pipelines, table, options, invocation.console.say)

    outcomes = with_runner(invocation, work)
    if invocation.output == "json":
        invocation.console.json([as_data(outcome, dry_run=dry_run) for outcome in outcomes])
    elif invocation.output == "jsonl":
        for outcome in outcomes:
            invocation.console.json(as_data(outcome, dry_run=dry_run), indent=None)
    else:
        for outcome in outcomes:
            for line in outcome_lines(outcome, invocation.program, dry_run=dry_run, backup=backup):
                invocation.console.data(*line)
        _sum_up(invocation, outcomes, dry_run=dry_run)
    return ExitCode.OK


def _sum_up(invocation: Invocation, outcomes: list[TableOutcome], *, dry_run: bool) -> None:
    changes = sum(len(outcome.changes) for outcome in outcomes)
    tables = count(len(outcomes), "table")
    if not changes:
        invocation.console.say(f"nothing to do: {tables} looked at")
    else:
        done = "to make; nothing was changed" if dry_run else "made"
        invocation.console.say(f"{count(changes, 'change')} {done}, {tables} looked at")


def outcome_lines(
    outcome: TableOutcome, program: str, *, dry_run: bool, backup: bool
) -> Iterator[list[Part]]:
    """Yield what there is to say about one table."""
    report = outcome.report
    about = "about " if report.estimated else ""
    rows = f", {about}{count(report.rows, 'row')}" if report.rows is not None else ""
    state = rows if report.exists else ", does not exist yet"
    verdict = "" if outcome.changes or not report.exists else ": as declared"
    yield [Styled(str(report.table.ref), BOLD), f"{state}{verdict}"]
    for change in outcome.changes:
        yield [f"  {change.kind:<9} {change_text(change)}"]
        for statement in change.statements if dry_run else ():
            for line in statement.splitlines():
                yield [Styled(f"            {line}", DIM)]
    if dry_run and backup and outcome.needs_backup:
        yield [f"  backup    a copy would be kept as {report.table.ref}__backup_TIME"]
    for kept in outcome.backups:
        yield [f"  backup    {kept.table}; to remove it: {kept.statement}"]
    for measurement in outcome.measurements:
        yield [f"  measured  {measurement_text(measurement)}"]
    for note in report.notes:
        yield [f"  note      {note}"]
    if not any(change in report.spare for change in outcome.changes):
        for change in report.spare:
            remove = f"{program} optimize {report.table.ref} --prune"
            yield [f"  kept      {change.subject}, {change.why}; to remove it: {remove}"]


def change_text(change: LayoutChange) -> str:
    """Return `a value of k lies in 9 of 9 blocks …`, with the name of what is built or removed before it."""
    return f"{change.subject}: {change.why}" if change.subject else change.why


def measurement_text(found: Measurement) -> str:
    """Return what was measured, before and after, and the ratio."""
    times = f"{_fine(found.before_ms)} before, {_fine(found.after_ms)} after, {found.ratio:.2f} times"
    text = f"{found.what}: {times}"
    if found.runs > 1:
        text += f" (median of {found.runs})"
    if found.before_bytes is not None and found.after_bytes is not None:
        text += f"; {size(found.before_bytes)} before, {size(found.after_bytes)} after"
    return text


def _fine(ms: float) -> str:
    """Return a time of which also a tenth of a millisecond counts."""
    return f"{ms:.1f} ms" if ms < 100 else duration(ms)


def as_data(outcome: TableOutcome, *, dry_run: bool) -> dict[str, Any]:
    """Return an outcome for JSON."""
    report = outcome.report
    return {
        "table": str(report.table.ref),
        "exists": report.exists,
        "rows": report.rows,
        "dry_run": dry_run,
        "changes": [_change(change) for change in outcome.changes],
        "backups": [{"table": str(backup.table), "remove": backup.statement} for backup in outcome.backups],
        "measurements": [
            {
                "what": found.what,
                "runs": found.runs,
                "before_ms": found.before_ms,
                "after_ms": found.after_ms,
                "ratio": round(found.ratio, 3),
                "before_bytes": found.before_bytes,
                "after_bytes": found.after_bytes,
            }
            for found in outcome.measurements
        ],
        "kept": [_change(change) for change in report.spare if change not in outcome.changes],
        "notes": list(report.notes),
    }


def _change(change: LayoutChange) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "subject": change.subject,
        "why": change.why,
        "statements": list(change.statements),
    }
