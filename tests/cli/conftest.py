"""Fixtures of the command line's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.operations.init import init_project
from tests.cli.demo_project import DemoProject


@pytest.fixture
def project(tmp_path: Path) -> Iterator[DemoProject]:
    """A fresh demo project."""
    made = DemoProject(init_project(tmp_path / "demo").folder)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def loaded(project: DemoProject) -> DemoProject:
    """A demo project whose pipeline has run once: three people, three greetings."""
    done = project.run("hello", "-q")
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture
def in_project(project: DemoProject, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`in_project("list", "-o", "json")` runs a command in this process and returns its exit code."""
    from runner.cli import main

    monkeypatch.chdir(project.folder)
    return lambda *args: main(args)
