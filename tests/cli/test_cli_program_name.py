"""How the program calls itself in hints: as the person at the keyboard can call it, too."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from runner.cli.invocation import Invocation, program_name


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with bin/run-pipeline, which has started this process from there."""
    script = tmp_path / "clone" / "bin" / "run-pipeline"
    script.parent.mkdir(parents=True)
    script.touch(0o755)
    monkeypatch.setenv("RUN_PIPELINE_FALLBACK_PROJECT", str(tmp_path / "clone"))
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "clone" / "runner" / "__main__.py")])
    return tmp_path / "clone"


def test_the_script_of_a_clone_by_its_path_from_here(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    assert program_name() == "bin/run-pipeline"

    monkeypatch.chdir(repository.parent)
    assert program_name() == "clone/bin/run-pipeline"


def test_from_elsewhere_by_its_whole_path(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = repository.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    assert program_name() == str(repository / "bin" / "run-pipeline")


def test_by_name_where_the_path_finds_it(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    links = repository.parent / "links"
    links.mkdir()
    (links / "run-pipeline").symlink_to(repository / "bin" / "run-pipeline")
    monkeypatch.setenv("PATH", str(links))
    assert program_name() == "run-pipeline"

    (links / "run-pipeline").unlink()
    (links / "run-pipeline").touch(0o755)
    assert program_name() == str(repository / "bin" / "run-pipeline")


@pytest.mark.parametrize(
    ("started", "name"),
    [
        ("/opt/venv/bin/run-pipeline", "run-pipeline"),
        ("/x/runner/__main__.py", "python -m runner"),
        ("", "run-pipeline"),
    ],
)
def test_otherwise_by_what_was_started(started: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [started])

    assert program_name() == name


def test_hints_carry_the_project_and_are_quoted() -> None:
    assert Invocation(program="x").command("show", "01K") == "x show 01K"
    assert Invocation(program="x", project="my project").command("show") == "x show --project 'my project'"
