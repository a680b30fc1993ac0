"""The warehouses that can be named in `[warehouse]`, each with its own keys."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_serializer

from runner.redaction import without_passwords
from runner.settings.values import Limit, Seconds, no_bool

Connections = Annotated[int, Field(ge=1, le=256), BeforeValidator(no_bool)]
Bytes = Annotated[int, Field(ge=1), BeforeValidator(no_bool)]


class _Warehouse(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class DuckDBSettings(_Warehouse):
    """The embedded warehouse. `memory_limit` bounds DuckDB's own buffers; beyond it spills to
    `temp_directory`.
    """

    kind: Literal["duckdb"] = "duckdb"
    path: Annotated[str, Field(min_length=1)] = "warehouse.duckdb"
    memory_limit: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)? ?(KB|MB|GB|KiB|MiB|GiB)$")] = "160MB"
    threads: Annotated[int, Field(ge=1, le=256), BeforeValidator(no_bool)] | None = None
    temp_directory: Annotated[str, Field(min_length=1)] = "tmp"
    max_connections: Connections = 16


class PostgresSettings(_Warehouse):
    """A PostgreSQL server, 15 or newer. `dsn`: connection text or URI of libpq, whose own variables (PGHOST,
    PGPASSWORD, …) and files fill in what it leaves out. It may hold a password, so it is a secret; who wants to see it
    gets it without. `password` is kept apart, so that the rest may stand in a file; it wins over one in `dsn`.
    `max_connections`: at least one to read from, and one to land with meanwhile.

    In seconds: `connect_timeout`; `idle_in_transaction_timeout`, after which the server ends a transaction in which
    nothing happens; `check_interval`, how often it looks whether the client of a running query is still there.
    """

    only_passwords: ClassVar[tuple[str, ...]] = ("dsn",)
    """Secrets of which only a password within is to be masked (`runner.redaction`)."""

    kind: Literal["postgres"]
    dsn: SecretStr = SecretStr("")
    password: SecretStr | None = None
    max_connections: Annotated[Connections, Field(ge=2)] = 8
    connect_timeout: Seconds = 10.0
    idle_in_transaction_timeout: Limit = 300.0
    check_interval: Limit = 0.5

    @field_serializer("dsn", when_used="json")
    def _shown(self, value: SecretStr) -> str:
        """Show where the server is, and as whom, for `config`."""
        return without_passwords(value.get_secret_value())


class BigQuerySettings(_Warehouse):
    """BigQuery. `project` (None: the one of the credentials) pays for the jobs and holds the datasets. `location`:
    where they are, such as `EU`. `credentials_file`: a service account's key; None: Google's application default
    credentials. `endpoint` and `storage_endpoint`: another server, such as an emulator, which is then asked without
    credentials.

    `maximum_bytes_billed` refuses a query that would read more; None: no bound. `price_per_tib`: what 2**40 billed
    bytes cost, in any currency; None: records tell bytes, but no `cost`. `priority`: `batch` queries wait for
    free slots. `query_cache`: an equal query on unchanged tables may be answered without being run again, for nothing.
    `request_timeout`: seconds that one request to the service may take; no query takes so long in one request.
    `storage_api_rows`: results of at least so many rows come over the Storage Read API, where its client
    is installed. `staging_dataset` holds staging tables, which expire after `staging_expiration` seconds if a landing
    does not remove them. `max_connections`: jobs that are worked on at once.
    """

    kind: Literal["bigquery"]
    project: Annotated[str, Field(min_length=1)] | None = None
    location: Annotated[str, Field(min_length=1)] | None = None
    credentials_file: Annotated[str, Field(min_length=1)] | None = None
    endpoint: Annotated[str, Field(min_length=1)] | None = None
    storage_endpoint: Annotated[str, Field(min_length=1)] | None = None
    staging_dataset: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")] = "ops"
    staging_expiration: Seconds = 86_400.0
    maximum_bytes_billed: Bytes | None = None
    price_per_tib: Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(no_bool)] | None = None
    priority: Literal["interactive", "batch"] = "interactive"
    query_cache: bool = True
    request_timeout: Seconds = 30.0
    storage_api_rows: Annotated[int, Field(ge=0), BeforeValidator(no_bool)] = 100_000
    max_connections: Connections = 16


def duckdb_unless_named(value: object) -> object:
    """Take keys without a `kind` for those of DuckDB."""
    return {**value, "kind": value.get("kind") or "duckdb"} if isinstance(value, dict) else value


KINDS: dict[str, type[_Warehouse]] = {
    "duckdb": DuckDBSettings,
    "postgres": PostgresSettings,
    "bigquery": BigQuerySettings,
}

WarehouseSettings = Annotated[
    DuckDBSettings | PostgresSettings | BigQuerySettings,
    Field(discriminator="kind"),
    BeforeValidator(duckdb_unless_named),
]
"""By `kind`."""
