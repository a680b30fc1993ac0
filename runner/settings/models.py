"""What can be set, as frozen models. Every error about a value names the place that it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from runner.errors import ConfigurationError, UsageError
from runner.settings.connections import Connection
from runner.settings.notify import NotifySettings
from runner.settings.places import ENV_PREFIX, find_project
from runner.settings.sources import sources_of
from runner.settings.telemetry import TelemetrySettings
from runner.settings.values import Count, Limit, Seconds, no_bool
from runner.settings.variables import misspelt
from runner.settings.warehouses import DuckDBSettings, WarehouseSettings

ReceiverName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class TimeoutSettings(_Section):
    """Upper bounds, in seconds; None (`"none"`): unbounded. `grace`: how long cancelled Python code may take
    to stop.
    """

    query: Limit = 300.0
    step: Limit = None
    job: Limit = None
    run: Limit = None
    grace: Seconds = 0.5


class RetrySettings(_Section):
    """Backoff between attempts of what is transient: full jitter over base * 2**n, at most `max_delay`
    seconds.
    """

    base_delay: Seconds = 0.5
    max_delay: Seconds = 30.0


class Settings(BaseSettings):
    """All settings of one project. Frozen; made by `load`, passed down, never read again from the
    environment.
    """

    # case_sensitive: runner.toml and arguments are taken as written; only variables and secret files have no case.
    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        case_sensitive=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
    )

    project: Path
    package: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "jobs"
    state_dir: Path = Path("var")
    max_workers: Count | None = None
    processes: Count | None = None
    batch_rows: Annotated[int, Field(ge=1, le=1_000_000), BeforeValidator(no_bool)] = 10_000
    stage_bytes: Annotated[int, Field(ge=1_000_000), BeforeValidator(no_bool)] = 64_000_000
    warehouse: WarehouseSettings = DuckDBSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    retries: RetrySettings = RetrySettings()
    queues: Annotated[dict[str, Count], Field(validate_default=True)] = {}
    connections: dict[str, Connection] = {}
    notify: dict[ReceiverName, NotifySettings] = {}
    telemetry: TelemetrySettings = TelemetrySettings()

    @field_validator("queues", mode="after")
    @classmethod
    def _shipped_queues(cls, value: dict[str, int]) -> dict[str, int]:
        """Keep the shipped queues beside the project's own."""
        return {"default": 10, "maintenance": 1} | value

    @field_validator("package", mode="after")
    @classmethod
    def _not_the_engine(cls, value: str) -> str:
        if value == "runner":
            raise ValueError("'runner' is the engine itself; expected the package of the project's functions")
        return value

    @field_validator("state_dir", mode="before")
    @classmethod
    def _not_the_project(cls, value: object) -> object:
        if value == "":
            raise ValueError("empty; expected a folder")
        return value

    @field_validator("state_dir", mode="after")
    @classmethod
    def _in_the_project(cls, value: Path, info: ValidationInfo) -> Path:
        try:
            return Path(info.data["project"]) / value.expanduser()
        except RuntimeError:  # `~name` of nobody
            raise ValueError(f"no home folder for {str(value)!r}; expected a folder") from None

    @property
    def warehouse_path(self) -> Path:
        """The DuckDB file, absolute. Raises `UsageError` for a warehouse that is no file."""
        if not isinstance(self.warehouse, DuckDBSettings):
            raise UsageError(f"the warehouse of kind {self.warehouse.kind} is not a file")
        return self.state_dir / Path(self.warehouse.path).expanduser()

    @property
    def runs_dir(self) -> Path:
        """Where runs leave their records."""
        return self.state_dir / "runs"

    @property
    def staging_dir(self) -> Path:
        """Where a warehouse that is no file keeps staged rows that are too many for memory."""
        return self.state_dir / "tmp"

    @classmethod
    def load(cls, project: Path | str | None = None, **overrides: Any) -> Self:
        """Read the settings of a project.

        `project`: its folder; None looks for it as `find_project` does. `overrides` win over all; a mapping
        (`warehouse={"path": …}`) overrides only the keys that it has.

        Raises `UsageError` without a project, `ConfigurationError` with every setting that does not fit.
        """
        folder = find_project(project)
        problems = misspelt(cls)
        loaded: Self | None = None
        try:
            loaded = cls(project=folder, **overrides)
        except ConfigurationError as error:
            problems += error.problems
        except ValidationError as error:
            from runner.settings.messages import problems_of

            problems += problems_of(error, cls, folder, overrides)
        if loaded is None or problems:
            raise ConfigurationError(problems) from None  # the cause would show values, of secrets too
        return loaded

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, the strongest first. pydantic-settings asks for them, once for every instance."""
        return sources_of(settings_cls, init_settings, file_secret_settings)
