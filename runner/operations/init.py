"""Makes a new project: a folder of the shape that the engine expects, with a small pipeline that runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from runner.errors import UsageError

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,57}")

TEMPLATES = {
    "hello": {
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
    },
    "ingest_imap": {
        "README.md": "ingest_imap/README.md",
        ".gitignore": "gitignore",
        "configs/runner.toml": "ingest_imap/runner.toml",
        "configs/pipelines/mail.yaml": "ingest_imap/pipeline.yaml",
        "configs/jobs/ingest_imap.yaml": "ingest_imap/ingest_imap.yaml",
        "configs/tables/mail.yaml": "ingest_imap/tables.yaml",
        "$package/__init__.py": "package.py.txt",
        "$package/mail.py": "ingest_imap/mail.py.txt",
    },
}
"""Template by file of the project, for each kind of project. `$$name` and `$$package` are filled in, in names as in
contents.
"""

FIRST_COMMAND = {"hello": "hello", "ingest_imap": "validate"}
"""What is to be tried first; the mail account has yet to be named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProject:
    """A project that was made: its folder (absolute), its Python package, its files relative to the
    folder, and the command to begin with.
    """

    folder: Path
    package: str
    files: tuple[str, ...]
    command: str


def init_project(target: Path, template: str = "hello") -> NewProject:
    """Make a project in the folder `target`, which is made too if it is not there. Nothing is ever
    overwritten. `template` is one of `TEMPLATES`.

    The last part of the path names the project. Raises `UsageError` for a name that cannot be one and for
    files that are in the way (then nothing is written), `OSError` where the folder cannot be written.
    """
    folder = Path.cwd() / target
    package = _package(folder.name)
    values = {"name": folder.name, "package": package}
    contents = {
        Template(file).substitute(values): _filled(name, values) for file, name in TEMPLATES[template].items()
    }
    in_the_way = [file for file in contents if (folder / file).exists()]
    if in_the_way:
        names = ", ".join(in_the_way[:3]) + (", …" if len(in_the_way) > 3 else "")
        raise UsageError(f"{folder} already has {names}; nothing was written", hint="choose another name")
    for file, text in contents.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as stream:  # x: never over a file made meanwhile
            stream.write(text)
    return NewProject(folder=folder, package=package, files=tuple(contents), command=FIRST_COMMAND[template])


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
