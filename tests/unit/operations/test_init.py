"""init: which files, which package, and that nothing is overwritten. That it runs is tested in tests/cli."""

from __future__ import annotations

import ast
from importlib import resources
from pathlib import Path

import pytest

from runner.errors import UsageError
from runner.operations import init
from runner.operations.init import init_project


def test_a_project_is_complete_and_says_what_it_made(tmp_path: Path) -> None:
    made = init_project(tmp_path / "my-demo")

    assert made.package == "my_demo_jobs"
    assert {str(path.relative_to(made.folder)) for path in made.folder.rglob("*") if path.is_file()} == set(
        made.files
    )
    assert 'package = "my_demo_jobs"' in (made.folder / "configs" / "runner.toml").read_text()
    assert (
        "function: my_demo_jobs.greetings:greet"
        in (made.folder / "configs/jobs/greet_people.yaml").read_text()
    )


def test_templates_and_files_are_the_same_set() -> None:
    folder = Path(str(resources.files("runner.operations").joinpath("templates")))
    named = {folder / template for files in init.TEMPLATES.values() for template in files.values()}
    places = [folder, *(folder / template for template in init.TEMPLATES if (folder / template).is_dir())]
    shipped = {entry for place in places for entry in place.iterdir() if entry.is_file()}

    assert shipped == named
    assert init.FIRST_COMMAND.keys() == init.TEMPLATES.keys()


@pytest.mark.parametrize("template", init.TEMPLATES)
def test_nothing_is_left_to_fill_in_and_the_code_is_python(template: str, tmp_path: Path) -> None:
    made = init_project(tmp_path / "demo", template)

    for file in made.files:
        text = (made.folder / file).read_text(encoding="utf-8")
        assert "$" not in text
        assert text.endswith("\n")
        if file.endswith(".py"):
            ast.parse(text)


def test_an_existing_folder_is_used_if_nothing_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "notes.txt").write_text("mine")

    init_project(tmp_path / "demo")

    assert (tmp_path / "demo" / "notes.txt").read_text() == "mine"


def test_nothing_is_written_if_one_file_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "README.md").write_text("mine")

    with pytest.raises(UsageError, match=r"already has README\.md; nothing was written"):
        init_project(tmp_path / "demo")

    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["README.md"]
    assert (tmp_path / "demo" / "README.md").read_text() == "mine"


@pytest.mark.parametrize("name", ["Demo", "9lives", "a b", "démo", "-x", "x" * 59, "a.b"])
def test_names_that_cannot_name_a_package_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot name a project"):
        init_project(tmp_path / name)

    assert list(tmp_path.iterdir()) == []
