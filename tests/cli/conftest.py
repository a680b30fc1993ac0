"""Fixtures of the command line's tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.operations.init import init_project
from tests.cli.demo_project import DemoProject
from tests.warm_processes import warm_programs


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Python for commands whose start is not what is tested. (Its path is short: beside it lies a socket.)"""
    with warm_programs(tmp_path_factory.mktemp("p") / "bin") as folder:
        yield str(folder / "python")


@pytest.fixture
def project(tmp_path: Path, python: str) -> Iterator[DemoProject]:
    """A fresh demo project."""
    made = DemoProject(init_project(tmp_path / "demo").folder, python)
    yield made
    made.end()


@pytest.fixture(scope="session")
def loaded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demo project whose pipeline has run once. Only for copying."""
    made = DemoProject(init_project(tmp_path_factory.mktemp("loaded") / "demo").folder)
    done = made.run("hello", "-q")
    assert done.returncode == 0, done.stderr
    return made.folder


@pytest.fixture
def loaded(loaded_once: Path, tmp_path: Path, python: str) -> Iterator[DemoProject]:
    """A demo project whose pipeline has run once: three people, three greetings."""
    copy = DemoProject(Path(shutil.copytree(loaded_once, tmp_path / "demo")), python)
    yield copy
    copy.end()


@pytest.fixture
def in_project(project: DemoProject, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`in_project("list", "-o", "json")` runs a command in this process and returns its exit code."""
    from runner.cli import main

    monkeypatch.chdir(project.folder)
    return lambda *args: main(args)
