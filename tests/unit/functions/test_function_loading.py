"""Code of a project: found in its folder, under its own name, with errors that say where."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from runner.errors import UsageError, category_of
from runner.functions import FunctionNotFound, load_function, load_package

_NUMBERS = count()
MakeProject = Callable[..., tuple[Path, str]]


@pytest.fixture
def make_project(tmp_path: Path) -> Iterator[MakeProject]:
    """Makes projects: files by name below their package; the package's name is new each time unless given."""
    names = []

    def make(folder: str = "project", package: str = "", **files: str) -> tuple[Path, str]:
        package = package or f"loading_jobs_{next(_NUMBERS)}"
        names.append(package)
        for name, text in files.items():
            file = tmp_path / folder / package / f"{name.replace('__in__', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return tmp_path / folder, package

    before = list(sys.path)
    yield make
    assert sys.path == before
    for module in list(sys.modules):
        if module.partition(".")[0] in names:
            del sys.modules[module]


SCORE = "def score(row, *, factor: int = 1):\n    return row\n"


@pytest.mark.parametrize("init", [{}, {"__init__": "MARK = 1\n"}], ids=["namespace", "package"])
def test_functions_are_found_in_the_projects_folder(make_project: MakeProject, init: dict[str, str]) -> None:
    project, package = make_project(scoring=SCORE, forms__in__intake="from . import intake\n" + SCORE, **init)
    load_package(project, package)
    function = load_function(f"{package}.scoring:score")
    assert function.name == f"{package}.scoring:score"
    assert function.target({"id": 1}) == {"id": 1}
    assert function.target.__module__ == f"{package}.scoring"
    assert load_function(f"{package}.forms.intake:score").shape == "row"


def test_the_same_project_again_is_fine(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    project, package = make_project(scoring=SCORE)
    load_package(project, package)
    first = load_function(f"{package}.scoring:score")
    monkeypatch.chdir(project.parent)
    load_package(Path("project"), package)
    load_package(project / ".." / "project", package)
    assert load_function(f"{package}.scoring:score").target is first.target


def test_two_projects_with_packages_of_two_names_live_together(make_project: MakeProject) -> None:
    one = make_project("one", scoring="def score(row): return 1\n")
    two = make_project("two", scoring="def score(row): return 2\n")
    for project, package in (one, two):
        load_package(project, package)
    assert [load_function(f"{package}.scoring:score").target({}) for _, package in (one, two)] == [1, 2]


def test_a_second_project_of_the_same_package_is_refused_naming_both(make_project: MakeProject) -> None:
    one, package = make_project("one", scoring=SCORE)
    two, _ = make_project("two", package, scoring=SCORE)
    load_package(one, package)
    with pytest.raises(UsageError) as refused:
        load_package(two, package)
    assert str(one / package) in str(refused.value)
    assert str(two / package) in str(refused.value)
    assert "runner.toml" in refused.value.hint


def test_a_package_named_as_a_module_of_python_is_refused(make_project: MakeProject) -> None:
    project, _ = make_project(scoring=SCORE)
    (project / "json").mkdir()
    with pytest.raises(UsageError, match="'json'"):
        load_package(project, "json")


def test_a_project_without_code_needs_none(tmp_path: Path) -> None:
    load_package(tmp_path, "jobs_that_are_not_there")
    with pytest.raises(FunctionNotFound, match="there is no module 'jobs_that_are_not_there'"):
        load_function("jobs_that_are_not_there.scoring:score")


def test_an_unknown_function_is_named_with_a_near_one(make_project: MakeProject) -> None:
    project, package = make_project(scoring=SCORE + "LIMIT = 3\n")
    load_package(project, package)
    with pytest.raises(FunctionNotFound) as missing:
        load_function(f"{package}.scoring:scor")
    assert missing.value.name == f"{package}.scoring:scor"
    assert missing.value.problem == f"module '{package}.scoring' has no function 'scor'"
    assert missing.value.near == "did you mean 'score'?"
    assert category_of(missing.value) == "config"
    with pytest.raises(FunctionNotFound, match="has no function 'LIMIT'"):
        load_function(f"{package}.scoring:LIMIT")


def test_an_unknown_module_is_named_with_a_near_one(make_project: MakeProject) -> None:
    project, package = make_project(scoring=SCORE, forms__in__intake=SCORE)
    load_package(project, package)
    with pytest.raises(
        FunctionNotFound, match=f"no module '{package}.scorin', did you mean '{package}.scoring'"
    ):
        load_function(f"{package}.scorin:score")
    with pytest.raises(FunctionNotFound, match=f"no module '{package}.forms.intak', did you mean"):
        load_function(f"{package}.forms.intak:score")


BROKEN = {
    "an error": ("A = 1\nB = A / 0\n", "ZeroDivisionError: division by zero", 2),
    "syntax": ("def score(row:\n", "SyntaxError", 1),
    "a missing library": ("\n\nimport surely_not_installed\n", "No module named 'surely_not_installed'", 3),
    "an exit": ("import sys\nsys.exit(4)\n", "SystemExit: 4", 2),
}


@pytest.mark.parametrize(("code", "cause", "line"), BROKEN.values(), ids=BROKEN)
def test_a_module_that_cannot_be_imported_is_named_with_file_and_line(
    make_project: MakeProject, code: str, cause: str, line: int
) -> None:
    project, package = make_project(scoring=code)
    load_package(project, package)
    with pytest.raises(FunctionNotFound) as broken:
        load_function(f"{package}.scoring:score")
    assert f"importing '{package}.scoring' raised " in broken.value.problem
    assert cause in broken.value.problem
    assert f"{project / package / 'scoring.py'}:{line}" in broken.value.problem
    assert broken.value.__cause__ is not None


def test_the_line_is_that_of_the_module_that_failed(make_project: MakeProject) -> None:
    project, package = make_project(scoring="from . import rules\n" + SCORE, rules="\n\nRULES = {}['phq9']\n")
    load_package(project, package)
    with pytest.raises(FunctionNotFound, match=r"raised KeyError: 'phq9' \(.*rules\.py:3"):
        load_function(f"{package}.scoring:score")


def test_a_package_that_cannot_be_imported_is_not_left_behind(make_project: MakeProject) -> None:
    project, package = make_project(__init__="raise RuntimeError('not today')\n", scoring=SCORE)
    with pytest.raises(FunctionNotFound, match=r"RuntimeError: not today \(.*__init__\.py:1"):
        load_package(project, package)
    assert package not in sys.modules
    (project / package / "__init__.py").write_text("MENDED = True\n", encoding="utf-8")
    load_package(project, package)
    assert sys.modules[package].MENDED


def test_what_has_no_signature_is_refused() -> None:
    with pytest.raises(FunctionNotFound, match="its signature cannot be read"):
        load_function("builtins:iter")
