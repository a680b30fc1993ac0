"""Where settings come from, merged key by key, with the place of each for messages.

Written here and not with pydantic-settings: its import alone costs more than everything else that `list`
does, and an error has to name the line of runner.toml, the variable or the file that it is about.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr

from runner.errors import Problem, did_you_mean
from runner.settings.places import ENV_PREFIX, SETTINGS_FILE

Keys = tuple[str, ...]
OWN_VARIABLES = frozenset({"PROJECT", "FALLBACK_PROJECT", "SECRETS_DIR", "PYTHON"})
"""Variables with our prefix that are no settings."""
MAX_SECRET_BYTES = 100_000
_TOML_TABLE = re.compile(r"\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_TOML_KEY = re.compile(r"(\s*)([A-Za-z0-9_.\"' -]+?)\s*=")
_TOML_POSITION = re.compile(r" \(at line (\d+), column (\d+)\)$")


@dataclass(frozen=True, slots=True)
class Origin:
    """The place of a value: a file with line and column, or a variable, a secret or an argument by its
    name.
    """

    file: str
    line: int = 0
    column: int = 0


@dataclass(slots=True)
class Found:
    """Merged values with their origins, and what was wrong with the sources themselves."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Keys, Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def put(self, keys: Keys, value: Any, origin: Origin) -> None:
        """Set one value; keys that differ from earlier ones only by case (variables have none) are those."""
        target = self.values
        path: list[str] = []
        for key in keys[:-1]:
            path.append(_same(target, key))
            inner = target.get(path[-1])
            if not isinstance(inner, dict):
                inner = target[path[-1]] = {}
            target = inner
        path.append(_same(target, keys[-1]))
        target[path[-1]] = value
        self.origins[tuple(path)] = origin

    def put_all(
        self, value: Any, origin: Origin, keys: Keys = (), places: Mapping[Keys, Origin] | None = None
    ) -> None:
        """Set everything in a mapping, key by key. `places` are the origins that are known more exactly."""
        if not isinstance(value, Mapping) or (keys and not value):
            self.put(keys, value, (places or {}).get(keys, origin))
            return
        if keys:
            self.origins.setdefault(keys, (places or {}).get(keys, origin))
        for key, item in value.items():
            self.put_all(item, origin, (*keys, str(key)), places)

    def refuse(
        self, origin: Origin, message: str, *, path: str = "", expected: str = "", hint: str = ""
    ) -> None:
        """Note a problem of a source."""
        self.problems.append(_problem(origin, message, path=path, expected=expected, hint=hint))

    def problem(self, model: type[BaseModel], item: Any) -> Problem:
        """Turn one of pydantic's errors into a problem at the place that the value came from."""
        keys = tuple(str(part) for part in item["loc"])
        origin = self._origin(keys)
        path = ".".join(keys)
        if item["type"] == "extra_forbidden":
            names = _names_at(model, keys[:-1])
            hint = did_you_mean(keys[-1], names)
            expected = "" if hint else f"one of {', '.join(names)}"
            return _problem(origin, "unknown setting", path=path, expected=expected, hint=hint)
        message, expected = _words(item, show=keys[0] != "connections")
        return _problem(origin, message, path=path, expected=expected)

    def _origin(self, keys: Keys) -> Origin:
        for length in range(len(keys), 0, -1):
            if origin := self.origins.get(keys[:length]):
                return origin
        return Origin(SETTINGS_FILE.as_posix())


def _problem(origin: Origin, message: str, *, path: str = "", expected: str = "", hint: str = "") -> Problem:
    return Problem(
        message=message,
        file=origin.file,
        line=origin.line,
        column=origin.column,
        path=path,
        expected=expected,
        hint=hint,
    )


def collect(folder: Path, model: type[BaseModel], overrides: Mapping[str, Any]) -> Found:
    """Merge all sources of the project at `folder`: runner.toml, secrets folders, environment, arguments."""
    found = Found()
    _read_toml(found, folder / SETTINGS_FILE)
    known = frozenset(model.model_fields) - {"project"}
    for variable in ("CREDENTIALS_DIRECTORY", f"{ENV_PREFIX}SECRETS_DIR"):
        if secrets := os.environ.get(variable):
            _read_secrets(found, Path(secrets), known, variable)
    _read_environment(found, known)
    for name, value in overrides.items():
        found.put_all(value, Origin(f"argument {name}"), (name,))
    return found


def _read_toml(found: Found, file: Path) -> None:
    import tomllib

    name = SETTINGS_FILE.as_posix()
    try:
        text = file.read_bytes().decode("utf-8-sig")
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        position = _TOML_POSITION.search(str(error))
        line, column = (int(position[1]), int(position[2])) if position else (0, 0)
        message = f"not TOML: {_TOML_POSITION.sub('', str(error))}"
        found.refuse(Origin(name, line, column), message)
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8, or nested too deep"
        found.refuse(Origin(name), f"cannot be read: {reason}")
    else:
        places = dict(_toml_places(text, name))
        if "project" in values:
            del values["project"]
            found.refuse(
                places.get(("project",), Origin(name)),
                "the project is the folder of this file",
                path="project",
            )
        found.put_all(values, Origin(name), places=places)


