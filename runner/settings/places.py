"""Where a project is."""

from __future__ import annotations

import os
from pathlib import Path

from runner.errors import UsageError

ENV_PREFIX = "RUN_PIPELINE_"
SETTINGS_FILE = Path("configs") / "runner.toml"


def find_project(project: Path | str | None = None) -> Path:
    """Return the project folder, absolute: `project`, else `RUN_PIPELINE_PROJECT`, else the nearest folder
    from the working directory upwards that has `configs/runner.toml`, else that of `bin/run-pipeline`.

    Raises `UsageError` when there is none.
    """
    named = project or os.environ.get(f"{ENV_PREFIX}PROJECT")
    if named:
        folder = Path(named).expanduser().absolute()
        if not (folder / SETTINGS_FILE).is_file():
            raise UsageError(f"{folder} is not a project: it has no {SETTINGS_FILE}")
        return folder
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / SETTINGS_FILE).is_file():
            return folder
    fallback = os.environ.get(f"{ENV_PREFIX}FALLBACK_PROJECT")
    if fallback and (Path(fallback) / SETTINGS_FILE).is_file():
        return Path(fallback).absolute()
    raise UsageError(
        f"no project here: neither {here} nor a folder above it has {SETTINGS_FILE}",
        hint="use --project DIR, or make one with: run-pipeline init NAME",
    )


def state_folder(project: Path, configured: Path | None) -> Path:
    """Return the folder for state, absolute: the setting (relative to the project), else `STATE_DIRECTORY` as
    systemd sets it (the first of several), else `var` in the project.
    """
    if configured is not None:
        return project / configured.expanduser()
    if systemd := os.environ.get("STATE_DIRECTORY"):
        return Path(systemd.partition(":")[0]).absolute()
    return project / "var"
