"""Real PostgreSQL servers on loopback, 15 and 18: a database for each test, what was sent to it, kills on demand."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import psutil

from tests.servers import dies_with_parent
from tests.servers.places import free_port, owner
from tests.servers.postgres_programs import Programs, find_programs, make_data

if TYPE_CHECKING:
    import psycopg

OF_THE_TEST = "the test itself"
"""The application name of connections that a test makes through here; `statements` leaves them out."""

START, FIELD = "\x1e", "\x1f"
"""Of a record in the log, and between its fields. A newline within a record is followed by a tab."""

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",  # nothing here outlives a power failure; a kill of the server is survived all the same
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "dynamic_shared_memory_type": "mmap",  # a file in the data folder: nothing remains after a kill
    "autovacuum": "off",  # it would come when it likes: a test that wants statistics says VACUUM or ANALYZE
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_statement": "all",
    "log_line_prefix": f"{START}%d{FIELD}%p{FIELD}%a{FIELD}",
}

_ACCESS = """
local all all trust
host all postgres 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
"""
"""`postgres` needs no password; a role that a test makes needs the one it was given."""


@dataclass(frozen=True)
class PostgresServer:
    """A server that runs. `version`: 15 or 18. `folder`: where its socket and its log are."""

    version: int
    port: int
    folder: Path

    def uri(self, database: str, *, unix: bool = False, user: str = "postgres", **parameters: str) -> str:
        """Return the address of a database, by TCP or by the unix socket; `parameters` are libpq's."""
        if unix:
            parameters = {"host": str(self.folder), "port": str(self.port), **parameters}
        place = "" if unix else f"127.0.0.1:{self.port}"
        more = f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""
        return f"postgresql://{user}@{place}/{quote(database)}{more}"

    @contextmanager
    def connect(self, database: str = "postgres") -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """Open a connection of the test's own, in autocommit mode."""
        import psycopg

        uri = self.uri(database, application_name=OF_THE_TEST)
        with psycopg.connect(uri, autocommit=True) as connection:
            yield connection

    def create_database(self) -> PostgresDatabase:
        """Make an empty database."""
        name = f"t_{uuid.uuid4().hex[:12]}"
        with self.connect() as connection:
            # A copy of files: the other strategy writes every page to the write-ahead log.
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy".encode())
        return PostgresDatabase(self, name, log_offset=self.log_bytes())

    @contextmanager
    def database(self) -> Iterator[PostgresDatabase]:
        """Make an empty database, and drop it with its connections at the end."""
        made = self.create_database()
        try:
            yield made
        finally:
            made.drop()

    def log_bytes(self) -> int:
        """Return how long the log is."""
        return (self.folder / "log").stat().st_size


@dataclass(frozen=True)
class Statement:
    """What a client sent: the process that served it, the client's `application_name`, the SQL."""

    pid: int
    application: str
    text: str


@dataclass(frozen=True)
class PostgresDatabase:
    """A database of its own for a test."""

    server: PostgresServer
    name: str
    log_offset: int = 0

    @property
    def uri(self) -> str:
        """Its address by TCP."""
        return self.server.uri(self.name)

    @property
    def unix_uri(self) -> str:
        """Its address by the unix socket."""
        return self.server.uri(self.name, unix=True)

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """Open a connection of the test's own (autocommit), which `statements` does not show."""
        with self.server.connect(self.name) as connection:
            yield connection

    def fetch(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement of the test's own, and return its rows; none if it has none."""
        with self.connect() as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def sent(self) -> list[Statement]:
        """Return what clients have sent to this database so far, oldest first, without the test's own."""
        with (self.server.folder / "log").open("rb") as log:
            log.seek(self.log_offset)
            records = log.read().decode(errors="replace").split(f"\n{START}")
        found = (_statement(record.removeprefix(START), self.name) for record in records)
        return [statement for statement in found if statement]

    def statements(self) -> list[str]:
        """Return the SQL of what clients have sent to this database so far, oldest first."""
        return [statement.text for statement in self.sent()]

    def running(self) -> list[str]:
        """Return the SQL that clients of this database have running at this moment, without the test's own."""
        rows = self.fetch(
            "SELECT query FROM pg_stat_activity WHERE datname = %s AND state = 'active' AND application_name <> %s",
            self.name, OF_THE_TEST,
        )  # fmt: skip
        return [query for (query,) in rows]

    def drop(self) -> None:
        """Drop it, and cut its connections."""
        with self.server.connect() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)".encode())


