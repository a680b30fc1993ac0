"""Events into `ops.event_log`, each once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from runner.ddl import EVENT_LOG
from runner.landings.events import event_batch
from runner.ports import Row
from runner.sql import POSTGRES
from runner.warehouses.postgres.copying import copy_in, relation
from runner.warehouses.postgres.session import Session
from runner.warehouses.postgres.upserts import take_turns

INCOMING = "incoming_events"


def merge(session: Session, rows: Sequence[Row]) -> int:
    """Insert those rows whose event id is not there; return how many. Blocks. `payload` may be text or an object."""
    unique = {row["event_id"]: row for row in rows}
    columns = POSTGRES.columns(EVENT_LOG.column_names)
    log = POSTGRES.qualified(EVENT_LOG.ref)
    types = {column.name: POSTGRES.types[column.type] for column in EVENT_LOG.columns}
    with session.transaction():
        take_turns(session, EVENT_LOG.ref)
        copy_in(session, INCOMING, types, [event_batch([_storable_row(row) for row in unique.values()])])
        cursor = session.execute(
            f"INSERT INTO {log} ({columns}) SELECT {columns} FROM {relation(INCOMING)} AS s "
            f'WHERE NOT EXISTS (SELECT 1 FROM {log} AS t WHERE t."event_id" = s."event_id") '
            "ON CONFLICT DO NOTHING"
        )
    return cursor.rowcount


def _storable_row(row: Row) -> Row:
    return {name: _value(row, name) for name in EVENT_LOG.column_names}


def _value(row: Row, name: str) -> Any:
    value = row.get(name)
    if name != "payload" or value is None:
        return _storable(value)
    if isinstance(value, str):
        if "\\u" not in value:
            return value
        value = json.loads(value)
    return json.dumps(_storable(value), ensure_ascii=False, default=lambda other: _storable(str(other)))


def _storable(value: Any) -> Any:
    """Return a value in which text is such as PostgreSQL takes it, also within JSON: no NUL, no half of a character.
    An event must not be lost because of what somebody's error said.
    """
    if isinstance(value, str):
        return value.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_storable(str(key)): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return value
