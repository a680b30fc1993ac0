"""The server of the settings: how it is reached, and how each session with it is set up."""

from __future__ import annotations

from typing import Any

from runner.errors import ConfigurationError, Problem
from runner.settings import PostgresSettings

APPLICATION = "run-pipeline"
NAME_LENGTH = 63
KEEPALIVE = {
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
"""Of libpq, unless `dsn` says otherwise: a network that has gone silent is noticed after about a minute."""

_FIXED = {
    "TimeZone": "UTC",
    "search_path": "pg_catalog, pg_temp",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "default_transaction_isolation": "read committed",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
"""What every session has, whatever the role, database or server says. Names of tables are always qualified; with no
schema of others in `search_path` nobody's function or operator comes before the engine's (CVE-2018-1058). The server, too,
notices after a minute that a client's network has gone silent, and gives up its transaction.
"""


class Server:
    """A PostgreSQL server as the settings name it. `time_limit` in seconds bounds each statement; None: unbounded."""

    def __init__(self, settings: PostgresSettings, time_limit: float | None) -> None:
        self.settings = settings
        self.time_limit = time_limit

    def parameters(self, application: str = APPLICATION) -> dict[str, Any]:
        """Return libpq's parameters, the password among them. Raises `ConfigurationError` for a `dsn` that is no
        connection text; of it nothing is shown, since it may hold a password.
        """
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict

        try:
            given = conninfo_to_dict(self.settings.dsn.get_secret_value())
        except ProgrammingError:
            expected = "a connection text or URI of libpq, such as postgresql://user@host/database"
            problem = Problem(path="warehouse.dsn", message="cannot be read", expected=expected)
            raise ConfigurationError([problem]) from None
        found: dict[str, Any] = {**KEEPALIVE, **given}
        if self.settings.password is not None:
            found["password"] = self.settings.password.get_secret_value()
        timeout = max(2, round(self.settings.connect_timeout))  # libpq takes 1 s for 2 s
        return {
            **found,
            "connect_timeout": timeout,
            "client_encoding": "UTF8",
            "application_name": application,
        }

    def set_up(self) -> dict[str, str]:
        """Return the settings of a new session, by name. Those of a timeout are in milliseconds, 0: none."""
        return {
            **_FIXED,
            "statement_timeout": milliseconds(self.time_limit),
            "idle_in_transaction_session_timeout": milliseconds(self.settings.idle_in_transaction_timeout),
        }

    @property
    def check_interval(self) -> str:
        """How often the server looks for the client of a running query, in milliseconds; not every server can."""
        return milliseconds(self.settings.check_interval)


def milliseconds(seconds: float | None) -> str:
    """Return a timeout as PostgreSQL takes it: 0 for none."""
    return "0" if seconds is None else str(max(1, round(seconds * 1000)))


def application_name(*names: str) -> str:
    """Return the name under which a connection is seen that works for these: the server takes 63 ASCII characters."""
    text = f"{APPLICATION} {'/'.join(names)}"
    return text.encode("ascii", "replace").decode()[:NAME_LENGTH]
