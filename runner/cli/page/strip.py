"""The last runs side by side: a column a run, as high as it was long; one that did not succeed has a mark below."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runner.analysis.history import usual_length
from runner.cli.page import words
from runner.cli.page.markup import Html, tag
from runner.cli.page.scale import percent
from runner.cli.page.tables import section, table, twin
from runner.cli.wording import count, duration, moment, short_id
from runner.records import PipelineRun, Status

Link = Callable[[str], str]
"""Where the page of a run is, by its id."""

TOP, HIGHEST, BASE = 8, 44, 52
"""Pixels: where columns end at most, how high they are, where they stand."""
FEWEST = 15
"""Places for so many columns at least: one run is a column, not a wall."""

HEAD = ("run", "status", "started", "took", "read", "written")


def strip_section(runs: Sequence[PipelineRun], chosen: str, link: Link | None) -> Html:
    """Return the section with the last runs, oldest first; `chosen` is the id of the one that the page is about."""
    bad = [run for run in runs if run.status not in (Status.SUCCESS, Status.RUNNING)]
    said = (
        f"Of the last {len(runs)} runs, {_went(len(bad))}" if len(runs) > 1 else "The only run that is known"
    )
    usual = usual_length(runs)
    if usual is not None and len(runs) > 1:
        said += f"; one that succeeds usually takes {duration(usual)} (dashed)"
    return section(
        "Last runs",
        f"{said}.",
        strip(runs, chosen=chosen, link=link),
        twin(runs_table(runs[::-1], link)),
        id_="runs",
    )


def _went(bad: int) -> str:
    return f"{bad} did not succeed" if bad else "none went wrong"


def strip(
    runs: Sequence[PipelineRun], *, chosen: str = "", link: Link | None = None, label: str = ""
) -> Html:
    """Return the columns of runs, oldest first. With `link` each leads to its run."""
    places = max(len(runs), FEWEST)
    longest = max((run.duration_ms for run in runs), default=0.0)
    usual = usual_length(runs)
    dashed = None
    if usual is not None and longest > 0:
        y = BASE - HIGHEST * usual / longest
        dashed = tag(
            "line", x1="0%", x2=percent(len(runs), places), y1=f"{y:.2f}", y2=f"{y:.2f}", class_="median"
        )
    columns = [
        _column(run, number, places, longest, chosen=run.pipeline_run_id == chosen, link=link)
        for number, run in enumerate(runs)
    ]
    said = label or "The last runs, oldest first: " + ", ".join(run.status.value for run in runs)
    return tag(
        "svg", dashed, columns, width="100%", height=72, class_="strip",
        # A picture has no parts for who only listens; with links it does.
        role="group" if link else "img", aria_label=said, data_kind="strip",
    )  # fmt: skip


def _column(
    run: PipelineRun, number: int, places: int, longest: float, *, chosen: bool, link: Link | None
) -> Html:
    height = max(3.0, HIGHEST * run.duration_ms / longest) if longest > 0 else 3.0
    middle = percent(number + 0.5, places)
    parts = tag(
        "g",
        tag("title", f"{moment(run.started_at)} {run.status.value} in {duration(run.duration_ms)}"),
        tag(
            "rect", x=percent(number, places), y=0, width=percent(1, places), height=72,
            class_="chosen" if chosen else "place",
        ),
        tag(
            "rect", x=percent(number + 0.14, places), y=f"{BASE - height:.2f}", width=percent(0.72, places),
            height=f"{height:.2f}", class_=f"column {run.status.value}", data_run=run.pipeline_run_id,
        ),
        # What went well needs no mark: those that did not are seen.
        None if run.status is Status.SUCCESS else tag(
            "text", words.MARKS[run.status], x=middle, y=66, text_anchor="middle", class_=f"mark {run.status.value}"
        ),
    )  # fmt: skip
    if link is None:
        return parts
    said = f"{run.status.value} {moment(run.started_at)}"
    return tag("a", parts, href=link(run.pipeline_run_id), aria_label=said)


def runs_table(runs: Sequence[PipelineRun], link: Link | None, *, named: bool = False) -> Html:
    """Return a table of runs, given newest first. `named`: also with their names."""
    rows = [
        [
            _id(run.pipeline_run_id, link), *([words.name(run.pipeline_id)] if named else []), words.pill(run.status),
            words.time_of(run.started_at), _took(run), count(run.rows_read), count(run.rows_written),
        ]
        for run in runs
    ]  # fmt: skip
    head = (HEAD[0], *(["name"] if named else []), *HEAD[1:])
    return table(head, rows, label="Runs, newest first", numbers=HEAD[3:])


def _took(run: PipelineRun) -> str:
    return duration(run.duration_ms) + ("…" if run.status is Status.RUNNING else "")


def _id(run_id: str, link: Link | None) -> Html:
    shown = tag("code", short_id(run_id), title=run_id)
    return tag("a", shown, href=link(run_id)) if link else shown
