"""The page of all pipelines, for `ui`: how each has gone lately."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runner.analysis.history import usual_length
from runner.cli.page import words
from runner.cli.page.markup import Html, join, tag
from runner.cli.page.strip import Link, runs_table, strip
from runner.cli.page.tables import section
from runner.cli.wording import count, duration
from runner.records import PipelineRun, Status


def overview(
    runs: Mapping[str, Sequence[PipelineRun]], latest: Sequence[PipelineRun], *, link: Link, name_link: Link
) -> Html:
    """Return the parts of the page. `runs`: the last of each name, oldest first; `latest`: the last of all."""
    header = tag("header", tag("h1", "Runs"), tag("p", _said(latest)))
    if not latest:
        words_ = [
            "Nothing has run yet. ",
            tag("code", "run-pipeline NAME"),
            " runs a pipeline or a job; it appears here by itself.",
        ]
        return join(header, tag("p", words_, class_="empty"))
    rows = [_pipeline(name, each, link, name_link) for name, each in runs.items()]
    return join(
        header,
        tag("div", rows, class_="pipelines"),
        section("Latest", None, runs_table(latest, link, named=True), id_="latest"),
    )


def _said(latest: Sequence[PipelineRun]) -> str:
    running = sum(run.status is Status.RUNNING for run in latest)
    return f"{count(running, 'run')} under way" if running else "nothing is running"


def _pipeline(name: str, runs: Sequence[PipelineRun], link: Link, name_link: Link) -> Html:
    last = runs[-1]
    length = usual_length(runs)
    took = "" if last.status is Status.RUNNING else f" in {duration(last.duration_ms)}"
    usual = f", usually {duration(length)}" if length is not None and len(runs) > 1 else ""
    return tag(
        "article",
        tag("h2", tag("a", words.name(name), href=name_link(name))),
        strip(runs, link=link, label=f"The last {count(len(runs), 'run')} of {name}, oldest first"),
        tag(
            "p", words.pill(last.status), took, usual,
            tag("br"), words.time_of(last.started_at),
        ),
        class_="pipeline",
    )  # fmt: skip
