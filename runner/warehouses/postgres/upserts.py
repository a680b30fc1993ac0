"""How staged rows come into a target, so that no key comes twice, whoever else is writing.

Landings of the engine into one table take turns, also those of different processes: each takes an advisory lock on
the table's name until its end. That leaves everybody else who writes:

- With a unique index on exactly the key, INSERT … ON CONFLICT. Two transactions that insert the same new key wait for
  each other at the index. (MERGE with such an index would fail: it looks first and then inserts.)
- Without one, MERGE, and the table is locked against other writers (SHARE ROW EXCLUSIVE) until the end: two MERGEs that
  saw the same key missing would both insert it. Readers are not locked out.

A replaced table is emptied by DELETE: TRUNCATE would show those who began to read before the commit an empty table, and
wait for all readers.
"""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from runner.landings import (
    StagedRows,
    conflict_statement,
    distinct_statement,
    empty_statement,
    insert_statement,
    merge_statement,
)
from runner.landings.staging import StagedBatches
from runner.ports import Statement, WriteTarget
from runner.specs import TableRef
from runner.sql import POSTGRES, Parameters
from runner.warehouses.postgres.copying import copy_stage, relation
from runner.warehouses.postgres.session import Session

_UNIQUE = """
SELECT 1 FROM pg_catalog.pg_index AS i
WHERE i.indrelid = pg_catalog.to_regclass(:relation)
AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
AND CAST(:key AS text[]) = (
  SELECT array_agg(CAST(a.attname AS text) ORDER BY CAST(a.attname AS text) COLLATE "C")
  FROM pg_catalog.pg_attribute AS a
  WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((CAST(i.indkey AS int2[]))[0:i.indnkeyatts - 1])
)
"""


class Upsert:
    """Lands the staged rows of one target, inside the caller's transaction. Blocks."""

    def __init__(self, session: Session, target: WriteTarget, stage: StagedBatches, stamp: datetime) -> None:
        self._session = session
        self._target = target
        self._stage = stage
        self._stamp = stamp
        self.rows = StagedRows(target=target, relation=relation(stage.name))
        self.duplicates = 0
        self.deleted = 0
        self._keyed = target.mode != "append" and bool(target.key)
        self._unique = False

    def prepare(self) -> None:
        """Send the staged rows, and count those that a later one of equal key replaces."""
        if self._stage.rows:
            copy_stage(self._session, self._stage, self._target.table)
            if self._keyed:
                self.duplicates = self._stage.rows - self._distinct_keys()

    def lock(self) -> None:
        """Lock the table against other writers, if it needs that."""
        if not self._keyed or self._target.mode == "replace" or not self._stage.rows:
            return
        table = POSTGRES.qualified(self._target.table.ref)
        found = self._session.execute(_UNIQUE, {"relation": table, "key": sorted(self._target.key)})
        self._unique = bool(found.fetchall())
        if not self._unique:
            self._session.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")

    def run(self) -> int:
        """Return the number of rows written; `deleted` counts those that a replacement took away."""
        if self._target.mode == "replace":
            self.deleted = self._send(empty_statement(self._target.table, POSTGRES))
        return self._send(self._statement()) if self._stage.rows else 0

    def _statement(self) -> Statement:
        parameters, duplicates = Parameters(POSTGRES), self.duplicates > 0
        if not self._keyed or self._target.mode == "replace":
            return insert_statement(self.rows, self._stamp, parameters, duplicates=duplicates)
        if self._unique:
            return conflict_statement(self.rows, self._stamp, parameters, duplicates=duplicates)
        return merge_statement(self.rows, self._stamp, parameters, duplicates=duplicates)

    def _distinct_keys(self) -> int:
        """Ask Arrow where it holds the rows in memory anyway: the server sorts them."""
        floats = any(self._target.table.column(name).type == "float64" for name in self._target.key)
        if self._stage.spilled or floats:  # 0.0 is -0.0 for the server
            return int(self._session.fetch(distinct_statement(self.rows, POSTGRES))[0][0])
        keys: pa.Table = self._stage.reader(self._target.key).read_all()
        return int(keys.group_by(list(self._target.key)).aggregate([]).num_rows)

    def _send(self, statement: Statement) -> int:
        return self._session.execute(statement.text, statement.values).rowcount


def take_turns(session: Session, name: TableRef | str) -> None:
    """Wait until no other transaction of the engine holds the lock of this name; it is held until the end of this one.
    Blocks.
    """
    session.execute(
        "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(:name, 0))",
        {"name": f"run-pipeline {name}"},
    )
