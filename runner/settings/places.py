"""Where a project is, and the folders that the environment names."""

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


def systemd_state() -> dict[str, Path]:
    """Return `state_dir` as systemd's `STATE_DIRECTORY` gives it (the first of several, absolute); empty
    without one.
    """
    folder = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return {"state_dir": Path(folder).absolute()} if folder else {}


def secrets_folders() -> list[tuple[str, Path]]:
    """Return the folders of secret files, each with the variable that names it; a later one wins."""
    variables = ("CREDENTIALS_DIRECTORY", f"{ENV_PREFIX}SECRETS_DIR")
    return [(name, Path(folder).expanduser()) for name in variables if (folder := os.environ.get(name))]
