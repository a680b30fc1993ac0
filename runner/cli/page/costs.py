"""What the warehouse says that its queries used: by step in this run, and over the last runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.cli.amounts import HEADINGS, amount_text, usage_text
from runner.cli.page import words
from runner.cli.page.markup import Html, join, tag
from runner.cli.page.scale import percent
from runner.cli.page.strip import FEWEST
from runner.cli.page.tables import section, table, twin
from runner.cli.page.view import RunView
from runner.cli.wording import moment, short_id
from runner.records import PipelineRun, StepTiming
from runner.usage import Usage

FIRST = ("cost", "bytes_billed", "bytes_processed", "slot_ms")
"""What is drawn: the first of them that is known."""
MOST = 12


def costs_section(view: RunView) -> Html:
    """Return what the run's queries used; nothing where the warehouse tells nothing."""
    if not view.run.warehouse:
        return join()
    steps = [(job.job_id, timing) for job in view.run.jobs for timing in job.step_timings if timing.warehouse]
    kind = _drawn(timing.warehouse for _, timing in steps)
    told = [each for each in HEADINGS if any(each in (timing.warehouse or {}) for _, timing in steps)]
    ranked = sorted(steps, key=lambda each: _of(each[1].warehouse, kind), reverse=True)
    rows = _rows(
        [(f"{timing.step_id} of {job_id}", timing.warehouse) for job_id, timing in ranked[:MOST]], kind
    )
    head = ("step", "of job", *(HEADINGS[each] for each in told))
    cells = [_cells(job_id, timing, told) for job_id, timing in ranked]
    whole = join(
        table(head, cells, label="What steps used", numbers=head[2:]),
        _runs_table(view.runs, told),
    )
    said = f"{usage_text(view.run.warehouse)}. Bars: {HEADINGS[kind]}, by step."
    return section(
        "Bytes and cost",
        said,
        tag("div", rows, class_="causes"),
        _before(view, kind),
        twin(whole),
        id_="costs",
    )


def _drawn(usages: Iterable[Usage | None]) -> str:
    known = {name for usage in usages for name in usage or ()}
    return next((each for each in FIRST if each in known), "queries")


def _of(usage: Usage | None, kind: str) -> float:
    return float((usage or {}).get(kind) or 0)


def _rows(entries: Sequence[tuple[str, Usage | None]], kind: str) -> list[Html]:
    most = max((_of(usage, kind) for _, usage in entries), default=0.0)
    return [
        tag(
            "div", tag("span", words.name(label), class_="label"),
            tag(
                "svg", tag("rect", x=0, y=4, width=percent(_of(usage, kind), most), height=12, class_="cost"),
                width="100%", height=20, role="img", class_="bar",
                aria_label=f"{label}: {amount_text(kind, _of(usage, kind))}",
            ),
            tag("span", amount_text(kind, (usage or {}).get(kind)), class_="length"), class_="cause-row",
        )
        for label, usage in entries
    ]  # fmt: skip


def _before(view: RunView, kind: str) -> Html | None:
    """One column a run: what it used of the same."""
    values = [_of(run.warehouse, kind) for run in view.runs]
    most, places = max(values), max(len(values), FEWEST)
    if len(values) < 2 or most <= 0:
        return None
    columns = [
        tag(
            "rect", tag("title", f"{moment(run.started_at)} {amount_text(kind, value)}"),
            x=percent(number + 0.14, places), width=percent(0.72, places),
            y=f"{48 - 44 * value / most:.2f}", height=f"{44 * value / most:.2f}", class_="cost",
        )
        for number, (run, value) in enumerate(zip(view.runs, values, strict=True))
    ]  # fmt: skip
    said = f"{HEADINGS[kind]} by run, oldest first: " + ", ".join(amount_text(kind, each) for each in values)
    picture = tag("svg", columns, width="100%", height=50, role="img", aria_label=said, class_="spark")
    return tag("figure", tag("figcaption", f"{HEADINGS[kind]}, run by run"), picture, class_="card wide")


def _cells(job_id: str, timing: StepTiming, told: Sequence[str]) -> list[str | Html]:
    usage = timing.warehouse or {}
    return [
        words.name(timing.step_id), words.name(job_id), *(amount_text(each, usage.get(each)) for each in told)
    ]  # fmt: skip


def _runs_table(runs: Sequence[PipelineRun], told: Sequence[str]) -> Html:
    head = ("run", "started", *(HEADINGS[each] for each in told))
    rows = [
        [
            tag("code", short_id(run.pipeline_run_id)), words.time_of(run.started_at),
            *(amount_text(each, (run.warehouse or {}).get(each)) for each in told),
        ]
        for run in reversed(runs)
    ]  # fmt: skip
    return table(head, rows, label="What runs used", numbers=head[2:])
