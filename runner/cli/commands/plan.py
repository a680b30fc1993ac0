"""`run-pipeline plan NAME`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import click

from runner.cli.commands.run import AsOf, check_name, parameters
from runner.cli.completion import RunnableName, Setting
from runner.cli.console import BOLD, DIM, Part, Styled
from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.cli.wording import count, moment, queue_text

if TYPE_CHECKING:
    from runner.operations.plan import JobOutline, PlannedStep, RowCounts
    from runner.pipeline_runner import PipelineRunner
    from runner.specs import RunPlan

EXAMPLE = """run-pipeline plan daily
run-pipeline plan form_obs_intake_01 --count"""


@click.command(name="plan", cls=RunnerCommand, example=EXAMPLE)
@click.argument("name", type=RunnableName())
@click.option(
    "--count", "counted", is_flag=True, help="Also count rows: opens the warehouse, changes nothing."
)
@click.option("--max-workers", type=click.IntRange(1, 1000), help="As for run.")
@click.option("--set", "settings", type=Setting(), metavar="NAME=VALUE", multiple=True, help="As for run.")
@click.option("--as-of", type=AsOf(), metavar="TIME", help="As for run.")
@click.pass_obj
def command(
    invocation: Invocation,
    name: str,
    counted: bool,
    max_workers: int | None,
    settings: tuple[str, ...],
    as_of: datetime | None,
) -> None:
    """Show what a run would read and write, and its SQL.

    Checks everything that `run` checks before it starts. `new` rows are those that a run would read;
    `present` have a row in the target, `remembered` gave none when they were read, and rows without a key
    come back every time.
    """
    given = parameters(settings)
    check_name(invocation, name)
    from runner.cli.loop import with_runner
    from runner.operations.plan import counted_outline, outline

    async def work(pipelines: PipelineRunner) -> tuple[RunPlan, list[JobOutline]]:
        plan = pipelines.plan(name, params=given, as_of=as_of, max_workers=max_workers)
        return plan, await counted_outline(pipelines, plan) if counted else outline(pipelines, plan)

    plan, outlines = with_runner(invocation, work)
    if invocation.output == "json":
        invocation.console.json([asdict(each) for each in outlines])
    elif invocation.output == "jsonl":
        for each in outlines:
            invocation.console.json(asdict(each), indent=None)
    else:
        for line in plan_lines(plan, outlines):
            invocation.console.data(*line)


def plan_lines(plan: RunPlan, outlines: list[JobOutline]) -> Iterator[list[Part]]:
    """Yield a plan as lines, job by job in the order of the plan."""
    workers = f", at most {count(plan.max_workers, 'worker')}" if plan.max_workers else ""
    yield [Styled(plan.name, BOLD), f": {count(len(outlines), 'job')}{workers}, as of {moment(plan.as_of)}"]
    for each in outlines:
        yield [""]
        group = f"  {each.group}" if each.group else ""
        yield [Styled(each.job_id, BOLD), group, f"  queue {queue_text(each.queue, each.priority)}"]
        for name, value in each.params.items():
            yield [f"  with {name} = {value}"]
        for step in each.steps:
            yield from _step_lines(step)


def _step_lines(step: PlannedStep) -> Iterator[list[Part]]:
    subject = step.table or step.function
    how = f", {step.mode}" + (f" by {', '.join(step.key)}" if step.key else "") if step.mode else ""
    rows = f", only rows {step.incremental}" if step.incremental else ""
    about = f": {subject}{how}{rows}" if subject else ""
    yield [f"  {step.op:<8}", Styled(step.step_id, BOLD), about]
    if step.counts is not None:
        yield [f"          {counts_text(step.counts)}"]
    for line in step.statement.splitlines():
        yield [Styled(f"          {line}", DIM)]
    for value in step.values:
        yield [Styled(f"          -- {value}", DIM)]


def counts_text(counts: RowCounts) -> str:
    """Return `60 rows: 10 new, 50 present, 0 remembered, 0 without a key`."""
    if counts.incremental is None:
        why = f": {counts.missing} does not exist yet" if counts.missing else ""
        return f"{count(counts.rows, 'row')} to read{why}"
    part = counts.incremental
    stale = f" ({count(part.stale)} of them older in the target)" if part.stale else ""
    return (
        f"{count(part.total, 'row')}: {count(part.new)} new{stale}, {count(part.present)} present,"
        f" {count(part.remembered)} remembered, {count(part.null_key)} without a key"
    )
