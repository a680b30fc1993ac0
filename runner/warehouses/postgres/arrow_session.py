"""`ArrowSession`: one ADBC connection, in autocommit mode. Its methods block.

The low level of ADBC, not its DB-API: that gives a reader whose errors have lost their SQLSTATE.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import adbc_driver_manager
import adbc_driver_postgresql
import pyarrow as pa
from adbc_driver_manager import _reader
from psycopg.conninfo import make_conninfo

from runner.logs import get_logger
from runner.statement_log import Sending
from runner.warehouses.postgres.faults import ENGINE
from runner.warehouses.postgres.interrupts import Interrupts, shut_down, socket_between
from runner.warehouses.postgres.placeholders import numbered
from runner.warehouses.postgres.server import APPLICATION, Server

STATUS = "adbc.postgresql.transaction_status"
BATCH_BYTES = "adbc.postgresql.batch_size_hint_bytes"
LITTLE = 100_000
"""Bytes of a batch of a small result."""

_log = get_logger("warehouses.postgres")


class Rows:
    """The rows of a query that is under way. Methods block."""

    def __init__(
        self, statement: adbc_driver_manager.AdbcStatement, reader: _reader.AdbcRecordBatchReader
    ) -> None:
        self._statement = statement
        self._reader = reader
        self._closed = False

    def next(self) -> pa.RecordBatch | None:
        """Return the next batch; None at the end. Raises what the driver raises, with its SQLSTATE."""
        try:
            return self._reader.read_next_batch()
        except StopIteration:
            return None

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns, as ADBC gives them."""
        return self._reader._reader.schema

    def close(self) -> None:
        """Let go of the rows that have not been read, and of the statement, once: ADBC takes a second time amiss."""
        if self._closed:
            return
        self._closed = True
        self._reader.close()
        self._statement.close()


class ArrowSession:
    """One connection; `reused`, `answered` and `broken` as those of `Session`."""

    def __init__(self, connection: adbc_driver_manager.AdbcConnection) -> None:
        self.connection = connection
        self.reused = False
        self.answered = False
        self.broken = False
        self.application = APPLICATION
        self.interrupts = Interrupts(connection.cancel, self._cut)
        self._ports: tuple[int, int] | None = None

    def execute(self, text: str, values: Mapping[str, Any] | None = None) -> int:
        """Send one statement with `:name` for its values, which are bound on the server with the types that Arrow finds
        for them; return how many rows it changed, -1 if the server does not tell.
        """
        query, bound = numbered(text, values or {})
        statement = adbc_driver_manager.AdbcStatement(self.connection)
        with Sending(ENGINE, text) as sending, closing(statement):
            statement.set_sql_query(query)
            if bound:
                arrays = [pa.array([value]) for value in bound]
                names = [str(number) for number in range(len(bound))]
                statement.bind(pa.RecordBatch.from_arrays(arrays, names=names))
            changed = int(statement.execute_update() or 0)
            sending.rows = changed if changed >= 0 else None
        self.answered = True
        return changed

    def open(self, text: str, *, batch_bytes: int) -> Rows:
        """Send a query without placeholders, whose rows come by COPY in batches of about `batch_bytes`. They must have
        come to their end, or the session be closed, before anything else is sent.
        """
        statement = adbc_driver_manager.AdbcStatement(self.connection)
        try:
            statement.set_options(**{BATCH_BYTES: str(batch_bytes)})
            statement.set_sql_query(text)
            handle, _ = statement.execute_query()
            reader = _reader.AdbcRecordBatchReader._import_from_c(handle.address)
        except BaseException:
            statement.close()
            raise
        self.answered = True
        return Rows(statement, reader)

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        """Send a query without placeholders and return its few rows."""
        found = self.open(text, batch_bytes=LITTLE)
        try:
            batches = list(iter(found.next, None))
        finally:
            found.close()
        return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]

    @property
    def status(self) -> str:
        """Where the session is: `idle`, `active`, `intrans`, `inerror`."""
        return self.connection.get_option(STATUS)

    def is_usable(self) -> bool:
        """Tell whether the connection can be used again, as far as this is known without asking the server."""
        return not self.broken and self.status == "idle"

    def find_ports(self) -> None:
        """Ask the server between which ports it speaks with us: ADBC does not tell, and has no other way to be woken
        up. Behind a pooler these are not ours, and through a unix socket there are none.
        """
        ((own, server),) = self.rows("SELECT pg_catalog.inet_client_port(), pg_catalog.inet_server_port()")
        self._ports = None if own is None else (own, server)

    def close(self) -> None:
        """End the connection, after a cancel that is still under way; one that does not come back keeps it."""
        if self.interrupts.join():
            self.connection.close()

    def _cut(self) -> None:
        if self._ports and (found := socket_between(*self._ports)) is not None:
            shut_down(found)


def open_database(server: Server) -> adbc_driver_manager.AdbcDatabase:
    """Return what ADBC opens connections with. Blocks: it connects once, to learn the server's types."""
    database: adbc_driver_manager.AdbcDatabase = adbc_driver_postgresql.connect(
        make_conninfo(**server.parameters())
    )
    return database


def open_arrow_session(database: adbc_driver_manager.AdbcDatabase, server: Server) -> ArrowSession:
    """Connect and set the session up. Blocks. Raises what the driver raises."""
    connection = adbc_driver_manager.AdbcConnection(database)
    session = ArrowSession(connection)
    try:
        session.find_ports()
        server.set_up(session)
    except BaseException:
        connection.close()
        raise
    return session
