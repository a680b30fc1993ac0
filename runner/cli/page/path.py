"""The critical path: why the run took as long as it did, as one bar and as a chain."""

from __future__ import annotations

from runner.analysis.critical_path import Link, Segment
from runner.cli.page import words
from runner.cli.page.markup import Content, Html, join, tag
from runner.cli.page.scale import percent
from runner.cli.page.tables import section, table, twin
from runner.cli.page.view import RunView
from runner.cli.wording import count, duration

KINDS = {"job": "ran", "queue": "waited for a slot", "engine": "between jobs"}
REASONS = {
    Link.START: "the run began",
    Link.ORDER: "what it waits for ended",
    Link.SLOT: "a slot became free",
}
HEAD = ("job", "what", "from", "to", "took", "of the run", "it followed because")
LONG_CHAIN = 8


def path_section(view: RunView) -> Html:
    """Return the section of the critical path; nothing where there is no choice: of one job, or none that has begun."""
    path = view.path
    if not path.jobs or len(view.run.jobs) == 1:
        return join()
    jobs = [segment for segment in path.segments if segment.kind == "job"]
    return section("Critical path", _lead(view), _bar(view), _chain(jobs), twin(_table(view)), id_="path")


def _lead(view: RunView) -> str:
    path = view.path
    said = (
        f"{duration(path.time_of('job'))} of {duration(path.duration_ms)} in {count(len(path.jobs), 'job')}"
    )
    if path.time_of("queue") >= 1:
        said += f", {duration(path.time_of('queue'))} waiting for slots"
    if path.time_of("engine") >= 1:
        said += f", {duration(path.time_of('engine'))} between jobs"
    if view.path.worth_workers:
        behind = duration(path.behind_slots_ms)
        return f"{said}. For {behind} the next job only waited for a slot (slot): more workers could help."
    return f"{said}. More workers would hardly help: only shorter jobs, or another order."


def _bar(view: RunView) -> Html:
    whole = view.path.duration_ms
    parts = [
        tag(
            "rect", tag("title", _said(segment)), x=percent(segment.start_ms, whole), y=2, height=20,
            width=percent(segment.duration_ms, whole), class_=f"segment {segment.kind}", data_kind="segment",
        )
        for segment in view.path.segments
    ]  # fmt: skip
    said = "; ".join(_said(segment) for segment in view.path.segments[:LONG_CHAIN])
    return tag("svg", parts, width="100%", height=24, role="img", aria_label=said, class_="path")


def _said(segment: Segment) -> str:
    who = segment.job_id or "end of the run"
    return f"{who}: {KINDS[segment.kind]}, {duration(segment.duration_ms)}"


def _chain(jobs: list[Segment]) -> Html:
    shown: list[Segment | None] = list(jobs)
    if len(jobs) > LONG_CHAIN:
        shown = [*jobs[:4], None, *jobs[-3:]]
    items: list[Content] = []
    for segment in shown:
        if segment is None:
            items.append(tag("li", f"{len(jobs) - 7} more", class_="left-out"))
            continue
        slot = (
            tag("span", " (slot)", title="it began when a slot came free")
            if segment.link is Link.SLOT
            else None
        )
        items.append(
            tag("li", words.name(segment.job_id), " ", tag("span", duration(segment.duration_ms)), slot)
        )
    return tag("ol", items, class_="chain")


def _table(view: RunView) -> Html:
    whole = view.path.duration_ms
    rows = [
        [
            words.name(segment.job_id) if segment.job_id else "end of the run", KINDS[segment.kind],
            duration(segment.start_ms), duration(segment.end_ms), duration(segment.duration_ms),
            words.share(segment.duration_ms / whole if whole > 0 else 0),
            REASONS[segment.link] if segment.kind == "job" else "-",
        ]
        for segment in view.path.segments
    ]  # fmt: skip
    return table(HEAD, rows, label="Segments of the critical path", numbers=HEAD[2:6])
