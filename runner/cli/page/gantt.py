"""A run as bars: a row a job, time from left to right, with its steps below for who opens it.

Each bar is an SVG of the width that there is, and all places in it are percent of the time that is shown
(`data-whole-ms`). A rectangle says what it is by `data-kind`: `usual` (the median of the runs before), `queue` (ready,
but without a slot), `run`, `critical` (a piece on the critical path), `step`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from runner.analysis.critical_path import WAIT_MS
from runner.analysis.timeline import Bar, StepBar
from runner.cli.page import words
from runner.cli.page.markup import Html, join, tag
from runner.cli.page.scale import percent, tick_text, ticks
from runner.cli.page.tables import section, table, twin
from runner.cli.page.view import RunView
from runner.cli.wording import count, duration
from runner.records import RunRecord, Status

Span = tuple[float, float]
BAR_HEIGHT, STEP_HEIGHT = 26, 16
MANY_JOBS = 30
"""Beyond so many, jobs that neither took long nor went wrong are folded away behind the rest."""
SHORT = 0.005
"""A part of the run; a job that took less and did not fail is not what anybody looks for among many."""

HEAD = (
    "job",
    "status",
    "ready",
    "began",
    "ended",
    "waited",
    "took",
    "usual",
    "on the path",
    "read",
    "written",
)


def gantt(view: RunView) -> Html:
    """Return the section with the bars of a run."""
    bars = view.bars
    if not bars.bars:
        return section("Timeline", "No job has begun.", id_="timeline")
    first, folded = _sorted_out(view)
    critical = _critical(view)
    rows = [_row(view, bar, critical.get(bar.job_id, [])) for bar in first]
    if folded:
        said = f"{count(len(folded), 'job')} more, each below {100 * SHORT:g} % of the run"
        hidden = [_row(view, bar, critical.get(bar.job_id, [])) for bar in folded]
        rows.append(tag("details", tag("summary", said), hidden, class_="more"))
    figure = tag(
        "div", _axis(view.whole_ms), rows, class_="gantt", data_whole_ms=view.whole_ms, data_kind="gantt"
    )
    return section("Timeline", _lead(view), _legend(view), figure, twin(_table(view)), id_="timeline")


def _lead(view: RunView) -> str:
    bars = view.bars
    if len(bars.bars) == 1 and not bars.not_begun:
        return "One job, with its steps."
    said = (
        f"{count(len(bars.bars), 'job')}, {bars.lanes} at once at most. Added up they took {duration(bars.busy_ms)}, "
        f"{bars.speedup:.1f} times the run."
    )
    if bars.not_begun:
        # A run that goes on tells of those alone that will not begin any more.
        running = view.run.status is Status.RUNNING
        said += f" {count(len(bars.not_begun), 'job')} {'skipped' if running else 'never began'}."
    return f"{said} Open a job to see its steps."


def _sorted_out(view: RunView) -> tuple[list[Bar], list[Bar]]:
    """The bars that are seen at once, and those that are folded away, each in the order of the plan."""
    bars = view.bars.bars
    if len(bars) <= MANY_JOBS:
        return list(bars), []
    on_path = set(view.path.jobs)
    least = SHORT * view.bars.duration_ms
    seen = [
        bar for bar in bars
        if bar.job_id in on_path or bar.status is not Status.SUCCESS or bar.duration_ms + bar.queue_ms >= least
    ]  # fmt: skip
    return seen, [bar for bar in bars if bar not in seen]


def _critical(view: RunView) -> Mapping[str, list[Span]]:
    found: dict[str, list[Span]] = {}
    for segment in view.path.segments:
        if segment.kind == "job":
            found.setdefault(segment.job_id, []).append((segment.start_ms, segment.end_ms))
    return found


def _row(view: RunView, bar: Bar, critical: list[Span]) -> Html:
    whole = view.whole_ms
    usual = view.usual_ms(bar.job_id)
    mark = [tag("span", "◆", class_="on-path", title="on the critical path"), " "] if critical else None
    status = None if bar.status is Status.SUCCESS else [words.pill(bar.status), " "]
    label = tag("span", mark, words.name(bar.job_id), " ", status, class_="label")
    length = tag("span", duration(bar.duration_ms) + ("…" if bar.open else ""), class_="length")
    picture = _picture(bar, critical, usual, whole)
    steps = tag("div", [_step_row(view, bar, step) for step in bar.steps], class_="steps")
    alone = len(view.bars.bars) == 1
    return tag(
        "details", tag("summary", label, picture, length), steps,
        class_=f"row {bar.status.value}", data_job=bar.job_id, open=alone,
    )  # fmt: skip


def _picture(bar: Bar, critical: list[Span], usual: float | None, whole: float) -> Html:
    said = _said(bar, usual, on_path=bool(critical))
    return tag(
        "svg",
        tag("title", said),
        _grid(whole),
        _rect("usual", (bar.start_ms, bar.start_ms + usual), whole, y=2, height=22) if usual else None,
        _rect("queue", (bar.ready_ms, bar.start_ms), whole, y=11, height=4) if bar.queue_ms >= WAIT_MS else None,
        _rect("run", (bar.start_ms, bar.end_ms), whole, y=6, height=14),
        [_rect("critical", span, whole, y=6, height=14) for span in critical],
        # A bar of no width is seen by its edge.
        tag("line", x1=percent(bar.start_ms, whole), x2=percent(bar.start_ms, whole), y1=6, y2=20, class_="edge"),
        width="100%", height=BAR_HEIGHT, role="img", aria_label=f"{bar.job_id}: {said}", class_="bar",
    )  # fmt: skip


def _step_row(view: RunView, bar: Bar, step: StepBar) -> Html:
    whole = view.whole_ms
    usual = view.usual_ms(bar.job_id, step.step_id)
    said = f"{step.op} took {duration(step.duration_ms)}" + (f", usually {duration(usual)}" if usual else "")
    span = (step.start_ms, step.start_ms + step.duration_ms)
    picture = tag(
        "svg", tag("title", said), _grid(whole, STEP_HEIGHT),
        _rect("step", span, whole, y=4, height=8, data_step=step.step_id),
        tag("line", x1=percent(span[0], whole), x2=percent(span[0], whole), y1=4, y2=12, class_="edge"),
        width="100%", height=STEP_HEIGHT, role="img", aria_label=f"{step.step_id}: {said}", class_="bar",
    )  # fmt: skip
    label = tag(
        "span", words.name(step.step_id), " ", tag("span", step.op, class_="op"), " ",
        None if step.status is Status.SUCCESS else words.pill(step.status), class_="label",
    )  # fmt: skip
    return tag("div", label, picture, tag("span", duration(step.duration_ms), class_="length"), class_="step")


def _said(bar: Bar, usual: float | None, *, on_path: bool) -> str:
    parts = [f"{bar.status.value}, began at {duration(bar.start_ms)}, took {duration(bar.duration_ms)}"]
    if usual:
        parts.append(f"usually {duration(usual)} ({words.change(bar.duration_ms, usual)})")
    if bar.queue_ms >= WAIT_MS:
        parts.append(f"waited {duration(bar.queue_ms)} for a slot")
    if on_path:
        parts.append("on the critical path")
    return ", ".join(parts)


def _rect(kind: str, span: Span, whole: float, *, y: int, height: int, **more: str) -> Html:
    start, end = span
    place, width = percent(start, whole), percent(max(0.0, end - start), whole)
    return tag("rect", x=place, y=y, width=width, height=height, class_=kind, data_kind=kind, **more)


@lru_cache(maxsize=16)
def _grid(whole: float, height: int = BAR_HEIGHT) -> Html:
    """The lines at the ticks: the same in every row."""
    places = [percent(tick, whole) for tick in ticks(whole)]
    return join(tag("line", x1=each, x2=each, y1=0, y2=height, class_="grid") for each in places)


def _axis(whole: float) -> Html:
    texts = [
        tag("text", tick_text(tick), x=percent(tick, whole), y=12, text_anchor=_anchor(tick, whole))
        for tick in ticks(whole)
    ]
    picture = tag("svg", texts, width="100%", height=16, aria_hidden="true", class_="scale")
    return tag("div", tag("span", class_="label"), picture, tag("span", class_="length"), class_="axis")


def _anchor(place: float, whole: float) -> str:
    """Keep the texts at both ends within the picture."""
    return "start" if place <= 0 else "end" if place > 0.95 * whole else "middle"


def _legend(view: RunView) -> Html:
    told = [("critical", "◆ on the critical path"), ("run", "ran")]
    if any(bar.queue_ms >= WAIT_MS for bar in view.bars.bars):
        told.append(("queue", "waited for a slot"))
    if view.usual:
        told.append(("usual", "usual length: median of the runs before"))
    return tag("ul", [tag("li", _swatch(kind), said) for kind, said in told], class_="legend")


def _swatch(kind: str) -> Html:
    y, height = {"queue": (5, 4), "usual": (1, 12)}.get(kind, (2, 10))
    rect = tag("rect", x=1, y=y, width=20, height=height, class_=kind)
    return tag("svg", rect, width=22, height=14, aria_hidden="true", class_="swatch")


def _table(view: RunView) -> Html:
    jobs = {job.job_id: job for job in view.run.jobs}
    rows = [_table_row(view, bar, jobs[bar.job_id]) for bar in view.bars.bars]
    rows += [
        [words.name(job_id), words.pill(jobs[job_id].status), *("-" for _ in HEAD[2:])]
        for job_id in view.bars.not_begun
    ]
    return join(
        table(HEAD, rows, label="Jobs of the run", numbers=HEAD[2:]),
        table(STEP_HEAD, _step_rows(view), label="Steps of the jobs", numbers=STEP_HEAD[4:]),
    )


def _table_row(view: RunView, bar: Bar, job: RunRecord) -> list[str | Html]:
    usual = view.usual_ms(bar.job_id)
    return [
        words.name(bar.job_id),
        words.pill(bar.status),
        duration(bar.ready_ms),
        duration(bar.start_ms),
        "-" if bar.open else duration(bar.end_ms),
        duration(bar.queue_ms),
        duration(bar.duration_ms),
        duration(usual) if usual is not None else "-",
        words.share(view.share(bar.job_id)),
        count(job.rows_read),
        count(job.rows_written),
    ]


STEP_HEAD = ("step", "of job", "op", "status", "took", "usual", "on the path", "rows in", "rows out")


def _step_rows(view: RunView) -> Iterator[list[str | Html]]:
    for job in view.run.jobs:
        for step in job.step_timings:
            usual = view.usual_ms(job.job_id, step.step_id)
            yield [
                words.name(step.step_id),
                words.name(job.job_id),
                step.op,
                words.pill(step.status),
                duration(step.duration_ms),
                duration(usual) if usual is not None else "-",
                words.share(view.share(job.job_id, step.step_id)),
                count(step.rows_read if step.rows_read is not None else step.rows_in),
                count(step.rows_written if step.rows_written is not None else step.rows_out),
            ]
