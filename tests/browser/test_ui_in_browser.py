"""`ui` in headless Chromium: what it asks for, live, hostile names, and that a page keeps what was opened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.fold import fold_run
from runner.operations.init import init_project
from runner.run_store import FileRunStore
from runner.testing.timed_history import timed_history
from tests.browser.devtools import Browser, Page
from tests.browser.scenes import START, hostile, jobs, series
from tests.cli.demo_project import DemoProject

REDRAWN = """
new Promise((resolve) => {
  const main = document.getElementById('main'), before = main.dataset.shown;
  new MutationObserver(() => { if (main.dataset.shown !== before) resolve(true); }).observe(main, {attributes: true});
})
"""
SEEN = """
new Promise((resolve) => {
  const look = () => { if (%s) resolve(true); };
  new MutationObserver(look).observe(document, {childList: true, subtree: true, attributes: true});
  look();
})
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[DemoProject]:
    """A fresh project."""
    made = DemoProject(init_project(tmp_path / "demo").folder)
    yield made
    made.end()


@pytest.fixture
def runs_dir(project: DemoProject) -> Path:
    """Its run store."""
    return project.folder / "var" / "runs"


@pytest.fixture
def address(project: DemoProject) -> str:
    """The address of its ui, with the token."""
    process = project.start("ui", "--port", "0", "-o", "json")
    assert process.stdout is not None
    url: str = json.loads(process.stdout.readline())["url"]
    return url


def test_it_asks_only_itself_and_appears_by_itself(page: Page, address: str, runs_dir: Path) -> None:
    own = address.partition("?")[0]
    page.open(address)
    assert "Nothing has run yet" in page.evaluate("document.body.innerText")
    assert page.evaluate("location.href") == own

    series(runs_dir, "daily", 2)
    page.evaluate(SEEN % "document.querySelector('.pipeline')")
    page.evaluate(
        "document.querySelector('.strip a').dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    page.wait_for("Page.loadEventFired")

    assert page.evaluate("document.querySelector('h1').innerText").startswith("daily")
    assert {each.startswith(own) for each in page.requests} == {True}
    assert page.complaints == []


def test_hostile_names_are_text_also_when_they_come_live(
    browser: Browser, address: str, runs_dir: Path
) -> None:
    run_id = hostile(runs_dir)
    page = browser.page(width=360, dark=True)
    page.open(address)
    own = address.partition("?")[0]
    for path in ("name/hostile", f"run/{run_id}"):
        page.open(own + path)
        if path.startswith("name"):
            page.evaluate("document.getElementById('main').dataset.shown ?? " + REDRAWN)

        assert page.evaluate("window.__x") is None
        assert "<img src=x onerror=window.__x=1>" in page.evaluate("document.body.innerText")
        assert page.evaluate("document.querySelectorAll('#main script, img, iframe').length") == 0
        assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert {each.startswith(own) for each in page.requests} == {True}
    assert page.complaints == []


def test_a_run_goes_on_before_ones_eyes_and_what_was_opened_stays_open(
    page: Page, address: str, runs_dir: Path
) -> None:
    told = timed_history("daily", list(jobs(3)), started_at=START)
    writer = FileRunStore(runs_dir).create(told[0].run_id, "daily", START)
    writer.append(told[:7])
    page.open(address)
    page.open(f"{address.partition('?')[0]}run/{told[0].run_id}")
    page.evaluate("document.querySelector('.row').open = true")

    page.evaluate(REDRAWN)
    assert page.evaluate("document.querySelector('.row').open")
    assert page.evaluate("document.getElementById('live').innerText") == "live"

    writer.append(told[7:])
    writer.write_run(fold_run(told, run_id=told[0].run_id, alive=False))
    writer.close()
    page.evaluate(SEEN % "document.title === 'daily: success'")
    assert page.evaluate("document.querySelectorAll('.row').length") == 3
    assert page.complaints == []
