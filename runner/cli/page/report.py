"""The page of a run: how it went in four figures, and then where the time went."""

from __future__ import annotations

from datetime import datetime

from runner.analysis.critical_path import WAIT_MS
from runner.cli.page import words
from runner.cli.page.costs import costs_section
from runner.cli.page.document import document
from runner.cli.page.failures import causes_section, errors_section
from runner.cli.page.gantt import gantt
from runner.cli.page.markup import Content, Html, join, tag
from runner.cli.page.path import path_section
from runner.cli.page.slower import slower_section
from runner.cli.page.strip import Link, strip_section
from runner.cli.page.trends import trends_section
from runner.cli.page.view import RunView
from runner.cli.wording import count, duration, moment, size
from runner.records import Status
from runner.version import __version__


def report(view: RunView, *, made_at: datetime) -> Html:
    """Return the whole page of a run, for a file."""
    title = f"{view.run.pipeline_id}: {view.run.status.value}, {moment(view.run.started_at)}"
    return document(title, tag("main", run_parts(view)), footer(made_at))


def run_parts(view: RunView, link: Link | None = None) -> Html:
    """Return what a page tells of a run. `link`: where the pages of other runs are, if there are any."""
    return join(
        _header(view, link),
        _tiles(view),
        strip_section(view.runs, view.run.pipeline_run_id, link),
        errors_section(view),
        slower_section(view),
        gantt(view),
        path_section(view),
        trends_section(view),
        causes_section(view),
        costs_section(view),
        _facts(view),
    )


def footer(made_at: datetime) -> Html:
    """Return the last line of a page."""
    return tag("footer", "made ", words.time_of(made_at), f" by run-pipeline {__version__}; times are UTC")


def _header(view: RunView, link: Link | None) -> Html:
    run = view.run
    retry: Content = None
    if run.retry_of:
        shown = tag("code", run.retry_of[:10], title=run.retry_of)
        retry = [", a retry of ", tag("a", shown, href=link(run.retry_of)) if link else shown]
    return tag(
        "header",
        tag("h1", words.name(run.pipeline_id), " ", words.pill(run.status)),
        tag(
            "p", "run ", tag("code", run.pipeline_run_id), ", started ", words.time_of(run.started_at), retry
        ),
    )


def _tiles(view: RunView) -> Html:
    return tag("div", _duration(view), _bottleneck(view), _waiting(view), _rows(view), class_="tiles")


def _tile(label: str, figure: Content, note: Content, class_: str = "") -> Html:
    return tag(
        "div", tag("p", label, class_="tile-label"), tag("p", figure, class_="tile-figure"),
        tag("p", note, class_="tile-note"), class_=f"tile {class_}".rstrip(),
    )  # fmt: skip


def _duration(view: RunView) -> Html:
    usual = view.usual_run_ms
    took = view.bars.duration_ms
    note = "the first run of this name that is known" if len(view.runs) == 1 else "no run before it succeeded"
    running = view.run.status is Status.RUNNING
    if usual is not None:
        ended = view.run.status in (Status.SUCCESS, Status.PARTIAL)
        note = words.against(took, usual) if ended else f"usually {duration(usual)}"
        if not view.run.is_whole:
            note = f"a part of the work, which usually takes {duration(usual)}"
    return _tile("so far" if running else "took", duration(took), note)


def _bottleneck(view: RunView) -> Html:
    last = next((segment for segment in reversed(view.path.segments) if segment.kind == "job"), None)
    if view.run.status is Status.RUNNING and last is not None:
        return _tile("at the end of the path", words.name(last.job_id), f"for {duration(last.duration_ms)}")
    found = view.bottleneck
    if found is None:
        return _tile("longest on the path", "-", "no step has ended")
    job_id, step_id = found
    part = words.share(view.share(job_id, step_id))
    note = [f"{part} of the run, step of ", words.name(job_id)]
    return _tile("longest on the path", words.name(step_id), note)


def _waiting(view: RunView) -> Html:
    if view.path.worth_workers:
        note = "of the run's length: more workers could help"
        return _tile("waiting for slots", duration(view.path.behind_slots_ms), note)
    waited = sum(bar.queue_ms for bar in view.bars.bars if bar.queue_ms >= WAIT_MS)
    note = (
        f"jobs waited {duration(waited)}, but the run is hardly longer for it"
        if waited
        else "no job had to wait"
    )
    return _tile("waiting for slots", "0", note)


def _rows(view: RunView) -> Html:
    quarantined = sum(job.rows_quarantined for job in view.run.jobs)
    note = f"written of {count(view.run.rows_read)} read"
    if quarantined:
        note += f", {count(quarantined)} quarantined"
    return _tile("rows", count(view.run.rows_written), note)


def _facts(view: RunView) -> Html:
    """What is rarely looked for."""
    run = view.run
    facts: list[tuple[str, Content]] = [
        ("run", tag("code", run.pipeline_run_id)),
        ("started", words.time_of(run.started_at)),
        ("ended", words.time_of(run.completed_at)),
        ("setting up before it", duration(run.setup_ms)),
        ("workers", str(run.max_workers) if run.max_workers else "not limited"),
        ("most memory", size(run.peak_memory_bytes) if run.peak_memory_bytes else "not known"),
    ]
    if run.as_of:
        facts.append(("as of", words.time_of(run.as_of)))
    if run.trace_id:
        facts.append(("trace", tag("code", run.trace_id)))
    if run.rescore:
        facts.append(("rescore", "yes: rows of its targets were taken as absent"))
    facts += [(f"parameter {name}", value) for name, value in run.params.items()]
    items = [[tag("dt", name), tag("dd", value)] for name, value in facts]
    return tag(
        "section", tag("h2", "The run", id="facts-title"), tag("dl", items),
        id="facts", aria_labelledby="facts-title",
    )  # fmt: skip
