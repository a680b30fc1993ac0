"""Settings: what an operator decides. Read in `Settings.load` and nowhere else.

Later sources win: defaults < `configs/runner.toml` < files of the secrets folders < environment
(`RUN_PIPELINE_WAREHOUSE__PATH`) < arguments. Relative paths are relative to `state_dir`, and that to the
project.

    models      what can be set
    sources     where it is set, and which place an error is about
    places      the project folder and the state folder
"""

from runner.settings.models import Connection, DuckDBSettings, RetrySettings, Settings, TimeoutSettings
from runner.settings.places import ENV_PREFIX, SETTINGS_FILE, find_project

__all__ = [
    "ENV_PREFIX",
    "SETTINGS_FILE",
    "Connection",
    "DuckDBSettings",
    "RetrySettings",
    "Settings",
    "TimeoutSettings",
    "find_project",
]
