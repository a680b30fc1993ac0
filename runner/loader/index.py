"""Which files a project has: names only, nothing is read. A file's stem is the id of what it declares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import Problem
from runner.specs import ENGINE_DATASET, check_id

CONFIGS = "configs"
COMMANDS = frozenset({
    "backfill", "completion", "config", "coverage", "diff", "doctor", "events", "failures", "help", "init", "list",
    "logs", "notify", "optimize", "plan", "prune", "report", "rescore", "retry", "run", "runs", "schema", "show",
    "stats", "systemd", "timers", "ui", "validate", "version",
})  # fmt: skip
"""Words that the command line takes for itself: `run-pipeline NAME` must not be one of them."""
MAX_FOLDERS = 8
"""Levels of folders below configs/jobs."""


@dataclass(slots=True)
class ProjectIndex:
    """Files by id: pipelines, jobs, and table files by dataset; and what is wrong with the names."""

    root: Path
    pipelines: dict[str, Path] = field(default_factory=dict)
    jobs: dict[str, Path] = field(default_factory=dict)
    tables: dict[str, list[Path]] = field(default_factory=dict)
    problems: list[tuple[str, Problem]] = field(default_factory=list)

    def refuse(self, file: Path, message: str, *, expected: str = "") -> None:
        """Note a problem of a file's name, with the stem that it concerns."""
        self.problems.append((file.stem, Problem(file=self.name(file), message=message, expected=expected)))

    def name(self, file: Path) -> str:
        """Return the name of a file for messages: relative to the project, with forward slashes."""
        return file.relative_to(self.root).as_posix()

    @property
    def ids(self) -> list[str]:
        """All names that can be run, sorted."""
        return sorted({*self.pipelines, *self.jobs})


def index_project(root: Path) -> ProjectIndex:
    """List the YAML files of the project at `root`. Problems of names are collected, not raised."""
    index = ProjectIndex(root)
    taken: dict[str, Path] = {}
    for file in _files(index, root / CONFIGS / "pipelines", levels=0):
        _enter(index, index.pipelines, file, taken)
    for file in _files(index, root / CONFIGS / "jobs", levels=MAX_FOLDERS):
        _enter(index, index.jobs, file, taken)
    for file in _files(index, root / CONFIGS / "tables", levels=0):
        dataset = file.stem.partition(".")[0]
        if dataset == ENGINE_DATASET:
            index.refuse(file, f"dataset {dataset!r} belongs to the engine", expected="another dataset")
        else:
            index.tables.setdefault(dataset, []).append(file)
    return index


def _enter(index: ProjectIndex, kind: dict[str, Path], file: Path, taken: dict[str, Path]) -> None:
    """Enter a file under its stem; names that differ only by case are the same, as on many file systems."""
    stem = file.stem
    try:
        check_id(stem)
    except ValueError as error:
        message, _, expected = str(error).partition("; expected ")
        index.refuse(file, f"file name {message}", expected=expected)
    if stem in COMMANDS:
        message = f"{stem!r} is a command of run-pipeline and cannot name a pipeline or job"
        index.refuse(file, message, expected="another file name and id")
    if other := taken.get(stem.casefold()):
        message = f"the id {stem!r} is taken by {index.name(other)}"
        index.refuse(file, message, expected="an id of its own for each pipeline and job")
    taken.setdefault(stem.casefold(), file)
    kind.setdefault(stem, file)


def _files(index: ProjectIndex, folder: Path, *, levels: int) -> Iterator[Path]:
    """Yield the .yaml files of a folder (and of its folders, `levels` deep) in the order of their names."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    folders = []
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = Path(entry.path)
        if entry.is_dir():
            folders.append((entry, path))
        elif entry.name.endswith(".yaml"):
            if entry.is_file():
                yield path
            else:
                index.refuse(path, "not a regular file")
        elif entry.name.endswith((".yml", ".json")):
            index.refuse(path, "this file is not read", expected="the ending .yaml")
    for entry, path in folders:
        if levels > 0 and not entry.is_symlink():
            yield from _files(index, path, levels=levels - 1)
        elif _has_yaml(path):
            why = "a link to a folder is not followed" if entry.is_symlink() else "this folder is not read"
            index.refuse(path, f"{why}, and it holds .yaml files")


def _has_yaml(folder: Path) -> bool:
    try:
        return any(name.endswith(".yaml") for name in os.listdir(folder))
    except OSError:
        return False
