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

from runner.ports import Statement, WriteTarget
from runner.sql import DUCKDB, Parameters, column_list, qualified, quote
from runner.warehouses.duckdb.calls import Cursor
from runner.warehouses.duckdb.staging import NUMBER, Stage

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

    def __init__(self, cursor: Cursor, target: WriteTarget, stage: Stage, stamp: datetime) -> None:
        self._cursor = cursor
        self._target = target
        self._stage = stage
        self._stamp = stamp
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
        key, stage = column_list(self._target.key), quote(self._stage.name)
        try:
            with self._stage.relation(self._cursor, self._target.key):
                self._cursor.execute(
                    f"CREATE OR REPLACE TEMP TABLE key_hashes AS SELECT hash({key}) AS h FROM {stage}"
                )
            repeated = self._some_hashes_repeat()
        finally:
            self._cursor.execute("DROP TABLE IF EXISTS key_hashes")
        if repeated:
            with self._stage.relation(self._cursor, self._target.key):
                distinct = self._count(f"SELECT count(*) FROM (SELECT DISTINCT {key} FROM {stage})")
            self.duplicates = self._stage.rows - distinct

    def run(self) -> int:
        """Return the number of rows written; `deleted` counts those that a replacement took away."""
        self.deleted = self._empty() if self._target.mode == "replace" else 0
        if not self._stage.rows:
            return 0
        matching, duplicates = self._keyed and self._may_match(), self.duplicates > 0
        if matching or duplicates or not self._fit_in_groups():
            statement = merge_statement(
                self._target, self._stage.name, self._stamp, matching=matching, duplicates=duplicates
            )
            relation = self._stage.relation(self._cursor)
        else:
            statement = insert_statement(self._target, self._stage.name, self._stamp)
            relation = self._stage.relation(self._cursor, self._target.given, batch_rows=GROUP_ROWS)
        with relation:
            return int(self._cursor.execute(statement.text, statement.values or None).fetchall()[0][0])

    def _fit_in_groups(self) -> bool:
        """Tell whether memory allows to hand the rows over by row groups."""
        return self._stage.rows <= GROUPED_ROWS and self._stage.row_bytes * GROUP_ROWS <= GROUP_BYTES

    def _some_hashes_repeat(self) -> bool:
        passes = 1 + self._stage.rows // PASS_ROWS
        repeated = f"SELECT h FROM key_hashes WHERE h % {passes} = $number GROUP BY h HAVING count(*) > 1"
        return any(
            self._cursor.execute(f"SELECT count(*) FROM ({repeated})", {"number": number}).fetchall()[0][0]
            for number in range(passes)
        )

    def _empty(self) -> int:
        return self._count(f"DELETE FROM {qualified(self._target.table.ref)}")

    def _may_match(self) -> bool:
        """Tell whether staged keys may be in the target."""
        if self._target.mode == "replace":
            return False
        table = qualified(self._target.table.ref)
        if not self._count(f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT 1)"):
            return False
        if self._stage.rows < GROUP_ROWS:
            return True
        matching = f"{quote(self._stage.name)} AS s SEMI JOIN {table} AS t ON {_equal_keys(self._target)}"
        with self._stage.relation(self._cursor, self._target.key):
            return self._count(f"SELECT count(*) FROM {matching}") > 0

    def _count(self, text: str) -> int:
        return int(self._cursor.execute(text).fetchall()[0][0])


def insert_statement(target: WriteTarget, stage: str, stamp: datetime) -> Statement:
    """Return the statement that adds the rows of the relation `stage`; its result is their number."""
    parameters = Parameters(DUCKDB)
    stamped = parameters.bind("stamp", stamp, "timestamp") if target.stamped else ""
    columns = column_list((*target.given, *target.stamped))
    values = ", ".join([column_list(target.given), *(stamped for _ in target.stamped)])
    text = f"INSERT INTO {qualified(target.table.ref)} ({columns}) SELECT {values} FROM {quote(stage)}"
    return Statement(text=text, values=parameters.values)


def merge_statement(
    target: WriteTarget, stage: str, stamp: datetime, *, matching: bool, duplicates: bool
) -> Statement:
    """Return the statement that lands the relation `stage`; its result is the number of rows written.

    `matching`: keys may be in the target already. `duplicates`: the relation holds equal keys.
    """
    parameters = Parameters(DUCKDB)
    stamped = parameters.bind("stamp", stamp, "timestamp") if target.stamped else ""
    columns = column_list((*target.given, *target.stamped))
    values = ", ".join([column_list(target.given, "s"), *(stamped for _ in target.stamped)])
    rows = (
        _last_of_each(target, stage)
        if duplicates
        else f"(SELECT {column_list(target.given)} FROM {quote(stage)})"
    )
    on = _equal_keys(target) if matching else "FALSE"
    text = f"MERGE INTO {qualified(target.table.ref)} AS t USING {rows} AS s ON {on}\n"
    if matching and target.mode == "upsert" and (changes := _changes(target, stamped)):
        text += f"WHEN MATCHED THEN UPDATE SET {changes}\n"
    text += f"WHEN NOT MATCHED THEN INSERT ({columns}) VALUES ({values})"
    return Statement(text=text, values=parameters.values)


def _last_of_each(target: WriteTarget, stage: str) -> str:
    return (
        f"(SELECT {column_list(target.given)} FROM {quote(stage)} "
        f"QUALIFY row_number() OVER (PARTITION BY {column_list(target.key)} ORDER BY {quote(NUMBER)} DESC) = 1)"
    )


def _equal_keys(target: WriteTarget) -> str:
    return " AND ".join(f"t.{quote(name)} = s.{quote(name)}" for name in target.key)


def _changes(target: WriteTarget, stamped: str) -> str:
    given = [f"{quote(name)} = s.{quote(name)}" for name in target.given if name not in target.key]
    return ", ".join([*given, *(f"{quote(name)} = {stamped}" for name in target.set_on_write)])
