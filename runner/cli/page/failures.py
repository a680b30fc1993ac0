"""What went wrong: in this run, and in the last runs by cause."""

from __future__ import annotations

from collections.abc import Iterator

from runner.analysis.history import failure_causes
from runner.cli.page import words
from runner.cli.page.markup import Html, join, tag, text_lines
from runner.cli.page.scale import percent
from runner.cli.page.tables import section, table, twin
from runner.cli.page.view import RunView
from runner.cli.wording import count
from runner.records import ErrorInfo, PipelineRun

MOST_TOLD = 20
"""Errors and warnings of a run that are told in full; the rest is counted."""
LONGEST = 4_000
"""Characters of one message; a page is no place for more."""


def errors_section(view: RunView) -> Html:
    """Return the errors and warnings of the run itself; nothing where there are none."""
    found = list(_errors(view.run))
    warned = [(job.job_id, warning) for job in view.run.jobs for warning in job.warnings]
    if not (found or warned):
        return join()
    items = [_error(owner, error) for owner, error in found[:MOST_TOLD]]
    items += [
        _told(f"warning {warning.code}", owner, warning.step_id, warning.message, "warning")
        for owner, warning in warned[: max(0, MOST_TOLD - len(items))]
    ]
    left = len(found) + len(warned) - len(items)
    rest = tag("p", f"and {left} more, which `run-pipeline show` tells", class_="lead") if left else None
    skipped = sum(job.status.value == "skipped" for job in view.run.jobs)
    said = [count(len(found), "error") if found else "", count(len(warned), "warning") if warned else ""]
    said.append(f"{count(skipped, 'job')} skipped in consequence" if skipped else "")
    return section(
        "What went wrong" if found else "Warnings",
        ", ".join(filter(None, said)) + ".",
        items,
        rest,
        id_="errors",
    )


def _errors(run: PipelineRun) -> Iterator[tuple[str, ErrorInfo]]:
    yield from (("the run", error) for error in run.errors)
    yield from (
        (job.job_id, error) for job in run.jobs for error in job.errors if error.category != "skipped"
    )


def _error(owner: str, error: ErrorInfo) -> Html:
    return _told(error.category, owner, error.step_id, error.message, "failure")


def _told(what: str, owner: str, step_id: str, message: str, kind: str) -> Html:
    cut = message if len(message) <= LONGEST else f"{message[:LONGEST]}…"
    where = [" in ", words.name(owner), *([", step ", words.name(step_id)] if step_id else [])]
    return tag(
        "div", tag("p", tag("strong", what), where), tag("pre", text_lines(cut)), class_=f"told {kind}"
    )


def causes_section(view: RunView) -> Html:
    """Return the failures of the last runs by category; nothing where there were none, or only this run is known."""
    causes = failure_causes(view.runs)
    if not causes or len(view.runs) < 2:
        return join()
    most = max(causes.values())
    rows = [
        tag(
            "div", tag("span", cause, class_="label"),
            tag(
                "svg", tag("rect", x=0, y=4, width=percent(number, most), height=12, class_="cause"),
                width="100%", height=20, role="img", aria_label=f"{cause}: {number}", class_="bar",
            ),
            tag("span", count(number), class_="length"), class_="cause-row",
        )
        for cause, number in causes.most_common()
    ]  # fmt: skip
    last = _last_of_each(view)
    cells = [
        [cause, count(number), words.time_of(last[cause][0].started_at), words.name(last[cause][1])]
        for cause, number in causes.most_common()
    ]
    head = ("cause", "errors", "last in the run of", "in")
    said = f"{count(sum(causes.values()), 'error')} in the last {count(len(view.runs), 'run')}, by cause."
    whole = table(head, cells, label="Errors by cause", numbers=("errors",))
    return section("Failures by cause", said, tag("div", rows, class_="causes"), twin(whole), id_="causes")


def _last_of_each(view: RunView) -> dict[str, tuple[PipelineRun, str]]:
    """The last run with an error of each cause, and in what it was."""
    return {error.category: (run, owner) for run in view.runs for owner, error in _errors(run)}
