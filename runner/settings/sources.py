"""Where settings come from: the sources of pydantic-settings, which reads, nests and merges them.

Ours are only the differences: names of connections and queues are spelt as in runner.toml, their values stay
text, other people's secret files are left alone, and what cannot be read is told with its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsError,
    TomlConfigSettingsSource,
)

from runner.errors import ConfigurationError, Problem
from runner.settings.connections import sealed
from runner.settings.places import ENV_PREFIX, SETTINGS_FILE, find_project, secrets_folders, systemd_state
from runner.settings.telemetry import standard_variables

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from runner.settings.toml_lines import Keys

OWN_VARIABLES = frozenset({"PROJECT", "FALLBACK_PROJECT", "SECRETS_DIR", "PYTHON"})
"""Variables with our prefix that are no settings."""
MAX_SECRET_BYTES = 100_000
FREE_NAMES = ("queues", "connections", "notify")
"""Settings whose keys the project chooses."""


def sources_of(
    settings: type[BaseSettings],
    arguments: PydanticBaseSettingsSource,
    secret_files: PydanticBaseSettingsSource,
) -> tuple[PydanticBaseSettingsSource, ...]:
    """Return the sources of one project, the strongest first: arguments, environment, variables of OpenTelemetry,
    secrets folders, runner.toml, systemd's state folder.

    Raises `UsageError` without a project, `ConfigurationError` for what cannot be read.
    """
    given = arguments()
    folder = find_project(given.get("project"))
    toml = _runner_toml(settings, folder)
    spelling = toml.toml_data
    return (
        InitSettingsSource(settings, respelt({**given, "project": folder}, spelling)),
        Environment(settings, spelling),
        InitSettingsSource(settings, _telemetry()),
        *_secrets(secret_files, spelling),
        toml,
        InitSettingsSource(settings, dict(systemd_state())),
    )


def _telemetry() -> dict[str, Any]:
    found = {key: value for _, key, value in standard_variables()}
    return {"telemetry": found} if found else {}


class _Text(EnvSettingsSource):
    """What variables and secret files have in common: names without case, and values that are text."""

    spelling: Mapping[str, Any]

    def decode_complex_value(self, field_name: str, field: FieldInfo | None, value: Any) -> Any:
        """Read a whole section as JSON. What is none is left for the model to refuse, and the free keys of a
        connection (they have no field) stay text: a password `1e5` is no number.
        """
        if field is None:
            return value
        try:
            return super().decode_complex_value(field_name, field, value)
        except (ValueError, RecursionError):
            return value

    def __call__(self) -> dict[str, Any]:
        """Return the values, spelt as in runner.toml and as in the arguments."""
        return respelt(respelt(super().__call__(), self.spelling), self.current_state)


class Environment(_Text):
    """Variables: `RUN_PIPELINE_WAREHOUSE__PATH`. An empty one counts as not set."""

    def __init__(self, settings: type[BaseSettings], spelling: Mapping[str, Any]) -> None:
        self.spelling = spelling
        super().__init__(settings, case_sensitive=False, env_ignore_empty=True)


class SecretFiles(_Text, NestedSecretsSettingsSource):
    """One secrets folder. What it holds of connections is a secret, whatever its key says."""

    def __init__(
        self, secret_files: PydanticBaseSettingsSource, folder: Path, spelling: Mapping[str, Any]
    ) -> None:
        self.spelling = spelling
        super().__init__(
            secret_files,
            secrets_dir=folder,
            secrets_dir_missing="error",
            secrets_case_sensitive=False,
            secrets_prefix="",
        )

    def load_secrets(self, path: Path) -> dict[str, str]:  # type: ignore[override] # needs to know the settings
        """Read the files that name a setting, each but for a final newline. Raises `ConfigurationError`."""
        found: dict[str, str] = {}
        problems: list[Problem] = []
        for keys, file in settings_files(path, self.settings_cls):
            text = _read_secret(file)
            if is_too_deep(self.settings_cls, keys):
                text = Problem(
                    file=str(file), path=".".join(keys), message="unknown setting", expected=keys[0]
                )
            if isinstance(text, Problem):
                problems.append(text)
            else:
                found["__".join(keys)] = text
        if problems:
            raise ConfigurationError(problems)
        return found

    def __call__(self) -> dict[str, Any]:
        """Return the values, those of connections wrapped."""
        values = super().__call__()
        if "connections" in values:
            values["connections"] = sealed(values["connections"])
        return values


def settings_files(folder: Path, settings: type[BaseSettings]) -> Iterator[tuple[Keys, Path]]:
    """Yield the files of a secrets folder that name a setting: `connections__clinic_mail__password` and the
    like, also with our prefix. Others are left alone: systemd and Docker put credentials of every kind into
    one folder.
    """
    for file in sorted(folder.iterdir()):
        keys = keys_of(file.name.removeprefix(ENV_PREFIX).removeprefix(ENV_PREFIX.lower()))
        if keys and keys[0] in names_of(settings) and file.is_file():
            yield keys, file


def names_of(settings: type[BaseSettings]) -> list[str]:
    """Return the names that variables, secret files and runner.toml may set, sorted; the project is found."""
    return sorted(set(settings.model_fields) - {"project"})


def keys_of(name: str) -> Keys | None:
    """Split `WAREHOUSE__PATH` into keys, in lower case; None when a part is empty."""
    keys = tuple(name.lower().split("__"))
    return keys if all(keys) else None


def is_too_deep(settings: type[BaseSettings], keys: Keys) -> bool:
    """Tell whether `keys` look for keys in a single value (`MAX_WORKERS__X`); the library skips such names."""
    annotation = settings.model_fields[keys[0]].annotation
    has_keys = get_origin(annotation) is dict or any(
        hasattr(choice, "model_fields") for choice in (annotation, *get_args(annotation))
    )
    return len(keys) > 1 and not has_keys


def respelt(values: dict[str, Any], spelling: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with the project's own names spelt as in `spelling` where they differ only by case.

    Variables have none: `RUN_PIPELINE_CONNECTIONS__MAIL__PORT` is about `[connections.Mail]`.
    """
    return {
        name: _respelt(value, spelling.get(name)) if name in FREE_NAMES else value
        for name, value in values.items()
    }


