"""A project by its file names, for the completion of the shell: a Tab can wait neither for pydantic nor for settings.

What is wrong in a file is not told here: then there is nothing to offer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SHOWN_RUNS = 50


def project_of(project: str | None) -> Path | None:
    """Return the project folder as `runner.settings.find_project` finds it; None where there is none."""
    named = project or os.environ.get("RUN_PIPELINE_PROJECT")
    here = Path(named).expanduser() if named else Path.cwd()
    fallback = os.environ.get("RUN_PIPELINE_FALLBACK_PROJECT")
    folders: list[Path] = [here, *([] if named else here.parents), *([Path(fallback)] if fallback else [])]
    for folder in folders:
        if (folder / "configs" / "runner.toml").is_file():
            return folder
    return None


def pipeline_files(project: Path) -> dict[str, Path]:
    """Return the pipelines' files by id, in the order of their names."""
    return {file.stem: file for file in sorted((project / "configs" / "pipelines").glob("*.yaml"))}


def job_files(project: Path) -> dict[str, Path]:
    """Return the jobs' files by id, in the order of their paths."""
    return {file.stem: file for file in sorted((project / "configs" / "jobs").rglob("*.yaml"))}


def table_names(project: Path) -> list[str]:
    """Return DATASET.TABLE of every declared table, sorted."""
    found = set()
    for file in (project / "configs" / "tables").glob("*.yaml"):
        content = _read(file)
        tables = content.get("tables")
        for each in tables if isinstance(tables, list) else []:
            if isinstance(each, dict) and "table" in each:
                found.add(f"{content.get('dataset')}.{each['table']}")
    return sorted(found)


def parameters_of(project: Path, name: str) -> dict[str, Mapping[str, Any]]:
    """Return what a pipeline or job can be given with `--set`: declarations by parameter name."""
    pipelines, jobs = pipeline_files(project), job_files(project)
    found: dict[str, Mapping[str, Any]] = {}
    waiting, seen = [name], {name}
    while waiting:
        each = waiting.pop(0)
        if each in pipelines:
            below = [member for member in _members(_read(pipelines[each])) if member not in seen]
            seen.update(below)
            waiting += below
        elif each in jobs:
            params = _read(jobs[each]).get("params")
            for key, spec in (params if isinstance(params, dict) else {}).items():
                found.setdefault(str(key), spec if isinstance(spec, dict) else {})
    return found


def steps_of(project: Path, job: str) -> list[str]:
    """Return the ids of a job's steps, in their order."""
    file = job_files(project).get(job)
    steps = _read(file).get("steps") if file else None
    return [
        str(step["step_id"])
        for step in (steps if isinstance(steps, list) else [])
        if isinstance(step, dict) and "step_id" in step
    ]


def latest_runs(project: Path) -> list[tuple[str, str]]:
    """Return (run id, name) of the newest runs, newest first, as their folders are named."""
    runs = state_folder(project) / "runs"
    found: list[tuple[str, str]] = []
    for day in _names(runs):
        found += [(name[:26], name[27:]) for name in _names(runs / day) if name[26:27] == "-"]
        if len(found) >= SHOWN_RUNS:
            break
    return found[:SHOWN_RUNS]


def run_names(runs: Path) -> set[str]:
    """Return the names of all runs below a folder of runs."""
    return {name[27:] for day in _names(runs) for name in _names(runs / day) if name[26:27] == "-"}


def state_folder(project: Path) -> Path:
    """Return the state folder as the settings have it: environment, runner.toml, systemd, `var`."""
    import tomllib

    try:
        with (project / "configs" / "runner.toml").open("rb") as stream:
            written = tomllib.load(stream).get("state_dir")
    except (OSError, ValueError):
        written = None
    systemd = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    folder = os.environ.get("RUN_PIPELINE_STATE_DIR") or written or systemd or "var"
    return project / Path(str(folder)).expanduser()


def _members(pipeline: Mapping[str, Any]) -> Iterator[str]:
    jobs = pipeline.get("jobs")
    stages = pipeline.get("stages")
    for stage in stages if isinstance(stages, list) else []:
        members = stage.get("jobs") if isinstance(stage, dict) else None
        yield from (str(member) for member in (members if isinstance(members, list) else []))
    yield from (str(member) for member in (jobs if isinstance(jobs, dict) else {}))


def _read(file: Path) -> Mapping[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        with file.open("rb") as stream:
            content = yaml.load(stream, Loader=loader)  # noqa: S506 - a safe loader, the one in C if there is one
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder), reverse=True)
    except OSError:
        return []
