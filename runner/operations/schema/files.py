"""Writes the schemas into a folder, and tells VS Code (and what reads its settings) which files they are for."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import UsageError
from runner.operations.schema.kinds import KINDS, Kind, schema_of

SCHEMA_FOLDER = ".schemas"
"""Where the schemas of a project are, below it."""
EDITOR_SETTINGS = ".vscode/settings.json"


@dataclass(frozen=True, slots=True)
class Installed:
    """What was written: files relative to the project, and the line for runner.toml, which no setting can name."""

    files: tuple[str, ...]
    toml_line: str


def write_schemas(folder: Path) -> list[Path]:
    """Write the schema of every kind into `folder`, which is made. Older ones are replaced, each as a whole.

    Returns the files. Raises `OSError`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for kind in KINDS:
        file = folder / f"{kind}.json"
        _replace(file, json.dumps(schema_of(kind), indent=1, ensure_ascii=False) + "\n")
        files.append(file)
    return files


def install_schemas(project: Path) -> Installed:
    """Write the schemas into the project, and name them in its `.vscode/settings.json` beside what is there.

    Raises `UsageError` when these settings are there and cannot be read (comments are no JSON): then nothing was
    written; `OSError`.
    """
    file = project / EDITOR_SETTINGS
    settings = _read(file)
    known = settings.get("yaml.schemas", {})
    if not isinstance(known, dict):
        raise UsageError(f"{file}: yaml.schemas is not an object", hint=_by_hand())
    settings["yaml.schemas"] = known | yaml_schemas()
    written = write_schemas(project / SCHEMA_FOLDER)
    file.parent.mkdir(exist_ok=True)
    _replace(file, json.dumps(settings, indent=4, ensure_ascii=False) + "\n")
    return Installed(
        files=tuple(each.relative_to(project).as_posix() for each in (*written, file)),
        toml_line=f"#:schema ../{SCHEMA_FOLDER}/settings.json",
    )


def yaml_schemas() -> dict[str, list[str]]:
    """Return the setting `yaml.schemas` of VS Code: globs by schema, both relative to the project."""
    kinds: list[Kind] = [kind for kind in KINDS.values() if kind.files[0].endswith(".yaml")]
    return {f"./{SCHEMA_FOLDER}/{kind.name}.json": list(kind.files) for kind in kinds}


def _read(file: Path) -> dict[str, Any]:
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UsageError(f"{file} is left as it is: not plain JSON ({error})", hint=_by_hand()) from None
    if not isinstance(settings, dict):
        raise UsageError(f"{file} is left as it is: not an object", hint=_by_hand())
    return settings


def _by_hand() -> str:
    return (
        f"write the schemas with: run-pipeline schema --dir {SCHEMA_FOLDER}; and add to the file:"
        f' "yaml.schemas": {json.dumps(yaml_schemas())}'
    )


def _replace(file: Path, text: str) -> None:
    """Make `text` the whole of a file; a reader sees the old or the new."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
