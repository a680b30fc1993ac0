"""Projects with one mistake each: the whole text that `validate` gives for it.

Every folder of tests/fixtures/broken is laid over the sound project `_project`; `expected.txt` holds the messages,
with PROJECT for its folder.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.errors import ConfigurationError, Problem
from runner.loader import open_project
from runner.settings import Settings

BROKEN = Path(__file__).parents[2] / "fixtures" / "broken"
CASES = sorted(folder.name for folder in BROKEN.iterdir() if (folder / "expected.txt").is_file())
PACKAGE = "shop_jobs"


@pytest.fixture(autouse=True)
def _forget_package() -> Iterator[None]:
    """Each project brings a package of the same name from another folder."""
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def project(folder: Path, case: str = "") -> Settings:
    shutil.copytree(BROKEN / "_project", folder / "project")
    if case:
        shutil.copytree(BROKEN / case, folder / "project", dirs_exist_ok=True)
    return Settings.load(folder / "project")


def text(problems: list[Problem], settings: Settings) -> str:
    return "".join(f"{problem}\n" for problem in problems).replace(str(settings.project), "PROJECT")


def test_the_project_below_is_sound(tmp_path: Path) -> None:
    assert open_project(project(tmp_path)).check() == []


def test_there_are_enough_cases() -> None:
    assert len(CASES) > 60


@pytest.mark.parametrize("case", CASES)
def test_message(case: str, tmp_path: Path) -> None:
    settings = project(tmp_path, case)
    expected = (BROKEN / case / "expected.txt").read_text(encoding="utf-8")
    assert text(open_project(settings).check(), settings) == expected


def test_a_plan_tells_the_problems_of_its_own_files_only(tmp_path: Path) -> None:
    settings = project(tmp_path, "several_files")
    now = datetime.now(UTC)
    loaded = open_project(settings)
    assert len(loaded.plan("shop", as_of=now).jobs) == 2
    with pytest.raises(ConfigurationError) as caught:
        loaded.plan("broken_pipeline", as_of=now)
    assert [problem.file.rpartition("/")[2] for problem in caught.value.problems] == [
        "broken.yaml",
        "broken_pipeline.yaml",
    ]
