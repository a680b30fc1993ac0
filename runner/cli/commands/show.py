"""`run-pipeline show`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from runner.cli.amounts import COLUMNS, HEADINGS, amount_text, usage_text
from runner.cli.completion import RunReference
from runner.cli.console import BOLD, DIM, RED, YELLOW, Part, Styled
from runner.cli.escaping import lines
from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.cli.sentences import error_text, rows_text, slower_text, warning_text
from runner.cli.status import styled_status
from runner.cli.tables import table
from runner.cli.wording import count, duration, moment
from runner.records import PipelineRun, RunRecord, Status, StepTiming

JOB_HEAD = ("job", "status", "queue", "duration", "read", "written")
STEP_HEAD = ("step", "op", "status", "share", "duration", "in", "out")
TIMELINE_SCHEMA = "run-pipeline/timeline.v1"
RUN_KEYS = ("pipeline_run_id", "pipeline_id", "status", "started_at", "completed_at", "max_workers")
EXAMPLE = """run-pipeline show
run-pipeline show last-failed
run-pipeline show last --gantt
run-pipeline show 01KH4SATJ0 -o json"""


@click.command(name="show", cls=RunnerCommand, example=EXAMPLE)
@click.argument("run", type=RunReference(), default="last")
@click.option("--gantt", is_flag=True, help="Its jobs as bars: waits, critical path; with -v steps, too.")
@click.pass_obj
def command(invocation: Invocation, run: str, gantt: bool) -> None:
    """Show one run: its jobs, steps, times and errors.

    RUN is an id, the beginning of one, `last` (the default), `last-failed`, or the name of a pipeline or job, whose
    last run is meant. Reads the run store only, also while the run goes on. `share` is a step's part of its job's time.
    With --gantt and -o json: where each bar begins and ends, in milliseconds from the start of the run, and the
    segments of the critical path.
    """
    store = invocation.store
    found = store.load(store.resolve(run))
    if gantt:
        _gantt(invocation, found)
        return
    if invocation.output != "table":
        invocation.console.json(found.to_dict(), indent=2 if invocation.output == "json" else None)
        return
    for line in run_lines(found, idle_steps=invocation.verbosity > 0):
        invocation.console.data(*line)


def _gantt(invocation: Invocation, run: PipelineRun) -> None:
    import shutil

    from runner.analysis.critical_path import critical_path
    from runner.analysis.timeline import timeline
    from runner.cli.gantt import ASCII, BLOCKS, gantt
    from runner.clock import utc_now

    console = invocation.console
    bars = timeline(run, now=utc_now())
    path = critical_path(run, bars)
    if invocation.output != "table":
        data: dict[str, Any] = {
            "schema": TIMELINE_SCHEMA,
            **{name: run.to_dict(jobs=False)[name] for name in RUN_KEYS},
            **bars.to_dict(),
            "critical_path": path.to_dict(),
        }
        console.json(data, indent=2 if invocation.output == "json" else None)
        return
    head: list[Part] = [
        "run       ", Styled(run.pipeline_run_id, BOLD), f" {run.pipeline_id} ", styled_status(run.status)
    ]  # fmt: skip
    glyphs = BLOCKS if console.can_encode("".join(BLOCKS)) else ASCII
    columns = shutil.get_terminal_size((100, 24)).columns
    lines_of = gantt(bars, path, columns=columns, glyphs=glyphs, steps=invocation.verbosity > 0)
    for line in (head, *lines_of):
        console.data(*line)


def run_lines(run: PipelineRun, *, idle_steps: bool = False) -> Iterator[list[Part]]:
    """Yield a run as lines: the run, its jobs, their steps, and what went wrong.

    `idle_steps`: also the steps of jobs that found nothing to do.
    """
    yield ["run       ", Styled(run.pipeline_run_id, BOLD), f" {run.pipeline_id}"]
    if run.retry_of:
        yield [f"retry of  {run.retry_of}"]
    yield ["status    ", styled_status(run.status)]
    yield [f"started   {moment(run.started_at)}"]
    workers = f", at most {count(run.max_workers, 'worker')}" if run.max_workers else ""
    taken = f"{duration(run.duration_ms)}, after {duration(run.setup_ms)} of setting up{workers}"
    yield ["duration  ", taken, _bottleneck(run)]
    for name, value in run.params.items():
        yield [f"with      {name} = {value}"]
    yield [f"rows      {rows_text(run.rows_read, run.rows_written)}"]
    if run.warehouse:
        yield [f"warehouse {usage_text(run.warehouse)}"]
    if run.regressions:
        yield ["slower    ", Styled(slower_text(run.regressions), YELLOW)]
    if run.jobs:
        yield [""]
        yield from table(JOB_HEAD, [_job_row(job) for job in run.jobs], right=JOB_HEAD[2:])
    idle = [job for job in run.jobs if _was_idle(job)] if len(run.jobs) > 1 and not idle_steps else []
    for job in run.jobs:
        if job.step_timings and job not in idle:
            yield from _steps(job)
    if idle:
        yield [""]
        yield [f"{count(len(idle), 'job')} found nothing to do; their steps: show -v"]
    yield from _warnings(run)
    yield from _errors(run)


def _bottleneck(run: PipelineRun) -> str:
    """Say which step of a run of several jobs took the greatest part of its critical path; of one that was killed it is
    not known.
    """
    if len(run.jobs) < 2 or run.status in (Status.RUNNING, Status.CRASHED):
        return ""
    from runner.analysis.critical_path import critical_path
    from runner.analysis.history import bottleneck_of, shares_of

    shares = shares_of(run, critical_path(run))
    worst = bottleneck_of(shares)
    return f"; bottleneck {'/'.join(worst)}, {100 * shares[worst]:.0f} % of it" if worst else ""


def _was_idle(job: RunRecord) -> bool:
    """Whether the job looked, found nothing, and was done: of several jobs, its steps tell nothing."""
    return job.status is Status.SUCCESS and not (job.rows_read or job.rows_written)


def _job_row(job: RunRecord) -> list[Part]:
    return [
        f"{job.group}/{job.job_id}" if job.group else job.job_id,
        styled_status(job.status),
        duration(job.queue_ms),
        duration(job.duration_ms),
        count(job.rows_read),
        count(job.rows_written),
    ]


def _steps(job: RunRecord) -> Iterator[list[Part]]:
    yield [""]
    yield [Styled(job.job_id, BOLD), _indicators(job)]
    total = sum(timing.duration_ms for timing in job.step_timings)
    costs = [name for name in COLUMNS if any(name in (timing.warehouse or ()) for timing in job.step_timings)]
    head = (*STEP_HEAD, *(HEADINGS[name] for name in costs))
    rows = [[*_step_row(timing, total), *_costs(timing, costs)] for timing in job.step_timings]
    for line in table(head, rows, right=head[3:]):
        yield ["  ", *line]


def _costs(timing: StepTiming, names: Sequence[str]) -> Iterator[str]:
    """What a step used of the warehouse, where anything of the job did."""
    for name in names:
        yield amount_text(name, (timing.warehouse or {}).get(name))


def _step_row(timing: StepTiming, total: float) -> list[Part]:
    share = f"{100 * timing.duration_ms / total:.0f} %" if total else "-"
    coming = timing.rows_read if timing.rows_read is not None else timing.rows_in
    leaving = timing.rows_written if timing.rows_written is not None else timing.rows_out
    return [
        timing.step_id,
        timing.op,
        styled_status(timing.status),
        share,
        duration(timing.duration_ms),
        count(coming),
        count(leaving),
    ]


def _indicators(job: RunRecord) -> str:
    """Say what there is to say: nothing of reading in a job that reads no table, and so on."""
    found = job.performance_indicators
    if found is None:
        return ""
    ops = {timing.op for timing in job.step_timings}
    texts = [
        f"query {found.query_efficiency}" if "read" in ops else "",
        f"transform {found.transform_throughput:,.2f} rows/s" if found.transform_throughput else "",
        f"write {found.write_throughput:,.2f} rows/s" if found.write_throughput else "",
        f"longest step {found.bottleneck_step}" if found.bottleneck_step else "",
    ]
    return "  " + ", ".join(text for text in texts if text)


def _warnings(run: PipelineRun) -> Iterator[list[Part]]:
    found = [(job.job_id, warning) for job in run.jobs for warning in job.warnings]
    if found:
        yield [""]
    for job_id, warning in found:
        first, *rest = lines(warning_text(warning))
        yield [Styled("warning", YELLOW), f" in {job_id}: {first}"]
        for line in rest:
            yield [f"  {line}"]


def _errors(run: PipelineRun) -> Iterator[list[Part]]:
    found = [("run", error) for error in run.errors]
    found += [(job.job_id, error) for job in run.jobs for error in job.errors]
    if found:
        yield [""]
    for owner, error in found:
        first, *rest = lines(error_text(error))
        if error.category == "skipped":
            yield [Styled("skipped", DIM), f" {owner}: {error.message}"]
            continue
        yield [Styled("error", RED), f" in {owner}: {first}"]
        for line in rest:
            yield [f"  {line}"]
