"""`run-pipeline diff RUN RUN`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from runner.cli.completion import RunReference
from runner.cli.console import BOLD, GREEN, RED, YELLOW, Part, Styled
from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand
from runner.cli.tables import table
from runner.cli.wording import count, duration, moment
from runner.records import PipelineRun, Status

if TYPE_CHECKING:
    from runner.operations.diff import Change, Difference

HEAD = ("step", "before", "after", "change", "", "rows", "status")
NOISE = 0.1
"""A smaller change of a duration is not colored: runs differ by as much for no reason."""
NOISE_MS = 5.0
"""Nor is one of less than this; and as a part of next to nothing it says nothing."""
EXAMPLE = """run-pipeline diff
run-pipeline diff daily
run-pipeline diff 01KH4SATJ0
run-pipeline diff 01KH4SATJ0 01KH50W3QA -o json"""


@click.command(name="diff", cls=RunnerCommand, example=EXAMPLE)
@click.argument("before", metavar="[RUN]", type=RunReference(), required=False)
@click.argument("after", metavar="[RUN]", type=RunReference(), required=False)
@click.pass_obj
def command(invocation: Invocation, before: str | None, after: str | None) -> None:
    """Set two runs side by side, the greatest change first.

    Each RUN is an id, the beginning of one, `last`, `last-failed`, or the name of a pipeline or job, whose last run is
    meant. One alone is compared with the last run of its name; and the last one, which needs no word, with the success
    before it. A step that handled another number of rows may well take another time: rows stand beside it. Reads the
    run store only.
    """
    from runner.operations.diff import compare, pair

    found = compare(*pair(invocation.store, before, after))
    if invocation.output != "table":
        invocation.console.json(found.to_dict(), indent=2 if invocation.output == "json" else None)
        return
    for line in lines_of(found):
        invocation.console.data(*line)


def lines_of(found: Difference) -> Iterator[list[Part]]:
    """Yield two runs as lines: each of them, the change as a whole, and each job with its steps."""
    for name, run in (("before", found.before), ("after", found.after)):
        yield [name.ljust(8), *_run(run)]
    change = found.run
    yield ["change  ", _delta(change), *([" ", ratio] if (ratio := _ratio(change)) else [])]
    if found.before.pipeline_run_id == found.after.pipeline_run_id:
        yield [Styled("this is one run, twice", YELLOW)]
    if found.before.pipeline_id != found.after.pipeline_id:
        yield [Styled("these are runs of different names", YELLOW)]
    for name, run in (("before", found.before), ("after", found.after)):
        if not run.is_whole:
            what = "retry" if run.retry_of else "rescore"
            yield [Styled(f"{name} is a {what}: it did only a part of the work", YELLOW)]
    rows = [_row(each) for job, steps in found.jobs for each in (job, *steps)]
    if rows:
        yield [""]
        yield from table(HEAD, rows, right=HEAD[1:6])


def _run(run: PipelineRun) -> Iterator[Part]:
    workers = f", at most {count(run.max_workers, 'worker')}" if run.max_workers else ""
    yield Styled(run.pipeline_run_id, BOLD)
    so_far = "for" if run.status is Status.RUNNING else "in"
    yield f" {run.pipeline_id}: {run.status} {so_far} {duration(run.duration_ms)}{workers}, {moment(run.started_at)}"


def _row(change: Change) -> list[Part]:
    before, after = change.before, change.after
    rows = [count(side.rows) for side in (before, after) if side is not None]
    return [
        f"  {change.step_id}" if change.step_id else Styled(change.job_id, BOLD),
        "-" if before is None else duration(before.duration_ms),
        "-" if after is None else duration(after.duration_ms),
        _delta(change),
        _ratio(change),
        " to ".join(dict.fromkeys(rows)),
        _status(change),
    ]


def _delta(change: Change) -> Part:
    taken = duration(abs(change.delta_ms))
    text = ("-" if change.delta_ms < 0 and taken != duration(0) else "+") + taken
    return Styled(text, _style(change)) if _style(change) else text


def _ratio(change: Change) -> Part:
    if change.ratio is None or abs(change.delta_ms) < NOISE_MS:
        return ""
    text = f"{100 * change.ratio:+.0f} %"
    return Styled(text, _style(change)) if _style(change) else text


def _style(change: Change) -> str:
    if change.ratio is None or abs(change.ratio) < NOISE or abs(change.delta_ms) < NOISE_MS:
        return ""
    return RED if change.ratio > 0 else GREEN


def _status(change: Change) -> Part:
    """What is new or gone, or how its end differs; nothing where both ended alike."""
    if change.before is None or change.after is None:
        return Styled(change.word, YELLOW)
    if change.before.status is change.after.status:
        return ""
    return Styled(f"{change.before.status} to {change.after.status}", YELLOW)
