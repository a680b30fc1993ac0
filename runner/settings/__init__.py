"""Settings: what an operator decides. Read in `Settings.load` and nowhere else.

Later sources win: defaults < `configs/runner.toml` < files of the secrets folders < environment
(`RUN_PIPELINE_WAREHOUSE__PATH`) < arguments. Relative paths are relative to `state_dir`, and that to the
project.

pydantic-settings reads and merges; ours is what it lacks.

    models        what can be set
    warehouses    the keys of each kind of warehouse
    values        kinds of values
    connections   what functions get, and what in it is a secret
    notify        who is told when runs fail
    telemetry     where traces and metrics go
    sources       where it is set: the library's sources, and how ours differ
    variables     names that must be misspelt
    places        the project folder, and folders that the environment names
    messages, origins, toml_lines
                  what is wrong and where it was set; used only when something is wrong
"""

from runner.settings.connections import Connection
from runner.settings.models import RetrySettings, Settings, TimeoutSettings
from runner.settings.notify import NotifySettings
from runner.settings.places import ENV_PREFIX, SETTINGS_FILE, find_project
from runner.settings.telemetry import TelemetrySettings
from runner.settings.warehouses import (
    BigQuerySettings,
    DuckDBSettings,
    PostgresSettings,
    WarehouseSettings,
)

__all__ = [
    "ENV_PREFIX",
    "SETTINGS_FILE",
    "BigQuerySettings",
    "Connection",
    "DuckDBSettings",
    "NotifySettings",
    "PostgresSettings",
    "RetrySettings",
    "Settings",
    "TelemetrySettings",
    "TimeoutSettings",
    "WarehouseSettings",
    "find_project",
]