def _respelt(value: Any, spelling: Any) -> Any:
    if not isinstance(value, Mapping) or not isinstance(spelling, Mapping):
        return value
    names = {name.casefold(): name for name in spelling if name not in value}
    spelt = {key: key if key in spelling else names.get(key.casefold(), key) for key in value}
    return {spelt[key]: _respelt(item, spelling.get(spelt[key])) for key, item in value.items()}


class RunnerToml(TomlConfigSettingsSource):
    """`configs/runner.toml`. A `[warehouse]` that names its kind is left out where a stronger source names another:
    its keys belong to that one, such as the file of DuckDB at the desk, where a server has its kind from variables.
    """

    def __call__(self) -> dict[str, Any]:
        """Return the values."""
        values = super().__call__()
        if is_other_kind(values, self.current_state):
            return {name: value for name, value in values.items() if name != "warehouse"}
        return values


def is_other_kind(weaker: Mapping[str, Any], stronger: Mapping[str, Any]) -> bool:
    """Tell whether both name a kind of warehouse, and not the same."""
    sections = [values.get("warehouse") for values in (weaker, stronger)]
    first, second = [section.get("kind") if isinstance(section, Mapping) else None for section in sections]
    return bool(first and second) and first != second


def _runner_toml(settings: type[BaseSettings], folder: Path) -> RunnerToml:
    file = folder / SETTINGS_FILE
    try:
        toml = RunnerToml(settings, file)
    except (OSError, ValueError, RecursionError) as error:
        from runner.settings.toml_lines import not_readable

        raise ConfigurationError([not_readable(file, error)]) from None
    if "project" in toml.toml_data:
        from runner.settings.toml_lines import place_of

        message = "the project is the folder of this file"
        raise ConfigurationError([place_of(file, ("project",)).problem(message, path="project")])
    return toml


def _secrets(secret_files: PydanticBaseSettingsSource, spelling: Mapping[str, Any]) -> list[SecretFiles]:
    """Return the sources of the secrets folders, the strongest first."""
    sources = []
    for variable, folder in reversed(secrets_folders()):
        place = f"environment variable {variable}"
        try:
            next(folder.iterdir(), None)  # the library takes a folder that it may not read for an empty one
            sources.append(SecretFiles(secret_files, folder, spelling))
        except OSError as error:
            message = f"{folder} cannot be read: {error.strerror}"
            raise ConfigurationError([Problem(file=place, message=message)]) from None
        except SettingsError as error:
            raise ConfigurationError([Problem(file=place, message=f"{folder}: {error}")]) from None
    return sources


def _read_secret(file: Path) -> str | Problem:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_SECRET_BYTES + 1)
        if len(data) > MAX_SECRET_BYTES:
            return Problem(file=str(file), message=f"larger than {MAX_SECRET_BYTES:,} bytes")
        return data.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        return Problem(file=str(file), message=f"cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return Problem(file=str(file), message="not UTF-8")