class PostgresProcess:
    """A server that this process starts, kills and starts again. `server` is how others reach it."""

    def __init__(self, version: int, folder: Path) -> None:
        """`folder` exists, is empty, can be entered by everybody, and is removed by `remove`.

        Raises `NotToBeHadError` if there is no such PostgreSQL.
        """
        self._programs: Programs = find_programs(version)
        self.server = PostgresServer(version, free_port(), folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._data = folder / "data"
        self._owner = owner()
        make_data(self._programs, self._data)
        (self._data / "pg_hba.conf").write_text(_ACCESS)
        (folder / "log").touch()
        if os.geteuid() == 0:
            os.chown(folder, self._owner.pw_uid, self._owner.pw_gid)

    def start(self, **settings: str) -> None:
        """Start, and wait until it takes connections. `settings`: more of postgresql.conf."""
        folder, port = self.server.folder, self.server.port
        own = {"port": str(port), "unix_socket_directories": str(folder)}
        options = [f"--{name}={value}" for name, value in {**_SETTINGS, **own, **settings}.items()]
        program: list[str | Path] = [self._programs.bin / "postgres", "-D", self._data, *options]
        identity = (self._owner.pw_uid, self._owner.pw_gid)
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                dies_with_parent.command(signal.SIGQUIT, identity, *program), env=self._programs.environment,
                cwd="/", start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start: {self.log()[-2000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop it: transactions are rolled back, connections are cut (what `pg_ctl stop` does)."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=20)
            self._process = None

    def kill(self) -> None:
        """Kill the server with all its processes (SIGKILL), as a crash would."""
        if self._process is None:
            return
        with suppress(psutil.NoSuchProcess):
            master = psutil.Process(self._process.pid)
            master.suspend()  # so that it starts no more
            for process in [*master.children(recursive=True), master]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.wait(timeout=10)
        self._process = None

    def freeze(self) -> None:
        """Stop all its processes (SIGSTOP): the kernel still takes what is sent to it, but nobody answers."""
        assert self._process is not None
        master = psutil.Process(self._process.pid)
        master.suspend()  # first: it starts no more of them
        for process in master.children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # ended in this moment
                process.suspend()

    def thaw(self) -> None:
        """Let a frozen server go on."""
        assert self._process is not None
        master = psutil.Process(self._process.pid)
        for process in [*master.children(recursive=True), master]:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def restart(self, **settings: str) -> None:
        """Stop it if it runs, and start it again on the same port with the same data."""
        self.stop()
        self.start(**settings)

    def remove(self) -> None:
        """End it at once, and remove its files and the shared memory that a killed one has left."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
            self.kill()
        left = self._data / "postmaster.pid"
        if left.exists() and len(lines := left.read_text().splitlines()) > 6:
            segment = lines[6].split()[-1]
            subprocess.run(["ipcrm", "-m", segment], capture_output=True, check=False)
        shutil.rmtree(self.server.folder, ignore_errors=True)

    def description(self) -> dict[str, Any]:
        """Return what another process makes a `PostgresServer` of."""
        return {"version": self.server.version, "port": self.server.port, "folder": str(self.server.folder)}

    def log(self) -> str:
        """Return what it wrote to its log."""
        return (self.server.folder / "log").read_text(errors="replace")

    def _is_ready(self) -> bool:
        """Read the file of the server's process: its number in the first line, its state in the eighth."""
        assert self._process is not None
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready"


def _statement(record: str, database: str) -> Statement | None:
    """Read a record of the log: `DATABASE PID APPLICATION LOG:  statement: SQL`, with tabs after newlines."""
    fields = record.split(FIELD, 3)
    if len(fields) < 4 or fields[0] != database or fields[2] == OF_THE_TEST:
        return None
    level, _, message = fields[3].rstrip("\n").partition(":  ")
    kind, _, text = message.partition(": ")
    if level != "LOG" or kind.split(" ")[0] not in ("statement", "execute"):
        return None
    return Statement(int(fields[1]), fields[2], text.replace("\n\t", "\n"))