def _toml_places(text: str, name: str) -> Iterator[tuple[Keys, Origin]]:
    """Yield where tables and keys stand. Good enough for messages: values are not understood, only lines."""
    table: Keys = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TOML_TABLE.match(line):
            table = _toml_keys(header[1])
            yield table, Origin(name, number, line.index("[") + 1)
        elif key := _TOML_KEY.match(line):
            yield (*table, *_toml_keys(key[2])), Origin(name, number, len(key[1]) + 1)


def _toml_keys(text: str) -> Keys:
    return tuple(part.strip().strip("\"'") for part in text.split("."))


def _read_secrets(found: Found, folder: Path, known: frozenset[str], variable: str) -> None:
    """Read `connections__clinic_mail__password` and the like, also with our prefix. Other files are left
    alone: systemd and Docker put credentials of every kind into one folder.
    """
    try:
        files = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        found.refuse(Origin(f"environment variable {variable}"), f"{folder} cannot be read: {error.strerror}")
        return
    for file in files:
        keys = _keys(file.name.removeprefix(ENV_PREFIX).removeprefix(ENV_PREFIX.lower()))
        if keys is None or keys[0] not in known:
            continue
        origin = Origin(str(file))
        try:
            with file.open("rb") as stream:
                if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                    continue
                data = stream.read(MAX_SECRET_BYTES + 1)
            text = data.decode().removesuffix("\n").removesuffix("\r")
        except OSError as error:
            found.refuse(origin, f"cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            found.refuse(origin, "not UTF-8")
        else:
            if len(data) > MAX_SECRET_BYTES:
                found.refuse(origin, f"larger than {MAX_SECRET_BYTES:,} bytes")
                continue
            found.put(keys, SecretStr(text) if keys[0] == "connections" else text, origin)


def _read_environment(found: Found, known: frozenset[str]) -> None:
    for variable in sorted(os.environ):
        if not variable.startswith(ENV_PREFIX) or variable[len(ENV_PREFIX) :] in OWN_VARIABLES:
            continue
        value = os.environ[variable]
        origin = Origin(f"environment variable {variable}")
        keys = _keys(variable[len(ENV_PREFIX) :])
        if keys is None or keys[0] not in known:
            _unknown_variable(found, origin, variable[len(ENV_PREFIX) :].lower(), known)
        elif value and len(keys) == 1 and keys[0] in SECTIONS:
            _read_json(found, keys, value, origin)
        elif value:
            found.put(keys, value, origin)


SECTIONS = frozenset({"warehouse", "timeouts", "retries", "queues", "connections"})
"""Settings that are mappings; a variable for a whole one holds a JSON object."""


def _read_json(found: Found, keys: Keys, value: str, origin: Origin) -> None:
    import json

    try:
        decoded = json.loads(value)
    except (ValueError, RecursionError):
        decoded = None
    if isinstance(decoded, dict):
        found.put_all(decoded, origin, keys)
    else:
        found.refuse(
            origin, "not a JSON object", path=keys[0], expected=f"{origin.file.split()[-1]}__KEY, or JSON"
        )


def _unknown_variable(found: Found, origin: Origin, name: str, known: frozenset[str]) -> None:
    """Refuse what must be a misspelt setting. Others may have variables that merely begin like ours:
    Kubernetes, for one, sets RUN_PIPELINE_SERVICE_HOST for a service called run-pipeline.
    """
    first = name.partition("__")[0]
    hint = did_you_mean(first, known)
    if hint or "__" in name:
        expected = "" if hint else f"one of {', '.join(sorted(known))}"
        found.refuse(origin, "unknown setting", path=name.replace("__", "."), expected=expected, hint=hint)


def _keys(name: str) -> Keys | None:
    """Split `WAREHOUSE__PATH` into keys; None when a part is empty."""
    keys = tuple(name.lower().split("__"))
    return keys if all(keys) else None


def _same(mapping: Mapping[str, Any], key: str) -> str:
    if key in mapping:
        return key
    return next((other for other in mapping if other.casefold() == key.casefold()), key)


def _names_at(model: type[BaseModel], keys: Keys) -> list[str]:
    fields = model.model_fields
    for key in keys:
        inner = fields[key].annotation if key in fields else None
        choices = [inner, *get_args(inner)]
        fields = next((each.model_fields for each in choices if hasattr(each, "model_fields")), {})
    return sorted(set(fields) - {"project"})


_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "finite_number": "a whole number",
    "model_type": "keys with values",
    "dict_type": "keys with values",
    "path_type": "a path",
}


def _words(item: Any, *, show: bool) -> tuple[str, str]:
    """Return message and expectation of one of pydantic's errors; `show` lets the message hold the value."""
    value = item["input"]
    shown = repr(value)[:80] if show and isinstance(value, str | int | float) else f"a {type(value).__name__}"
    context = item.get("ctx", {})
    match item["type"]:
        case "value_error":
            message, _, expected = str(context["error"]).partition("; expected ")
            return message, expected
        case "greater_than_equal":
            return f"{shown} is too small", f"at least {context['ge']}"
        case "less_than_equal":
            return f"{shown} is too large", f"at most {context['le']}"
        case "literal_error":
            return f"got {shown}", str(context["expected"]).replace("'", "")
        case "string_pattern_mismatch" | "string_too_short":
            return f"got {shown}", "for example 500MB, 2GB" if "GB" in str(context) else "a name"
        case kind if kind in _EXPECTED:
            return f"got {shown}", _EXPECTED[kind]
        case _:
            return f"{item['msg']}, got {shown}", ""
