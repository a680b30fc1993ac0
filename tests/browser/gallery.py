"""Pictures of all pages, for people to look at after a change: `python -m tests.browser.gallery FOLDER`.

Report and ui, wide and narrow, light and dark: a usual run, a failed and a crashed one, one of a hundred jobs, hostile
names, an empty store.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from runner.cli.page.document import document
from runner.cli.page.markup import tag
from runner.cli.page.reading import Reading
from runner.cli.page.report import report
from runner.cli.page.view import view_of
from runner.cli.ui.pages import Pages
from runner.clock import utc_now
from runner.run_store import FileRunStore
from runner.testing.timed_history import timed_history
from tests.browser.devtools import Browser
from tests.browser.scenes import START, hostile, jobs, put, series
from tests.servers.chromium import find_chromium

WIDTHS = (1200, 360)
HIGHEST = 8000
"""Pixels of a picture at most."""


def main(folder: Path) -> None:
    """Write the pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, Browser(find_chromium()) as browser:
        for name, content in pages(Path(made)).items():
            file = Path(made) / f"{name}.html"
            file.write_text(content, encoding="utf-8")
            for width in WIDTHS:
                for dark in (False, True):
                    page = browser.page(width=width, dark=dark)
                    page.open(file.as_uri())
                    height = min(page.evaluate("document.documentElement.scrollHeight"), HIGHEST)
                    page.look(width=width, height=height, dark=dark)
                    picture = folder / f"{name}-{width}-{'dark' if dark else 'light'}.png"
                    page.screenshot(picture, whole=False)
                    print(picture, *page.complaints)


def pages(made: Path) -> dict[str, str]:
    """Return the pages by name."""
    empty, runs_dir = FileRunStore(made / "empty"), made / "runs"
    series(runs_dir, "daily", 24, slower_since=11, failing=(5,), usage=True)
    series(runs_dir, "broken", 6, failing=(2, 5))
    series(runs_dir, "wide", 14, of=100, workers=8)
    series(runs_dir, "single", 1, of=1)
    hostile(runs_dir)
    put(runs_dir, timed_history("crashed", list(jobs(4)), started_at=START), over=False)
    reading = Reading(FileRunStore(runs_dir))
    told: dict[str, str] = {}
    for name in ("daily", "broken", "wide", "single", "hostile", "crashed"):
        run = reading.run(reading.run_id_of(name))
        told[f"report-{name}"] = report(view_of(run, reading.before(run), now=utc_now()), made_at=utc_now())
    for name, store in (("ui", FileRunStore(runs_dir)), ("ui-empty", empty)):
        shown = Pages(Reading(store), str).overview()
        told[name] = document(shown.title, tag("main", shown.draw()))
    return told


if __name__ == "__main__":
    main(Path(sys.argv[1]))
