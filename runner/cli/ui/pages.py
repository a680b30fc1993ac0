"""What there is to see, by address. Plain functions: they read the run store, block, and run in worker threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from runner.cli.page.document import document
from runner.cli.page.markup import Content, Html, join, redacting, tag
from runner.cli.page.overview import overview
from runner.cli.page.reading import Reading
from runner.cli.page.report import footer, run_parts
from runner.cli.page.view import view_of
from runner.clock import utc_now
from runner.records import PipelineRun, Status

EACH, LATEST = 30, 50
"""Runs that are shown of each name, and of all together."""
_HERE = Html("\0")
"""Where in its frame a page is drawn. No text can have it: it is escaped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What stands in a page, not drawn yet. `goes_on`: it will change by itself."""

    title: str
    draw: Callable[[], Html]
    goes_on: bool = True


def run_address(run_id: str) -> str:
    """Return where a run is shown."""
    return f"/run/{quote(run_id, safe='')}"


def name_address(name: str) -> str:
    """Return where the newest run of a name is shown."""
    return f"/name/{quote(name, safe='')}"


class Pages:
    """The pages of one run store. `redact` takes secrets out of everything that is shown."""

    def __init__(self, reading: Reading, redact: Callable[[str], str]) -> None:
        self._reading = reading
        self._redact = redact

    def overview(self) -> Shown:
        """Return all pipelines, and the latest runs."""
        return Shown(title="Runs", draw=self._draw_overview)

    def run(self, run_id: str) -> Shown:
        """Return one run. Raises `RunNotFound`, `DamagedRecord`."""
        run = self._reading.run(run_id)
        title = f"{run.pipeline_id}: {run.status.value}"
        return Shown(title=title, draw=partial(self._draw_run, run), goes_on=run.status is Status.RUNNING)

    def name(self, name: str) -> Shown:
        """Return the newest run of a name, whichever that is at the moment. Raises as `run` does."""
        shown = self.run(self._reading.run_id_of(name))
        return Shown(title=shown.title, draw=shown.draw)

    def frame(self, shown: Shown, stream: str) -> tuple[str, str]:
        """Return what of a page stands before and after what is drawn: that may take its time.

        `stream` is the address from which the page hears of changes.
        """
        script = tag("script", src="/live.js", defer=True)
        live = tag("span", "live" if shown.goes_on else "", class_="live", id="live", role="status")
        top = tag("nav", tag("a", "All pipelines", href="/"), live, class_="bar-top")
        main = tag("main", _HERE, id="main", data_stream=stream if shown.goes_on else None)
        with redacting(self._redact):
            whole = document(shown.title, top, main, footer(utc_now()), head=script, meta_policy=False)
        before, _, after = whole.partition(_HERE)
        return before, after

    def _draw_overview(self) -> Html:
        runs, latest = self._reading.latest(each=EACH, overall=LATEST)
        with redacting(self._redact):
            return overview(runs, latest, link=run_address, name_link=name_address)

    def _draw_run(self, run: PipelineRun) -> Html:
        before = self._reading.before(run, last=EACH)
        with redacting(self._redact):
            return run_parts(view_of(run, before, now=utc_now()), run_address)

    def refusal(self, title: str, *said: Content) -> str:
        """Return a page that says why there is nothing to see."""
        with redacting(self._redact):
            text = join(tag("header", tag("h1", title)), tag("p", *said, class_="empty"))
            return document(title, tag("main", text), meta_policy=False)
