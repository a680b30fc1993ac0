"""The open DuckDB file: how it is opened, its cursors, and its private files."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from runner.errors import HeldByAnother
from runner.ids import new_ulid
from runner.landings.staging import remove_leftovers
from runner.settings import DuckDBSettings
from runner.warehouses.duckdb.faults import DRIVER_ERRORS, translate
from runner.warehouses.duckdb.statements import told, untold

_OPENING = threading.Lock()
"""The umask belongs to the whole process, so only one thread may change and restore it at a time."""

PRIVATE_UMASK = 0o077
CATALOG = "run-pipeline"
ROLLBACKS = 100
USE = f'USE "{CATALOG}"'
"""A cursor does not inherit it."""


class Database:
    """One DuckDB instance and its idle cursors. Methods block; a cursor is used by one thread at a time.

    `path` is absolute, as is `temp_directory`, where DuckDB spills.
    """

    def __init__(self, path: Path, settings: DuckDBSettings, temp_directory: Path) -> None:
        self.path = path
        self.settings = settings
        self.temp_directory = temp_directory
        self.invalidated = False
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._idle: list[duckdb.DuckDBPyConnection] = []
        self._committing = threading.Lock()

    def open(self) -> None:
        """Open the file, making it and its folder when they are missing, private to this user (promise 18).

        Raises `HeldByAnother` when another process has it, `WarehouseError` for a file that is no database.
        """
        with _OPENING:
            before = os.umask(PRIVATE_UMASK)
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.temp_directory.mkdir(parents=True, exist_ok=True)
                self._connection = self._attach()
                self._configure(self._connection)
                remove_leftovers(self.temp_directory)
            except DRIVER_ERRORS as error:
                self.close()
                raise self._translate(error) from error
            finally:
                os.umask(before)
        self.invalidated = False

    def close(self) -> None:
        """Close the file. Cursors that are still out end with their next call."""
        for cursor in self._idle:
            cursor.close()
        self._idle.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def take(self) -> duckdb.DuckDBPyConnection:
        """Return a cursor for one caller; it inherits the settings. Opens an invalidated file again, once."""
        if self.invalidated:
            self.close()
            self.open()
        if self._connection is None:
            raise RuntimeError("the warehouse is not open; use it as an async context manager")
        return told(self._idle.pop() if self._idle else self._connection.cursor().execute(USE))

    def give(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Take a cursor back that holds no transaction, no open reader and no temporary table."""
        cursor = untold(cursor)
        if self.invalidated or self._connection is None:
            cursor.close()
        else:
            self._idle.append(cursor)

    @contextmanager
    def transaction(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """One transaction: committed at the end, rolled back on any error. The last statement in it must be one that
        writes: the COMMIT of a transaction that was aborted raises nothing and rolls back (GUARANTEES 3).
        """
        try:
            cursor.execute("BEGIN")
            yield
            self._commit(cursor)
        except BaseException:
            rollback(cursor)
            raise

    def _commit(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Commit, with the write-ahead log private: DuckDB makes it anew after every checkpoint, as the umask says,
        but takes an empty file that is there.
        """
        with self._committing:
            wal = Path(f"{self.path}.wal")
            if not wal.exists():
                os.close(os.open(wal, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            cursor.execute("COMMIT")

    def _attach(self) -> duckdb.DuckDBPyConnection:
        """Open the file under a name that no dataset can have. Opened directly it would be named after the file, and
        a dataset `warehouse` in `warehouse.duckdb` be ambiguous.

        The instance in memory that it is attached to is named, too, and uniquely: within a process DuckDB gives one
        instance to all who ask for the same name, and two projects would share it with its locked configuration.
        """
        connection = duckdb.connect(f":memory:{CATALOG}-{new_ulid()}")
        try:
            path = str(self.path).replace("'", "''")  # ATTACH takes no parameters
            connection.execute(f"ATTACH '{path}' AS \"{CATALOG}\"")
            connection.execute(USE)
        except BaseException:
            connection.close()
            raise
        return connection

    def _configure(self, connection: duckdb.DuckDBPyConnection) -> None:
        """SET GLOBAL, because cursors inherit only that. After the last line nothing can be loosened, not even by
        SQL that comes from a project's files (GUARANTEES 10).
        """
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        connection.execute("SET memory_limit = $limit", {"limit": self.settings.memory_limit})
        if self.settings.threads is not None:
            connection.execute("SET threads = $threads", {"threads": self.settings.threads})
        connection.execute("SET temp_directory = $folder", {"folder": str(self.temp_directory)})
        # Five row groups a thread wait to be written by default; with one, landing 700,000 rows takes 75 MB less
        # and no longer.
        connection.execute("SET write_buffer_row_group_count = 1")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")

    def _translate(self, error: BaseException) -> Exception:
        translated = translate(error)
        return (
            HeldByAnother(str(self.path), translated.holder)
            if isinstance(translated, HeldByAnother)
            else translated
        )


def rollback(cursor: duckdb.DuckDBPyConnection) -> None:
    """Roll back, whatever happens: the error that led here is the one to tell. While a call is being cancelled the
    interrupts go on, every 20 ms, and one may hit the ROLLBACK (seen), which then has to be sent again.
    """
    for _ in range(ROLLBACKS):
        try:
            cursor.execute("ROLLBACK")
        except duckdb.InterruptException:
            continue
        except duckdb.Error:
            return  # nothing to roll back, or an instance that has to be opened again
        return
