"""`Session`: one psycopg connection, in autocommit mode. Its methods block."""

from __future__ import annotations

import select
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import psycopg
import pyarrow as pa
from psycopg.pq import TransactionStatus
from psycopg.types.string import TextLoader

from runner.errors import WarehouseError
from runner.logs import get_logger
from runner.ports import Statement
from runner.statement_log import Sending
from runner.types import arrow_type
from runner.warehouses.postgres.faults import ENGINE
from runner.warehouses.postgres.interrupts import CANCEL_SECONDS, Interrupts, shut_down
from runner.warehouses.postgres.placeholders import numbered, refuse_nul
from runner.warehouses.postgres.server import APPLICATION, Server

_log = get_logger("warehouses.postgres")

_DECLARED = {
    16: "bool", 17: "bytes", 20: "int64", 21: "int64", 23: "int64", 700: "float64", 701: "float64",
    1082: "date", 1184: "timestamp", 1700: "numeric",
}  # fmt: skip
"""Declared types by the OIDs of pg_type, which never change."""

_JSON = ("json", "jsonb")
"""Types that are text here, as they are in every other place."""

Row = tuple[Any, ...]


class Session:
    """One connection. `reused`: it comes from the pool. `answered`: since it was taken a statement has succeeded.
    `broken`: it must not be used again.
    """

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self.connection = connection
        self.reused = False
        self.answered = False
        self.broken = False
        self.application = APPLICATION
        self.interrupts = Interrupts(self._cancel, lambda: shut_down(connection.fileno()))

    def execute(self, text: str, values: Mapping[str, Any] | None = None) -> psycopg.Cursor[Row]:
        """Send one statement with `:name` for its values, which are bound on the server."""
        refuse_nul(values or {})
        query, bound = numbered(text, values or {})
        with Sending(ENGINE, text) as sending:
            cursor = self.connection.execute(query.encode(), bound or None)
            sending.rows = cursor.rowcount if cursor.rowcount >= 0 else None
        self.answered = True
        return cursor

    def fetch(self, statement: Statement) -> list[Row]:
        """Send a query and return its rows."""
        return self.execute(statement.text, statement.values).fetchall()

    def table(self, statement: Statement) -> pa.Table:
        """Send a query and return its few rows as Arrow, with the types of declared columns; what is none is text."""
        cursor = self.execute(statement.text, statement.values)
        columns = cursor.description or ()
        rows = cursor.fetchall()
        cells: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * len(columns)
        arrays = [_array(values, column.type_code) for values, column in zip(cells, columns, strict=True)]
        return pa.Table.from_arrays(arrays, names=[column.name for column in columns])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One transaction: committed at the end, rolled back on any error. COMMIT of a transaction that was aborted
        raises nothing and rolls back (GUARANTEES 3): the status is looked at before, and the answer after.
        """
        self.execute("BEGIN")
        try:
            yield
            self._commit()
        except BaseException:
            self.roll_back()
            raise

    def _commit(self) -> None:
        if self.connection.info.transaction_status != TransactionStatus.INTRANS:
            raise WarehouseError(ENGINE, "the transaction was aborted; nothing was written")
        if (answer := self.execute("COMMIT").statusmessage) != "COMMIT":
            raise WarehouseError(ENGINE, f"the server answered COMMIT with {answer}; nothing was written")

    def roll_back(self) -> None:
        """Roll back, whatever happens: the error that led here is the one to tell. Where that fails, the connection is
        not used again, and the server rolls back when it ends.
        """
        if self.connection.info.transaction_status == TransactionStatus.IDLE:
            return
        try:
            self.connection.execute("ROLLBACK")
        except psycopg.Error as error:
            self.broken = True
            _log.debug("a rollback failed; the connection is closed: %s", type(error).__name__)

    def is_usable(self) -> bool:
        """Tell, without asking the server, whether the connection can be used again. From a server that waits for the
        next statement nothing comes; something that is there to be read is its farewell.
        """
        if self.broken or self.connection.closed:
            return False
        if self.connection.info.transaction_status != TransactionStatus.IDLE:
            return False
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN | select.POLLERR | select.POLLHUP)
        return not poll.poll(0)

    def name(self, application: str) -> None:
        """Say for whom the session works from now on, in `pg_stat_activity`."""
        if application != self.application:
            self.execute(
                "SELECT pg_catalog.set_config('application_name', :name, false)", {"name": application}
            )
            self.application = application

    def close(self) -> None:
        """End the connection, after a cancel that is still under way."""
        self.interrupts.join()
        self.connection.close()

    def _cancel(self) -> None:
        self.connection.cancel_safe(timeout=CANCEL_SECONDS)


def _array(values: Sequence[Any], type_oid: int) -> pa.Array:
    """Return the values of a column as the declared type that the engine's type stands for; text for any other."""
    declared = _DECLARED.get(type_oid, "string")
    if declared == "string":
        values = [None if value is None else str(value) for value in values]
    return pa.array(values, arrow_type(declared))


def open_session(server: Server) -> Session:
    """Connect and set the session up. Blocks. Raises what the driver raises."""
    connection = cast(
        "psycopg.Connection[Row]",
        psycopg.connect(
            **server.parameters(), autocommit=True, prepare_threshold=None, cursor_factory=psycopg.RawCursor
        ),
    )
    for name in _JSON:
        connection.adapters.register_loader(name, TextLoader)
    session = Session(connection)
    try:
        server.set_up(session)
    except BaseException:
        connection.close()
        raise
    return session
