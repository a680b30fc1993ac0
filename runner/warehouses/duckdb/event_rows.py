"""Events into `ops.event_log`, each once."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from runner.ddl import EVENT_LOG
from runner.landings.events import event_batch, event_rows
from runner.ports import Row
from runner.sql import column_list, qualified, quote
from runner.warehouses.duckdb.calls import Cursor
from runner.warehouses.duckdb.database import Database

INCOMING = "incoming_events"


def merge(database: Database, cursor: Cursor, rows: Sequence[Row]) -> int:
    """Insert those rows whose event id is not there; return how many. Blocks. `payload` may be text or an object."""
    unique = event_rows(rows)
    ids = [row["event_id"] for row in unique]
    columns = column_list(EVENT_LOG.column_names)
    log = qualified(EVENT_LOG.ref)
    cursor.register(INCOMING, pa.Table.from_batches([event_batch(unique)]))
    try:
        with database.transaction(cursor):
            # Event ids are ULIDs, so the range leaves all but the newest row groups unread.
            inserted = cursor.execute(
                f"INSERT INTO {log} ({columns}) SELECT {columns} FROM {quote(INCOMING)} AS s ANTI JOIN "
                f'(SELECT "event_id" FROM {log} WHERE "event_id" BETWEEN $least AND $greatest) AS t '
                f'ON t."event_id" = s."event_id"',
                {"least": min(ids), "greatest": max(ids)},
            ).fetchall()
    finally:
        cursor.unregister(INCOMING)
    return int(inserted[0][0])
