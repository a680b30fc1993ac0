"""What can be set, as frozen models. Every error about a value names the place that it came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

from runner.clock import parse_duration
from runner.errors import ConfigurationError
from runner.settings.places import find_project, state_folder
from runner.settings.sources import collect

PLANNED_WAREHOUSES = ("bigquery", "postgres")
"""Kinds that a later version will know."""


def _no_bool(value: object) -> object:
    """Refuse true and false for a number; pydantic would count them as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError(f"got {str(value).lower()}; expected a whole number")  # noqa: TRY004 - pydantic's protocol
    return value


def _seconds(value: object) -> object:
    """Read a duration; text from an environment variable may be a bare number of seconds."""
    if isinstance(value, str) and value.strip().replace(".", "", 1).isdecimal():
        value = float(value)
    return parse_duration(value)


def _limit(value: object) -> object:
    """Read a duration, or `none` for no limit: TOML and the environment have no other word for it."""
    return None if value is None or value == "none" else _seconds(value)


Count = Annotated[int, BeforeValidator(_no_bool), Field(ge=1, le=1000)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
Limit = Annotated[float | None, BeforeValidator(_limit)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class DuckDBSettings(_Section):
    """The embedded warehouse. `memory_limit` bounds DuckDB's own buffers; beyond it spills to
    `temp_directory`.
    """

    kind: Literal["duckdb"] = "duckdb"
    path: Annotated[str, Field(min_length=1)] = "warehouse.duckdb"
    memory_limit: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)? ?(KB|MB|GB|KiB|MiB|GiB)$")] = "160MB"
    threads: Annotated[int, BeforeValidator(_no_bool), Field(ge=1, le=256)] | None = None
    temp_directory: Annotated[str, Field(min_length=1)] = "tmp"
    max_connections: Annotated[int, BeforeValidator(_no_bool), Field(ge=1, le=256)] = 16

    @field_validator("kind", mode="before")
    @classmethod
    def _kind_is_here(cls, value: object) -> object:
        if value in PLANNED_WAREHOUSES:
            raise ValueError(f"this version has no warehouse of kind {value!r}; expected duckdb")
        return value


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


class Connection(BaseModel):
    """A named connection for functions, with free keys. What its key calls a secret is one (`SecretStr`), at
    any depth, and so is a URL with a password in it and everything that came from a secrets folder.

    Functions get it as `connection` and read attributes: `connection.host`,
    `connection.password.get_secret_value()`.
    """

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)
    secret_words: ClassVar[tuple[str, ...]] = (
        "password", "passwd", "passphrase", "token", "secret", "credential", "api_key", "apikey",
        "access_key", "private_key", "dsn", "authorization", "cookie",
    )  # fmt: skip

    def model_post_init(self, _context: Any, /) -> None:
        """Wrap secrets, so that no log line, record or traceback can show them."""
        extra = self.__pydantic_extra__ or {}
        for name, value in extra.items():
            extra[name] = _wrapped(name, value)


def _wrapped(name: str, value: Any) -> Any:
    word = name.lower().replace("-", "_")
    if word == "key" or any(secret in word for secret in Connection.secret_words):
        return _sealed(value)
    if isinstance(value, str) and _has_password(value):
        return SecretStr(value)
    if isinstance(value, Mapping):
        return {key: _wrapped(str(key), item) for key, item in value.items()}
    if isinstance(value, list):
        return [_wrapped("", item) for item in value]
    return value


def _sealed(value: Any) -> Any:
    """Make everything in `value` a secret; flags (`token_refresh = true`) are none."""
    if isinstance(value, Mapping):
        return {key: _sealed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_sealed(item) for item in value]
    return value if isinstance(value, bool | SecretStr) else SecretStr(str(value))


def _has_password(text: str) -> bool:
    """Tell whether `text` looks like `scheme://user:password@host` or `password=…` of a connection string."""
    scheme, found, rest = text.partition("://")
    if found and scheme.isascii():
        user, at, _ = rest.partition("@")
        return bool(at) and ":" in user
    return "password=" in text.lower()


class Settings(BaseModel):
    """All settings of one project. Frozen; made by `load`, passed down, never read again from the
    environment.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    project: Path
    package: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "jobs"
    state_dir: Path = Path("var")
    max_workers: Count | None = None
    batch_rows: Annotated[int, BeforeValidator(_no_bool), Field(ge=1, le=1_000_000)] = 10_000
    stage_bytes: Annotated[int, BeforeValidator(_no_bool), Field(ge=1_000_000)] = 64_000_000
    warehouse: DuckDBSettings = DuckDBSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    retries: RetrySettings = RetrySettings()
    queues: Annotated[dict[str, Count], Field(validate_default=True)] = {}
    connections: dict[str, Connection] = {}

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

    @property
    def warehouse_path(self) -> Path:
        """The DuckDB file, absolute."""
        return self.state_dir / Path(self.warehouse.path).expanduser()

    @property
    def runs_dir(self) -> Path:
        """Where runs leave their records."""
        return self.state_dir / "runs"

    @classmethod
    def load(cls, project: Path | str | None = None, **overrides: Any) -> Self:
        """Read the settings of a project.

        `project`: its folder; None looks for it as `find_project` does. `overrides` win over all; a mapping
        (`warehouse={"path": …}`) overrides only the keys that it has.

        Raises `UsageError` without a project, `ConfigurationError` with every setting that does not fit.
        """
        folder = find_project(project)
        found = collect(folder, cls, overrides)
        problems = list(found.problems)
        loaded: Self | None = None
        try:
            loaded = cls.model_validate({**found.values, "project": folder})
        except ValidationError as error:
            problems += [found.problem(cls, item) for item in _about_what_is_here(error)]
        if loaded is None or problems:
            raise ConfigurationError(problems) from None  # the cause would show values, of secrets too
        configured = loaded.state_dir if "state_dir" in found.values else None
        return loaded.model_copy(update={"state_dir": state_folder(folder, configured)})


def _about_what_is_here(error: ValidationError) -> list[Any]:
    """Return pydantic's errors without those about the keys of a kind of warehouse that does not exist."""
    items = error.errors(include_url=False)
    if not any(item["loc"] == ("warehouse", "kind") for item in items):
        return list(items)
    return [item for item in items if item["loc"][0] != "warehouse" or item["loc"][1:] == ("kind",)]
