"""The report in headless Chromium: geometry, requests, complaints, hostile names, narrow and dark."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from runner.analysis.critical_path import WAIT_MS
from runner.cli.page.reading import Reading
from runner.cli.page.report import report
from runner.cli.page.view import RunView, view_of
from runner.run_store import FileRunStore
from runner.testing.timed_history import timed_history
from tests.browser.devtools import Browser, Page
from tests.browser.scenes import HOSTILE, START, hostile, jobs, put, series

PIXEL = 1.0
"""So exact are places: browsers round them to parts of a pixel."""

RECTANGLES = """
[...document.querySelectorAll('.gantt .row rect[data-kind]')].map((rect) => {
  const box = rect.getBoundingClientRect(), svg = rect.ownerSVGElement.getBoundingClientRect();
  return {job: rect.closest('.row').dataset.job, kind: rect.dataset.kind, step: rect.dataset.step ?? '',
          start: box.left - svg.left, length: box.width, whole: svg.width};
})
"""
CONTRASTS = """
(() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[0-9.]+/g).map(Number).map((each) => each / 255)
      .map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const color = getComputedStyle(element).backgroundColor;
      if (!color.startsWith('rgba(0, 0, 0, 0')) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  return [...document.querySelectorAll('h1, h2, p, span, td, th, dt, dd, bdi, summary, pre, li, footer, svg text')]
    .filter((each) => each.textContent.trim() && each.getClientRects().length)
    .map((each) => {
      const style = getComputedStyle(each);
      const text = light(each instanceof SVGElement ? style.fill : style.color), back = light(ground(each));
      return [(Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05), each.className.baseVal ?? each.className,
              each.textContent.slice(0, 40)];
    })
    .sort((one, other) => one[0] - other[0])[0];
})()
"""
WITHOUT_TWIN = """
[...document.querySelectorAll('section')]
  .filter((each) => each.querySelector('svg[role]') && !each.querySelector('details.twin table'))
  .map((each) => each.id)
