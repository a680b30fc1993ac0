"""A run as bars on a terminal: a line a job, time from left to right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from runner.analysis.critical_path import WAIT_MS, CriticalPath, Link, Segment
from runner.analysis.timeline import Bar, Timeline
from runner.cli.console import BOLD, CYAN, DIM, RED, YELLOW, Part, Styled
from runner.cli.tables import clip, width
from runner.cli.wording import count, duration
from runner.records import Status

MIN_COLUMNS = 60
MAX_NAME = 32
SHOWN_NAMES = 8


class Glyphs(NamedTuple):
    """What a cell of a bar looks like, what leads from job to job, and what stands for the rest of a name."""

    waits: str
    runs: str
    critical: str
    arrow: str
    rest: str


BLOCKS = Glyphs(waits="░", runs="▒", critical="█", arrow="→", rest="…")
ASCII = Glyphs(waits=".", runs="=", critical="#", arrow="->", rest="~")
"""Where the locale has no blocks."""


class Row(NamedTuple):
    """One line of the picture. Spans are (start, end) in milliseconds; later ones cover earlier ones."""

    name: str
    end: str
    waits: tuple[float, float]
    runs: tuple[float, float]
    critical: tuple[tuple[float, float], ...]
    style: str


def gantt(
    bars: Timeline, path: CriticalPath, *, columns: int, glyphs: Glyphs, steps: bool
) -> Iterator[list[Part]]:
    """Yield the picture of a run in lines of at most `columns` (at least 60 are taken), and what it tells.

    `steps`: also a line for each step of the jobs. What is on the critical path has a mark before its name, too, so
    that it needs no color.
    """
    if not bars.bars:
        yield ["no job has begun"]
        return
    marked = set(path.jobs)
    rows = list(_rows(bars, path, steps=steps or len(bars.bars) == 1))
    names = [clip(row.name, MAX_NAME).replace("…", glyphs.rest) for row in rows]
    name_columns = max(width(name) for name in names)
    end_columns = max(width(row.end) for row in rows)
    cells = max(MIN_COLUMNS, columns) - name_columns - end_columns - 4
    yield [" " * (name_columns + 3), *_scale(bars.duration_ms, cells)]
    for row, name in zip(rows, names, strict=True):
        mark = "*" if row.name in marked else " "
        space = " " * (name_columns - width(name))
        yield [
            Styled(f"{mark} ", BOLD), name, space, " ", *_cells(row, bars.duration_ms, cells, glyphs),
            " ", row.end.rjust(end_columns),
        ]  # fmt: skip
    yield [""]
    yield [
        Styled(glyphs.critical, BOLD), " * critical path   ", Styled(glyphs.runs, CYAN), " ran   ",
        Styled(glyphs.waits, DIM), " waited for a slot",
    ]  # fmt: skip
    yield from _told(bars, path, glyphs)
    if bars.not_begun:
        yield [f"never began    {count(len(bars.not_begun), 'job')}: {_names(bars.not_begun, glyphs)}"]


def _names(job_ids: Sequence[str], glyphs: Glyphs) -> str:
    rest = [glyphs.rest] if len(job_ids) > SHOWN_NAMES else []
    return ", ".join([*job_ids[:SHOWN_NAMES], *rest])


def _rows(bars: Timeline, path: CriticalPath, *, steps: bool) -> Iterator[Row]:
    critical: dict[str, list[tuple[float, float]]] = {}
    for segment in path.segments:
        if segment.kind == "job":
            critical.setdefault(segment.job_id, []).append((segment.start_ms, segment.end_ms))
    for bar in bars.bars:
        yield Row(
            name=bar.job_id,
            end=_end(bar),
            waits=(bar.ready_ms, bar.start_ms) if bar.queue_ms >= WAIT_MS else (0, 0),
            runs=(bar.start_ms, bar.end_ms),
            critical=tuple(critical.get(bar.job_id, ())),
            style=_style(bar),
        )
        for step in bar.steps if steps else ():
            yield Row(
                name=f"  {step.step_id}",
                end=duration(step.duration_ms),
                waits=(0, 0),
                runs=(step.start_ms, step.start_ms + step.duration_ms),
                critical=(),
                style=DIM,
            )


def _end(bar: Bar) -> str:
    """How long the job took, behind how it ended where that is not well: color alone would not tell."""
    taken = duration(bar.duration_ms) + ("+" if bar.open else "")
    return taken if bar.status in (Status.SUCCESS, Status.RUNNING) else f"{bar.status} {taken}"


def _style(bar: Bar) -> str:
    if bar.status in (Status.FAILURE, Status.CRASHED):
        return RED
    return YELLOW if bar.status in (Status.PARTIAL, Status.CANCELLED) else CYAN


def _cells(row: Row, whole_ms: float, cells: int, glyphs: Glyphs) -> list[Part]:
    """The bar itself, in runs of equal cells."""
    kinds = [" "] * cells
    for (start, end), glyph in ((row.waits, glyphs.waits), (row.runs, glyphs.runs)):
        first, last = _place(start, end, whole_ms, cells)
        if end > start or glyph == glyphs.runs:
            kinds[first:last] = [glyph] * (last - first)
    for start, end in row.critical:
        first, last = _place(start, end, whole_ms, cells)
        kinds[first:last] = [glyphs.critical] * (last - first)
    styles = {glyphs.waits: DIM, glyphs.runs: row.style, glyphs.critical: f"{BOLD};{row.style}"}
    parts: list[Part] = []
    at = 0
    while at < cells:
        end_of_run = at + 1
        while end_of_run < cells and kinds[end_of_run] == kinds[at]:
            end_of_run += 1
        text = kinds[at] * (end_of_run - at)
        parts.append(Styled(text, styles[kinds[at]]) if kinds[at] in styles else text)
        at = end_of_run
    return parts


def _place(start: float, end: float, whole_ms: float, cells: int) -> tuple[int, int]:
    """Return the first cell of a span and the one after its last; a span has one cell at least."""
    if whole_ms <= 0:
        return 0, cells
    first = min(round(start / whole_ms * cells), cells - 1)
    return first, min(max(round(end / whole_ms * cells), first + 1), cells)


def _scale(whole_ms: float, cells: int) -> list[Part]:
    left, middle, right = "0", duration(whole_ms / 2), duration(whole_ms)
    text = left.ljust(cells // 2 - width(middle) // 2) + middle
    return [Styled(text + right.rjust(cells - width(text)), DIM)]


def _told(bars: Timeline, path: CriticalPath, glyphs: Glyphs) -> Iterator[list[Part]]:
    jobs = [segment for segment in path.segments if segment.kind == "job"]
    yield ["critical path  ", *_chain(jobs, glyphs)]
    parts = [f"{duration(path.time_of('job'))} of {duration(path.duration_ms)} in {count(len(jobs), 'job')}"]
    if path.time_of("queue") >= 1:
        parts.append(f"{duration(path.time_of('queue'))} waiting for slots")
    if path.time_of("engine") >= 1:
        parts.append(f"{duration(path.time_of('engine'))} between jobs")
    yield ["               " + ", ".join(parts)]
    if path.worth_workers:
        behind = duration(path.behind_slots_ms)
        yield [f"               {behind} while the next job only waited for a slot: more workers could help"]
    added = f"added up {duration(bars.busy_ms)}, {bars.speedup:.1f} times the run"
    yield [f"at once        {count(bars.lanes, 'job')} at most; jobs {added}"]


def _chain(jobs: Sequence[Segment], glyphs: Glyphs) -> Iterator[Part]:
    """`a 2.0 s → b 1.0 s (for a slot)`, the middle left out where it is long."""
    shown = list(jobs) if len(jobs) <= 6 else [*jobs[:3], None, *jobs[-2:]]
    for number, segment in enumerate(shown):
        if number:
            yield f" {glyphs.arrow} "
        if segment is None:
            yield f"({len(jobs) - 5} more)"
            continue
        yield f"{segment.job_id} {duration(segment.duration_ms)}"
        if segment.link is Link.SLOT and number:
            yield " (when a slot came free)"
