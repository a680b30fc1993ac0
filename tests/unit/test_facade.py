"""The public names of the package."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import runner
from runner import errors

SOURCE = Path(runner.__file__)


def test_all_is_sorted_and_without_repetition() -> None:
    assert runner.__all__ == sorted(set(runner.__all__))


@pytest.mark.parametrize("name", runner.__all__)
def test_each_name_is_what_its_home_defines(name: str) -> None:
    home = next(module for module, names in runner._HOME.items() if name in names)

    assert getattr(runner, name) is getattr(sys.modules[home], name)


def test_type_checkers_see_the_same_names() -> None:
    block = next(node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.If))
    imported = {
        (statement.module, alias.name)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }

    assert imported == {(module, name) for module, names in runner._HOME.items() for name in names}
    assert sorted(name for _, name in imported) == runner.__all__


def test_every_error_of_the_engine_is_public() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.RunPipelineError)
    }

    assert defined <= set(runner.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'PipelineRuner'"):
        runner.__getattr__("PipelineRuner")


def test_dir_lists_names_before_they_are_used() -> None:
    assert set(runner.__all__) <= set(dir(runner))


def test_importing_the_package_imports_nothing_of_it() -> None:
    code = "import sys, runner; print(*sorted(m for m in sys.modules if m.startswith('runner')))"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert loaded.split() == ["runner"]
