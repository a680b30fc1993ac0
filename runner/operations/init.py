"""Makes a new project: a folder of the shape that the engine expects, with a small pipeline that runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from runner.errors import UsageError

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,57}")

_FILES = {
    "README.md": "README.md",
    ".gitignore": "gitignore",
    "configs/runner.toml": "runner.toml",
    "configs/pipelines/hello.yaml": "pipeline.yaml",
    "configs/jobs/load_people.yaml": "load_people.yaml",
    "configs/jobs/greet_people.yaml": "greet_people.yaml",
    "configs/tables/hello.yaml": "tables.yaml",
    "configs/samples/people.csv": "people.csv",
    "$package/__init__.py": "package.py.txt",
    "$package/people.py": "people.py.txt",
    "$package/greetings.py": "greetings.py.txt",
}
"""Template by file of the project. `$$name` and `$$package` are filled in, in names as in contents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProject:
    """A project that was made: its folder (absolute), its Python package, its files relative to the
    folder.
    """

    folder: Path
    package: str
    files: tuple[str, ...]


def init_project(target: Path) -> NewProject:
    """Make a project in the folder `target`, which is made too if it is not there. Nothing is ever
    overwritten.

    The last part of the path names the project. Raises `UsageError` for a name that cannot be one and for
    files that are in the way (then nothing is written), `OSError` where the folder cannot be written.
    """
    folder = Path.cwd() / target
    package = _package(folder.name)
    values = {"name": folder.name, "package": package}
    contents = {Template(file).substitute(values): _filled(name, values) for file, name in _FILES.items()}
    in_the_way = [file for file in contents if (folder / file).exists()]
    if in_the_way:
        names = ", ".join(in_the_way[:3]) + (", …" if len(in_the_way) > 3 else "")
        raise UsageError(f"{folder} already has {names}; nothing was written", hint="choose another name")
    for file, text in contents.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as stream:  # x: never over a file made meanwhile
            stream.write(text)
    return NewProject(folder=folder, package=package, files=tuple(contents))


def _package(name: str) -> str:
    """Return the Python package of a project of that name: `demo_jobs` for `demo`."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a project", hint="expected a letter a-z and then at most 57 of a-z 0-9 _ -"
        )
    return f"{name.replace('-', '_')}_jobs"


def _filled(template: str, values: dict[str, str]) -> str:
    text = resources.files("runner.operations").joinpath("templates", template).read_text(encoding="utf-8")
    return Template(text).substitute(values)
