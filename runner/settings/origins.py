"""Which source a value came from. Found after the fact, for messages and `config show --origin`: the library keeps
no origins.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings

from runner.settings.places import SETTINGS_FILE, secrets_folders, systemd_state
from runner.settings.sources import is_other_kind, settings_files
from runner.settings.telemetry import standard_variables
from runner.settings.toml_lines import RUNNER_TOML, Keys, Origin, toml_places
from runner.settings.variables import variables


class Origins:
    """The origins of the settings of one project, by their keys; case does not matter."""

    def __init__(self, settings: type[BaseSettings], folder: Path, arguments: Mapping[str, Any]) -> None:
        self._found: dict[Keys, Origin] = {}
        self._leaves: dict[Keys, Origin] = {}
        self._kind: Any = None
        for keys, place in toml_places(folder / SETTINGS_FILE):
            self._found[_folded(keys)] = place
        for state in systemd_state().values():
            self._leaves[("state_dir",)] = Origin(f"environment variable STATE_DIRECTORY ({state})")
        in_file = tomllib.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
        for path, _ in _leaves((), in_file):
            self._leaves[path] = self.of(path)
        for _, secrets in secrets_folders():
            for keys, file in settings_files(secrets, settings):
                self._add(keys, file.read_text(encoding="utf-8"), Origin(f"{file}"))
        for variable, key, value in standard_variables():
            self._add(("telemetry", key), value, Origin(f"environment variable {variable}"))
        for variable, name, value in variables():
            if value and name:
                self._add(name, value, Origin(f"environment variable {variable}"))
        for argument, value in arguments.items():
            self._add((argument,), value, Origin(f"argument {argument}"))
        if is_other_kind(in_file, {"warehouse": {"kind": self._kind}}):
            self._forget_warehouse_of_file()

    def of(self, keys: Keys) -> Origin:
        """Return where the value at `keys` came from, else where the nearest mapping around it did."""
        folded = _folded(keys)
        for length in range(len(folded), 0, -1):
            if place := self._found.get(folded[:length]):
                return place
        return RUNNER_TOML

    def exactly(self, keys: Keys) -> Origin | None:
        """Return where the value at `keys` itself was set; None: nowhere, it is a default."""
        return self._leaves.get(_folded(keys))

    def _add(self, keys: Keys, value: Any, place: Origin) -> None:
        """Note `place` for every value in `value`; a mapping is merged, so it stays also where it was."""
        for path, leaf in _leaves(_folded(keys), _decoded(value) if len(keys) == 1 else value):
            for length in range(1, len(path)):
                self._found.setdefault(path[:length], place)
            self._found[path] = self._leaves[path] = place
            if path == ("warehouse", "kind"):
                self._kind = leaf

    def _forget_warehouse_of_file(self) -> None:
        for keys, place in list(self._leaves.items()):
            if keys[0] == "warehouse" and place.file == RUNNER_TOML.file:
                del self._leaves[keys]


def _leaves(keys: Keys, value: Any) -> Iterator[tuple[Keys, Any]]:
    if not isinstance(value, Mapping) or not value:
        yield keys, value
        return
    for key, item in value.items():
        yield from _leaves((*keys, str(key).casefold()), item)


def _decoded(value: Any) -> Any:
    """Return the mapping that a variable for a whole section holds as JSON, else `value`."""
    if not isinstance(value, str):
        return value
    try:
        decoded = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return decoded if isinstance(decoded, dict) else value


def _folded(keys: Keys) -> Keys:
    return tuple(key.casefold() for key in keys)
