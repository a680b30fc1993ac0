"""A terminal: one live line for each running job; what is finished scrolls up. Plain ANSI sequences."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runner.cli.console import CYAN, DIM, Console, Part, Styled
from runner.cli.progress.lines import LineProgress
from runner.cli.tables import clip
from runner.cli.wording import count, duration
from runner.events import Event, JobFinished, JobStarted, RunStarted, StepProgress
from runner.records import PipelineRun

REDRAW_S = 0.1
"""Seconds between two drawings: events come faster than anyone reads."""


@dataclass(slots=True)
class _Running:
    """A job under way: when it started (monotonic seconds), its step and rows as last heard."""

    since: float
    step_id: str = ""
    rows: int = 0


class LiveProgress(LineProgress):
    """Keeps a block of live lines at the bottom. Events only change state; `tick` draws."""

    def __init__(self, console: Console, verbosity: int = 0) -> None:
        super().__init__(console, verbosity)
        self._running: dict[str, _Running] = {}
        self._jobs = self._done = 0
        self._since = time.monotonic()
        self._scrolled: list[Sequence[Part]] = []
        self._drawn = 0
        self._lock = threading.Lock()
        console.interpose(self._scroll)

    def on_event(self, event: Event) -> None:
        """Note what runs; what is finished or noticed scrolls up with the next drawing."""
        match event:
            case RunStarted():
                self._jobs = len(event.jobs)
            case JobStarted():
                self._running[event.job_id] = _Running(time.monotonic())
            case StepProgress() if event.job_id in self._running:
                job = self._running[event.job_id]
                job.step_id, job.rows = event.step_id, event.rows
            case JobFinished():
                self._running.pop(event.job_id, None)
                self._done += 1
            case _:
                pass
        super().on_event(event)

    def tick(self) -> None:
        """Draw: what has happened since scrolls up, below it the live lines."""
        self._draw(list(self._live_lines()))

    def finish(self, run: PipelineRun | None) -> None:
        """Take the live lines away and say what failed."""
        self._draw([])
        self._console.interpose(None)
        super().finish(run)

    def _started(self, event: JobStarted) -> None:
        """A start is seen by its live line."""

    def _scroll(self, parts: Sequence[Part]) -> None:
        with self._lock:
            self._scrolled.append(parts)

    def _draw(self, live: list[list[Part]]) -> None:
        with self._lock:
            scrolled, self._scrolled = self._scrolled, []
        if not (scrolled or live or self._drawn):
            return
        control = f"\r\x1b[{self._drawn}A\x1b[J" if self._drawn else "\r\x1b[J"
        self._drawn = len(live)
        self._console.draw(control, [*scrolled, *live])

    def _live_lines(self) -> Iterator[list[Part]]:
        columns, rows = shutil.get_terminal_size()
        now = time.monotonic()
        shown = list(self._running.items())[: max(1, rows - 3)]
        names = max((len(job_id) for job_id, _ in shown), default=0)
        for job_id, job in shown:
            step = f"{job.step_id}  {count(job.rows, 'row')}" if job.step_id else ""
            text = clip(f"{job_id:<{names}}  {duration((now - job.since) * 1000):>10}  {step}", columns - 1)
            yield [Styled(text[:names], CYAN), text[names:]]
        if self._jobs:
            more = len(self._running) - len(shown)
            text = f"{self._done} of {count(self._jobs, 'job')} done, {len(self._running)} running"
            text += f" ({more} not shown)" if more else ""
            yield [Styled(clip(f"{text}, {duration((now - self._since) * 1000)}", columns - 1), DIM)]
