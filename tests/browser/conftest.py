"""Fixtures of the tests in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.devtools import Browser, Page
from tests.servers.chromium import find_chromium
from tests.servers.debian_packages import NotToBeHadError
from tests.servers.required import unavailable, without_time_limit


@pytest.fixture(scope="session")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """Headless Chromium, one for all tests of a process."""
    try:
        with without_time_limit():
            chromium = find_chromium()
    except NotToBeHadError as error:
        unavailable(request.config, "chromium", error)
    with Browser(chromium) as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Page:
    """A new page, as wide as a desk."""
    return browser.page()


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """An empty run store."""
    return tmp_path / "runs"
