"""Events into `ops.event_log`, each once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from runner.ddl import EVENT_LOG
from runner.ports import Row
from runner.sql import column_list, qualified, quote
from runner.warehouses.duckdb.arrow import arrow_schema
from runner.warehouses.duckdb.calls import Cursor
from runner.warehouses.duckdb.database import Database

INCOMING = "incoming_events"


def merge(database: Database, cursor: Cursor, rows: Sequence[Row]) -> int:
    """Insert those rows whose event id is not there; return how many. Blocks. `payload` may be text or an object."""
    unique = {row["event_id"]: row for row in rows}
    columns = column_list(EVENT_LOG.column_names)
    log = qualified(EVENT_LOG.ref)
    cursor.register(INCOMING, _table(list(unique.values())))
    try:
        with database.transaction(cursor):
            # Event ids are ULIDs, so the range leaves all but the newest row groups unread.
            inserted = cursor.execute(
                f"INSERT INTO {log} ({columns}) SELECT {columns} FROM {quote(INCOMING)} AS s ANTI JOIN "
                f'(SELECT "event_id" FROM {log} WHERE "event_id" BETWEEN $least AND $greatest) AS t '
                f'ON t."event_id" = s."event_id"',
                {"least": min(unique), "greatest": max(unique)},
            ).fetchall()
    finally:
        cursor.unregister(INCOMING)
    return int(inserted[0][0])


def _table(rows: list[Row]) -> pa.Table:
    schema = arrow_schema(EVENT_LOG, EVENT_LOG.column_names)
    arrays = [pa.array([_value(row, field.name) for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _value(row: Row, name: str) -> Any:
    value = row.get(name)
    if name == "payload" and value is not None and not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value
