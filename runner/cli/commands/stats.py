"""`run-pipeline stats NAME`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import click

from runner.analysis.trend import MIN_VALUES
from runner.cli.amounts import COLUMNS, HEADINGS, amount_text, usage_text
from runner.cli.completion import RunnableName
from runner.cli.console import BOLD, GREEN, RED, Part, Styled
from runner.cli.invocation import Invocation
from runner.cli.no_runs import no_runs_of
from runner.cli.options import RunnerCommand
from runner.cli.period import beginning, period_options
from runner.cli.prediction import Workers, print_prediction
from runner.cli.tables import table
from runner.cli.wording import count, duration, moment

if TYPE_CHECKING:
    from runner.operations import stats

HEAD = ("step", "p50", "p95", "share", "rows/s", "failed")
DAYS = 30
NEWEST = 500
"""Runs that are looked at where nobody says which: so many tell enough, and are read in about half a second."""
EXAMPLE = """run-pipeline stats daily
run-pipeline stats daily --last 90d -o json
run-pipeline stats daily --runs 50
run-pipeline stats daily --what-if max_workers=8"""


@click.command(name="stats", cls=RunnerCommand, example=EXAMPLE)
@click.argument("name", type=RunnableName())
@period_options
@click.option("--runs", type=click.IntRange(min=1), metavar="N", help="Only the newest N of them.")
@click.option("--what-if", "workers", type=Workers(), metavar="max_workers=N", multiple=True,
              help="Predict the run with N workers from recorded times; repeatable.")  # fmt: skip
@click.pass_obj
def command(
    invocation: Invocation,
    name: str,
    since: datetime | None,
    last: float | None,
    runs: int | None,
    workers: tuple[int, ...],
) -> None:
    """Say which steps take how long, and since when.

    Of the newest 500 runs of the last 30 days, unless --last, --since or --runs say otherwise. `share` is the part of
    the runs' time in which a step stood on the critical path: only what has a share makes runs shorter. `trend`
    compares the times before and after the point at which they changed; without a word there is no change beyond the
    noise. Times are of what succeeded. Reads the run store only.

    With --what-if the recorded times go through the real scheduler, on a clock that jumps: as many jobs at once as then
    would be, in the order and with the queues that the project has now.
    """
    of_its_own = since is None and last is None and runs is None
    if of_its_own:
        last, runs = DAYS * 86_400.0, NEWEST
    if workers:
        print_prediction(invocation, name, workers, since=beginning(since, last), runs=runs)
        return
    from runner.operations.stats import measure

    found = measure(invocation.store, name, since=beginning(since, last), runs=runs)
    if not found.runs:
        raise no_runs_of(invocation.store, name, since=beginning(since, last))
    if invocation.output != "table":
        invocation.console.json(found.to_dict(), indent=2 if invocation.output == "json" else None)
        return
    for line in lines_of(found, tells_more=of_its_own):
        invocation.console.data(*line)


def lines_of(found: stats.Statistics, *, tells_more: bool = False) -> Iterator[list[Part]]:
    """Yield statistics as lines: the runs, what holds them up, what went wrong, and each job with its steps.
    `tells_more`: how to have the runs, too, that were left out.
    """
    statuses = ", ".join(f"{number:,} {status}" for status, number in found.statuses.items())
    yield [Styled(found.name, BOLD), f"  {count(found.runs, 'run')} from {moment(found.first)} ({statuses})"]
    yield ["duration    ", *_times(found.times)]
    if (bottleneck := found.bottleneck) is not None:
        name = f"{bottleneck.job_id}/{bottleneck.step_id}"
        yield ["bottleneck  ", Styled(name, BOLD), f" with {_percent(bottleneck.share)} of the critical path"]
    if found.rows_per_second is not None:
        yield [f"rows        {found.rows_per_second:,.1f} written a second"]
    if found.causes:
        yield ["failures    " + ", ".join(f"{cause} {number:,}" for cause, number in found.causes.items())]
    if found.usage:
        yield [f"warehouse   {usage_text(found.usage)} in all"]
    is_trended = any(part.times.trend.word != "unknown" for part in found.parts)
    if 0 < found.times.count < MIN_VALUES and not is_trended:
        yield [f"trend       takes {MIN_VALUES} successful runs; here are {found.times.count:,}"]
    if found.is_cut and tells_more:
        yield [f"left out    older runs of these {DAYS} days: --last {DAYS}d takes all"]
    if found.partial_work:
        yield [f"left out    the times of {count(found.partial_work, 'run')} that retried or rescored"]
    costs = [name for name in COLUMNS if any(name in (part.usage or ()) for part in found.parts)]
    head = (*HEAD, *(HEADINGS[name] for name in costs), *(["trend"] if is_trended else []))
    rows = [[*_row(part, costs), *([_trend(part.times)] if is_trended else [])] for part in found.parts]
    if rows:
        yield [""]
        yield from table(head, rows, right=[name for name in head[1:] if name != "trend"])


def _row(part: stats.Part, costs: list[str]) -> list[Part]:
    times = part.times
    usage = part.usage or {}
    rate = part.rows_per_second
    return [
        f"  {part.step_id}" if part.step_id else Styled(part.job_id, BOLD),
        "-" if times.p50_ms is None else duration(times.p50_ms),
        "-" if times.p95_ms is None else duration(times.p95_ms),
        _percent(part.share) if part.share else "-",
        "-" if rate is None else f"{rate:,.0f}" if rate >= 100 else f"{rate:,.1f}",
        f"{part.failures:,}" if part.failures else "-",
        *(amount_text(name, usage.get(name)) for name in costs),
    ]


def _times(times: stats.Times) -> Iterator[Part]:
    if times.p50_ms is None or times.p95_ms is None:
        yield "none: no whole run has succeeded"
        return
    yield f"p50 {duration(times.p50_ms)}, p95 {duration(times.p95_ms)}"
    if times.trend.since is not None:
        yield "; "
        yield _trend(times)
    elif times.trend.word == "steady":
        yield "; steady"


def _trend(times: stats.Times) -> Part:
    """`slower since 2026-02-12 06:00:00Z: 1.0 s to 1.6 s, +60 %`; nothing where there is no change."""
    found = times.trend
    if found.since is None:
        return "" if found.word == "steady" else "too few runs"
    text = (
        f"{found.word} since {moment(times.since)}: {duration(found.before)} to {duration(found.after)}, "
        f"{100 * found.change:+.0f} %"
    )
    return Styled(text, RED if found.word == "slower" else GREEN)


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %" if part >= 0.01 else "<1 %"
