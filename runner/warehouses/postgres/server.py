"""The server of the settings: how it is reached, and how each session with it is set up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from runner.errors import ConfigurationError, Problem
from runner.logs import get_logger
from runner.settings import PostgresSettings
from runner.warehouses.postgres.faults import DRIVER_ERRORS, sqlstate

_log = get_logger("warehouses.postgres")

APPLICATION = "run-pipeline"
NAME_LENGTH = 63
NOT_TAKEN = "22023"
"""The SQLSTATE of a setting that the server knows, but not with this value."""

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
schema of others in `search_path` nobody's function or operator comes before the engine's (CVE-2018-1058). The server,
too, notices after a minute that a client's network has gone silent, and gives up its transaction.
"""

_UNLIMITED = (
    "CASE WHEN CAST(pg_catalog.current_setting('server_version_num') AS integer) >= 170000 "
    "THEN pg_catalog.set_config('transaction_timeout', '0', false) END"
)
"""From 17 on a server can bound whole transactions, and a read is one for as long as its rows are worked on. Asked in
the same round trip: only the server knows which version it is, and older ones do not know the setting.
"""


class _Session(Protocol):
    """What is set up, by either driver."""

    answered: bool

    def execute(self, text: str, values: Mapping[str, Any] | None = None) -> object:
        """Send one statement."""


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

    def set_up(self, session: _Session) -> None:
        """Give a new session its settings. Blocks. Raises what the driver raises."""
        settings = {
            **_FIXED,
            "statement_timeout": milliseconds(self.time_limit),
            "idle_in_transaction_session_timeout": milliseconds(self.settings.idle_in_transaction_timeout),
        }
        calls = [f"pg_catalog.set_config('{name}', :{name}, false)" for name in settings]
        session.execute(f"SELECT {', '.join(calls)}, {_UNLIMITED}", settings)
        self._watch_for_the_client(session)
        session.answered = False

    def _watch_for_the_client(self, session: _Session) -> None:
        """Have the server end a query whose client is gone: without this it goes on after a kill (GUARANTEES 12)."""
        text = "SELECT pg_catalog.set_config('client_connection_check_interval', :interval, false)"
        try:
            session.execute(text, {"interval": milliseconds(self.settings.check_interval)})
        except DRIVER_ERRORS as error:
            if sqlstate(error) != NOT_TAKEN:
                raise
            _log.warning("the server cannot look for clients that are gone")


def milliseconds(seconds: float | None) -> str:
    """Return a timeout as PostgreSQL takes it: 0 for none."""
    return "0" if seconds is None else str(max(1, round(seconds * 1000)))


def application_name(*names: str) -> str:
    """Return the name under which a connection is seen that works for these: the server takes 63 ASCII characters."""
    text = f"{APPLICATION} {'/'.join(names)}"
    return text.encode("ascii", "replace").decode()[:NAME_LENGTH]
