"""The documents: what they tell to do works and prints what they show; what they refer to is there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.documents import ROOT, Reader

DOCS = ROOT / "docs"
HOW_TO = sorted((DOCS / "how-to").glob("*.md"))


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project that is there when someone has followed the tutorial."""
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "empty").mkdir()
    Reader(folder / "empty", folder / "bin").follow(DOCS / "tutorial.md")
    return folder / "empty" / "demo"


def test_the_tutorial_can_be_followed_to_the_letter(tutorial: Path) -> None:
    assert (tutorial / "var" / "warehouse.duckdb").is_file()


@pytest.mark.parametrize("document", HOW_TO, ids=lambda document: document.stem)
def test_a_how_to_works_in_the_project_of_the_tutorial(document: Path, tutorial: Path, tmp_path: Path) -> None:
    shutil.copytree(tutorial, tmp_path / "demo")
    Reader(tmp_path / "demo", tmp_path / "bin").follow(document)
