"""How long jobs and steps took, run by run: small pictures of those that matter, and a table of all."""

from __future__ import annotations

from collections.abc import Sequence

from runner.analysis.history import History, Point
from runner.analysis.quantiles import median, p95
from runner.analysis.trend import MIN_VALUES, Trend
from runner.cli.page import words
from runner.cli.page.markup import Html, join, tag
from runner.cli.page.scale import percent
from runner.cli.page.tables import section, table, twin
from runner.cli.page.view import RunView
from runner.cli.wording import count, duration, moment
from runner.records import Status

MOST_CARDS = 12
HEIGHT, FLOOR, ROOM = 60, 54, 46
"""Pixels of a small picture: its height, where 0 is, and how far above that the longest is."""
WORDS = {
    "slower": "▲ slower",
    "faster": "▼ faster",
    "steady": "● steady",
    "unknown": "",
}
HEAD = ("step", "of job", "runs", "median", "95 %", "last", "trend", "on the path", "rows/s", "queue")


def trends_section(view: RunView) -> Html:
    """Return the section of trends; nothing where there is only one run."""
    if len(view.runs) < 2 or not view.series:
        return join()
    steps = [history for history in view.series.values() if history.step_id]
    trends = {(each.job_id, each.step_id): each.trend for each in view.series.values()}
    ranked = sorted(steps, key=lambda each: _weight(each, trends[each.job_id, each.step_id]), reverse=True)
    chosen = [each for each in ranked if each.durations][:MOST_CARDS]
    cards = [_card(view, each, trends[each.job_id, each.step_id]) for each in chosen]
    said = _lead([trends[each.job_id, each.step_id] for each in steps], len(steps))
    if len(steps) > len(chosen):
        said += f"; shown are the {len(chosen)} that matter most for the run's length, all are in the table"
    rows = [_row(each, trends[each.job_id, each.step_id]) for each in view.series.values()]
    whole = table(HEAD, rows, label="Jobs and steps over the last runs", numbers=(*HEAD[2:6], *HEAD[7:]))
    return section(
        "Steps over time", f"{said}.", tag("div", cards, class_="cards"), twin(whole), id_="trends"
    )


def _lead(trends: Sequence[Trend], steps: int) -> str:
    if all(trend.word == "unknown" for trend in trends):
        return f"Too few runs for a trend: that takes {MIN_VALUES}"
    changed = sum(trend.word in ("slower", "faster") for trend in trends)
    return (
        f"{changed} of {steps} steps became slower or faster"
        if changed
        else "No step became slower or faster"
    )


def _weight(history: History, trend: Trend) -> tuple[bool, float, float]:
    """What has become slower first, then what made runs long, then what is long."""
    return (
        trend.word == "slower",
        round(history.share, 3),
        median(history.durations) if history.durations else 0.0,
    )


def _card(view: RunView, history: History, trend: Trend) -> Html:
    points = _of_all_runs(view, history)
    durations = history.durations
    change = f" {words.change(trend.after, trend.before)}" if trend.word in ("slower", "faster") else ""
    since = _since(history, trend)
    return tag(
        "figure",
        tag(
            "figcaption", words.name(history.step_id), " ", tag("span", history.op, class_="op"),
            tag("span", "of ", words.name(history.job_id), class_="of"),
        ),
        _sparkline(history, trend, points),
        tag(
            "p", tag("span", duration(durations[-1]), class_="figure"),
            f" last, median {duration(median(durations))}  ",
            tag("span", f"{WORDS[trend.word]}{change}", class_=f"trend {trend.word}"), since,
        ),
        class_="card",
    )  # fmt: skip


def _since(history: History, trend: Trend) -> str:
    return f" since {moment(history.successes[trend.since].at)}" if trend.since is not None else ""


def _of_all_runs(view: RunView, history: History) -> list[Point | None]:
    """A point for each of the runs, None where the step did not run."""
    found = {point.run_id: point for point in history.points}
    return [found.get(run.pipeline_run_id) for run in view.runs]


def _sparkline(history: History, trend: Trend, points: Sequence[Point | None]) -> Html:
    longest = max((point.duration_ms for point in points if point), default=0.0)
    number = len(points)

    def height(ms: float) -> float:
        return FLOOR - (ROOM * ms / longest if longest > 0 else 0)

    line = " ".join(
        f"{100 * (place + 0.5) / number:.3f},{height(point.duration_ms):.2f}"
        for place, point in enumerate(points)
        if point and point.whole
    )
    curve = tag(
        "svg", tag("polyline", points=line, class_="line", vector_effect="non-scaling-stroke"),
        viewBox=f"0 0 100 {HEIGHT}", preserveAspectRatio="none", width="100%", height=HEIGHT,
    )  # fmt: skip
    said = f"{history.step_id} of {history.job_id}, oldest first: " + ", ".join(
        duration(point.duration_ms) for point in points if point
    )
    level = height(median(history.durations))
    return tag(
        "svg",
        tag("line", x1="0%", x2="100%", y1=FLOOR, y2=FLOOR, class_="grid"),
        tag("line", x1="0%", x2="100%", y1=f"{level:.2f}", y2=f"{level:.2f}", class_="median"),
        curve,
        _change_line(history, trend, points),
        [
            _dot(point, percent(place + 0.5, number), height(point.duration_ms))
            for place, point in enumerate(points)
            if point
        ],
        width="100%", height=HEIGHT, role="img", aria_label=said, class_="spark", data_kind="spark",
    )  # fmt: skip


def _change_line(history: History, trend: Trend, points: Sequence[Point | None]) -> Html | None:
    if trend.since is None:
        return None
    first = history.successes[trend.since]
    place = next(number for number, point in enumerate(points) if point is first)
    x = percent(place, len(points))
    return tag("line", x1=x, x2=x, y1=4, y2=FLOOR, class_="since")


def _dot(point: Point, x: str, y: float) -> Html:
    # A step that went well in a job that did not has perhaps done a part of its work only.
    status = Status.PARTIAL if point.status is Status.SUCCESS and not point.whole else point.status
    said = tag(
        "title",
        f"{moment(point.at)} {status.value} {duration(point.duration_ms)}, {count(point.rows, 'row')}",
    )
    if point.whole:
        return tag("circle", said, cx=x, cy=f"{y:.2f}", r=2.2, class_="dot")
    mark = words.MARKS[status]
    return tag("text", said, mark, x=x, y=f"{y + 4:.2f}", text_anchor="middle", class_=f"mark {status.value}")


def _row(history: History, trend: Trend) -> list[str | Html]:
    durations = history.durations
    change = f" {words.change(trend.after, trend.before)}" if trend.word in ("slower", "faster") else ""
    rate = history.rows_per_second
    return [
        words.name(history.step_id) if history.step_id else tag("span", "(all)", class_="op"),
        words.name(history.job_id),
        count(len(history.points)),
        duration(median(durations)) if durations else "-",
        duration(p95(durations)) if durations else "-",
        duration(history.points[-1].duration_ms),
        "-" if trend.word == "unknown" else WORDS[trend.word] + change + _since(history, trend),
        words.share(history.share),
        "-" if rate is None else f"{rate:,.0f}" if rate >= 10 else f"{rate:.2f}",
        "-" if history.step_id else duration(median([point.queue_ms for point in history.points])),
    ]
