"""The statements that bring staged rows into a target, and the questions that choose among them.

Measured with 700,000 rows of 8 columns (2 cores): a window for the last of each key takes 1.2 s, so it is only used
when a check of 0.07 s has found equal keys. New rows are inserted (0.62 s, 1.05 s of processor time) in batches of a
row group of DuckDB's: each is compressed and written by itself, on all cores. In smaller batches they have to be
joined first, in their order (1.0 s). A MERGE that matches nothing does not keep the order (0.68 s, 1.35 s of
processor time) and leaves a broken row group a core, which DuckDB mends in about half of the loads by rewriting the
table when the file is closed (0.6 s); that is left for rows too many or too wide for such
batches. A MERGE into 7,000,000 rows takes 2.0 s, but 1.35 s as a look at the keys and then an insert, when no key is
there yet.

A replaced table is emptied and filled in the landing's transaction: readers see the old rows until its commit, and
it keeps its columns and constraints. Deleting 1,000,000 rows takes 0.01 s; what they took of the file is used again
after the next checkpoint (24 replacements in one process: never above five generations, at closing two; a second
table that is renamed grows the file just as much).
"""

from __future__ import annotations

from datetime import datetime

from runner.landings import (
    StagedRows,
    distinct_statement,
    empty_statement,
    insert_statement,
    merge_statement,
)
from runner.landings.staging import StagedBatches
from runner.ports import Statement, WriteTarget
from runner.sql import DUCKDB, Parameters, column_list, qualified, quote
from runner.warehouses.duckdb.calls import Cursor
from runner.warehouses.duckdb.measures import fetch
from runner.warehouses.duckdb.staging import readable

GROUP_ROWS = 122_880
"""Rows of a row group of DuckDB's, as it makes them where nobody says otherwise.

From this many staged rows on it is looked first whether any key is there already: then inserting whole row groups is
worth what the look costs. It costs a third of a landing of 100,000 rows into 1,000,000.
"""

GROUP_BYTES = 24_000_000
"""Bytes that such a batch of rows may have: each core holds one."""

GROUPED_ROWS = 1_000_000
"""Rows up to which whole row groups are worth their memory: with 7,000,000 the peak of a run was 440 MiB instead of
380, and what DuckDB mends at closing does not grow with the load.
"""

PASS_ROWS = 1_000_000
"""Rows whose keys are compared in one pass of the search for equal keys: 16 bytes a key are held at a time."""


class Upsert:
    """Lands the staged rows of one target, inside the caller's transaction. Blocks."""

    def __init__(self, cursor: Cursor, target: WriteTarget, stage: StagedBatches, stamp: datetime) -> None:
        self._cursor = cursor
        self._target = target
        self._stage = stage
        self._stamp = stamp
        self.rows = StagedRows(target=target, relation=quote(stage.name))
        self.duplicates = 0
        self.deleted = 0
        self._keyed = target.mode != "append" and bool(target.key)

    def prepare(self) -> None:
        """Count the staged rows that a later one of equal key replaces: before the transaction, since it makes a
        temporary table. Hashes are looked at first, in passes that bound memory; only where two are equal are the
        keys themselves compared.
        """
        self.duplicates = 0
        if not self._keyed or not self._stage.rows:
            return
        try:
            with readable(self._cursor, self._stage, self._target.key):
                self._cursor.execute(
                    "CREATE OR REPLACE TEMP TABLE key_hashes AS "
                    f"SELECT hash({column_list(self._target.key)}) AS h FROM {self.rows.relation}"
                )
            repeated = self._some_hashes_repeat()
        finally:
            self._cursor.execute("DROP TABLE IF EXISTS key_hashes")
        if repeated:
            with readable(self._cursor, self._stage, self._target.key):
                self.duplicates = self._stage.rows - self._number(distinct_statement(self.rows, DUCKDB))

    def run(self) -> int:
        """Return the number of rows written; `deleted` counts those that a replacement took away."""
        if self._target.mode == "replace":
            self.deleted = self._number(empty_statement(self._target.table, DUCKDB))
        if not self._stage.rows:
            return 0
        matching, duplicates = self._keyed and self._may_match(), self.duplicates > 0
        parameters = Parameters(DUCKDB)
        if matching or duplicates or not self._fit_in_groups():
            statement = merge_statement(
                self.rows, self._stamp, parameters, matching=matching, duplicates=duplicates
            )
            relation = readable(self._cursor, self._stage)
        else:
            statement = insert_statement(self.rows, self._stamp, parameters)
            relation = readable(self._cursor, self._stage, self._target.given, batch_rows=GROUP_ROWS)
        with relation:
            return self._number(statement)

    def _fit_in_groups(self) -> bool:
        """Tell whether memory allows to hand the rows over by row groups."""
        return self._stage.rows <= GROUPED_ROWS and self._stage.row_bytes * GROUP_ROWS <= GROUP_BYTES

    def _some_hashes_repeat(self) -> bool:
        passes = 1 + self._stage.rows // PASS_ROWS
        repeated = f"SELECT h FROM key_hashes WHERE h % {passes} = $number GROUP BY h HAVING count(*) > 1"
        counted = f"SELECT count(*) FROM ({repeated})"
        return any(
            self._number(Statement(text=counted, values={"number": number})) for number in range(passes)
        )

    def _may_match(self) -> bool:
        """Tell whether staged keys may be in the target."""
        if self._target.mode == "replace":
            return False
        table = qualified(self._target.table.ref)
        if not self._number(Statement(text=f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT 1)")):
            return False
        if self._stage.rows < GROUP_ROWS:
            return True
        equal = " AND ".join(f"t.{quote(name)} = s.{quote(name)}" for name in self._target.key)
        matching = f"SELECT count(*) FROM {self.rows.relation} AS s SEMI JOIN {table} AS t ON {equal}"
        with readable(self._cursor, self._stage, self._target.key):
            return self._number(Statement(text=matching)) > 0

    def _number(self, statement: Statement) -> int:
        """Send a statement and return the one number that it answers with."""
        return int(fetch(self._cursor, statement)[0][0])
