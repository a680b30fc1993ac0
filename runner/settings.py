"""Settings: what an operator decides. Read in `Settings.load` and nowhere else.

Later sources win: defaults < `configs/runner.toml` < files of the secrets folders < environment
(`RUN_PIPELINE_WAREHOUSE__PATH`) < arguments. Relative paths are relative to `state_dir`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from runner.errors import ConfigurationError, Problem, UsageError
from runner.specs import Duration, Workers

ENV_PREFIX = "RUN_PIPELINE_"
SETTINGS_FILE = Path("configs") / "runner.toml"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DuckDBSettings(_Section):
    """The embedded warehouse. `memory_limit` bounds DuckDB's own buffers; beyond it spills to `temp_directory`."""

    kind: Literal["duckdb"] = "duckdb"
    path: str = "warehouse.duckdb"
    memory_limit: Annotated[str, Field(pattern=r"\d+(\.\d+)?\s?(KB|MB|GB|KiB|MiB|GiB)")] = "1GB"
    threads: Annotated[int, Field(ge=1, le=256)] | None = None
    temp_directory: str = "tmp"
    max_connections: Annotated[int, Field(ge=1, le=256)] = 16


class TimeoutSettings(_Section):
    """Upper bounds, in seconds. None: unbounded. `grace`: how long cancelled Python code may take to stop."""

    query: Duration | None = 300.0
    step: Duration | None = None
    job: Duration | None = None
    run: Duration | None = None
    grace: Duration = 0.5


class RetrySettings(_Section):
    """Backoff between attempts of what is transient: full jitter over base * 2**n, at most `max_delay` seconds."""

    base_delay: Duration = 0.5
    max_delay: Duration = 30.0


class Connection(BaseModel):
    """A named connection for functions. Free keys; those named password, token, secret or key are secrets.

    Functions get it as `connection` and read attributes: `connection.host`, `connection.password.get_secret_value()`.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    secret_words: ClassVar[tuple[str, ...]] = ("password", "token", "secret", "api_key", "private_key")

    def model_post_init(self, _context: Any, /) -> None:
        """Wrap secrets, so that no log line, record or traceback can show them."""
        extra = self.__pydantic_extra__ or {}
        for name, value in extra.items():
            if isinstance(value, str) and any(word in name.lower() for word in self.secret_words):
                extra[name] = SecretStr(value)


class Settings(BaseSettings):
    """All settings of one project. Frozen; made by `load`, passed down, never read again from the environment."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, validate_default=True
    )

    project: Path
    package: str = "jobs"
    state_dir: Path = Path("var")
    max_workers: Workers | None = None
    batch_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    stage_bytes: Annotated[int, Field(ge=1_000_000)] = 64_000_000
    warehouse: DuckDBSettings = DuckDBSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    retries: RetrySettings = RetrySettings()
    queues: dict[str, Annotated[int, Field(ge=1, le=1000)]] = {"default": 10, "maintenance": 1}
    connections: dict[str, Connection] = {}

    _toml_file: ClassVar[Path | None] = None
    _secrets: ClassVar[tuple[Path, ...]] = ()

    @property
    def warehouse_path(self) -> Path:
        """The DuckDB file, absolute."""
        return self.state_dir / self.warehouse.path

    @property
    def runs_dir(self) -> Path:
        """Where runs leave their records."""
        return self.state_dir / "runs"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: arguments, environment, secret files, runner.toml."""
        del dotenv_settings
        toml = TomlConfigSettingsSource(settings_cls, settings_cls._toml_file)
        return init_settings, env_settings, file_secret_settings, toml

    @classmethod
    def load(cls, project: Path | str | None = None, **overrides: Any) -> Self:
        """Read the settings of a project.

        `project`: its folder; None looks at `RUN_PIPELINE_PROJECT`, then upwards from the working directory
        for `configs/runner.toml`, then at the folder that `bin/run-pipeline` names. `overrides` win over all.

        Raises `UsageError` when there is no project, `ConfigurationError` for settings that do not fit.
        """
        folder = find_project(project)
        toml = folder / SETTINGS_FILE
        bound = type(cls.__name__, (cls,), {"_toml_file": toml if toml.is_file() else None, "__module__": cls.__module__})
        try:
            loaded: Self = bound(project=folder, **overrides)
        except ValidationError as error:
            raise ConfigurationError([_problem(toml, item) for item in error.errors()]) from error
        except ValueError as error:  # tomllib's own: a position stands in its text
            raise ConfigurationError([Problem(file=str(toml), message=str(error))]) from error
        return loaded.model_copy(update={"state_dir": _state_dir(folder, loaded)})


def find_project(project: Path | str | None = None) -> Path:
    """Return the project folder, absolute. Raises `UsageError` when there is none."""
    named = project or os.environ.get(f"{ENV_PREFIX}PROJECT")
    if named:
        folder = Path(named).absolute()
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


def _state_dir(folder: Path, loaded: Settings) -> Path:
    if "state_dir" not in loaded.model_fields_set and (systemd := os.environ.get("STATE_DIRECTORY")):
        return Path(systemd.partition(":")[0])
    return folder / loaded.state_dir


def _problem(toml: Path, item: Any) -> Problem:
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return Problem(file=str(toml), path=path, message="unknown setting")
    return Problem(file=str(toml), path=path, message=f"{item['msg']}, got {item['input']!r}")
