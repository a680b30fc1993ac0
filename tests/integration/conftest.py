"""Fixtures of whole pipelines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.projects import ThrowAwayProject

_numbers = count()


@pytest.fixture
def make_project(tmp_path: Path) -> Iterator[Callable[[], ThrowAwayProject]]:
    """Make throw-away projects, each in its own folder and with a package of its own name."""
    projects: list[ThrowAwayProject] = []

    def make() -> ThrowAwayProject:
        name = f"project_{next(_numbers)}"
        project = ThrowAwayProject(tmp_path / name, name)
        projects.append(project)
        return project

    yield make
    for project in projects:
        project.forget()


@pytest.fixture
def project(make_project: Callable[[], ThrowAwayProject]) -> ThrowAwayProject:
    """One throw-away project."""
    return make_project()