"""


def view(runs_dir: Path, name: str) -> RunView:
    reading = Reading(FileRunStore(runs_dir))
    run = reading.run(reading.run_id_of(name))
    return view_of(run, reading.before(run), now=START + timedelta(days=2))


def address(told: RunView, folder: Path) -> str:
    file = folder / "report.html"
    file.write_text(report(told, made_at=START + timedelta(days=2)), encoding="utf-8")
    return file.as_uri()


def expected(told: RunView) -> list[tuple[str, str, str, float, float]]:
    """(job, kind, step, start, length) of all rectangles, in milliseconds, out of the timeline alone."""
    found: list[tuple[str, str, str, float, float]] = []
    critical = [segment for segment in told.path.segments if segment.kind == "job"]
    for bar in told.bars.bars:
        found.append((bar.job_id, "run", "", bar.start_ms, bar.duration_ms))
        if bar.queue_ms >= WAIT_MS:
            found.append((bar.job_id, "queue", "", bar.ready_ms, bar.queue_ms))
        if (usual := told.usual.get((bar.job_id, ""))) is not None:
            found.append((bar.job_id, "usual", "", bar.start_ms, usual))
        found += [(bar.job_id, "step", step.step_id, step.start_ms, step.duration_ms) for step in bar.steps]
    return found + [(each.job_id, "critical", "", each.start_ms, each.duration_ms) for each in critical]


def drawn(page: Page, whole_ms: float) -> list[tuple[str, str, str, float, float, float]]:
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    return [
        (
            each["job"], each["kind"], each["step"], each["start"] / each["whole"] * whole_ms,
            each["length"] / each["whole"] * whole_ms, PIXEL / each["whole"] * whole_ms,
        )
        for each in page.evaluate(RECTANGLES)
    ]  # fmt: skip


@pytest.mark.parametrize(("width", "name"), [(1200, "daily"), (360, "daily"), (1200, "wide")])
def test_bars_are_where_the_timeline_says(
    width: int, name: str, browser: Browser, runs_dir: Path, tmp_path: Path
) -> None:
    series(runs_dir, name, 4, of=9 if name == "daily" else 100, failing=(3,))
    told = view(runs_dir, name)
    page = browser.page(width=width)
    page.open(address(told, tmp_path))

    found = sorted(drawn(page, told.whole_ms))
    wanted = sorted(expected(told))

    assert [each[:3] for each in found] == [each[:3] for each in wanted]
    for (*_, start, length, exact), (*what, start_ms, length_ms) in zip(found, wanted, strict=True):
        assert start == pytest.approx(start_ms, abs=exact), what
        assert length == pytest.approx(length_ms, abs=exact), what
    assert {each[1] for each in found} == {"run", "queue", "usual", "step", "critical"}


def test_the_axis_is_that_of_the_bars(page: Page, runs_dir: Path, tmp_path: Path) -> None:
    series(runs_dir, "daily", 2)
    told = view(runs_dir, "daily")
    page.open(address(told, tmp_path))

    places = page.evaluate(
        "[...document.querySelectorAll('.row .bar')].slice(0, 1).flatMap((svg) =>"
        " [...svg.querySelectorAll('.grid')].map((line) => (line.getBoundingClientRect().left"
        " - svg.getBoundingClientRect().left) / svg.getBoundingClientRect().width))"
    )
    texts = page.evaluate("[...document.querySelectorAll('.scale text')].map((each) => each.textContent)")

    assert texts == ["0", "1 s", "2 s", "3 s", "4 s"]
    assert [place * told.whole_ms for place in places] == pytest.approx([0, 1000, 2000, 3000, 4000], abs=10)


@pytest.mark.parametrize("scripts", [True, False])
def test_nothing_is_asked_for_and_nothing_complains(
    scripts: bool, browser: Browser, runs_dir: Path, tmp_path: Path
) -> None:
    series(runs_dir, "daily", 14, failing=(3, 13), usage=True)
    file = address(view(runs_dir, "daily"), tmp_path)
    page = browser.page(scripts=scripts)
    page.open(file)

    seen = page.evaluate("document.querySelectorAll('section').length") if scripts else None

    assert page.requests == [file]
    assert page.complaints == []
    assert seen in (None, 8)


def test_hostile_names_are_seen_as_they_are(page: Page, runs_dir: Path, tmp_path: Path) -> None:
    hostile(runs_dir)
    file = address(view(runs_dir, "hostile"), tmp_path)
    page.open(file)

    assert page.evaluate("window.__x") is None
    seen = page.evaluate("[...document.querySelectorAll('.row')].map((each) => each.dataset.job)")
    assert seen[: len(HOSTILE) - 1] == list(HOSTILE[:-1])
    assert seen[-1] == "\\u202egnp.exe\\u2066 \\x1b[31m\\x00\\x07\\u2028 end"
    assert "\u202e" not in page.evaluate("document.documentElement.outerHTML")
    assert page.evaluate("document.querySelectorAll('script, img, iframe').length") == 0
    assert page.requests == [file]
    assert page.complaints == []


def test_every_picture_has_a_table(page: Page, runs_dir: Path, tmp_path: Path) -> None:
    series(runs_dir, "daily", 14, failing=(3,), usage=True)
    page.open(address(view(runs_dir, "daily"), tmp_path))

    assert page.evaluate(WITHOUT_TWIN) == []
    assert page.evaluate("document.querySelectorAll('details.twin table').length") >= 6
    assert page.evaluate("document.querySelectorAll('svg[role=img]:not([aria-label])').length") == 0


def scenes(runs_dir: Path) -> Sequence[str]:
    series(runs_dir, "daily", 14, failing=(13,), usage=True)
    hostile(runs_dir)
    put(runs_dir, timed_history("crashed", list(jobs(3)), started_at=START), over=False)
    return ("daily", "hostile", "crashed")


@pytest.mark.parametrize("dark", [False, True])
def test_narrow_light_and_dark_all_can_be_read(
    dark: bool, browser: Browser, runs_dir: Path, tmp_path: Path
) -> None:
    page = browser.page(width=360, height=780, dark=dark)
    for name in scenes(runs_dir):
        page.open(address(view(runs_dir, name), tmp_path))
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")

        assert page.evaluate("document.documentElement.scrollWidth") == 360, name
        lowest: list[Any] = page.evaluate(CONTRASTS)
        assert lowest[0] >= 4.5, (name, lowest)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")
