"""What a landing does for a tracked read: figures about keys, keys to remember, rows that a rescore released.

The keys of a landing are worked out once, before its transaction, into two temporary tables: `read_N` (one row a
key that was read: its target key k0, k1, …, its text and its greatest source time) and `landed_N` (the distinct
target keys that were staged).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from runner.ddl import PROCESSED_KEYS
from runner.incremental import NewRows
from runner.ports import KeyMatch, KeyTracking, LandingSpec
from runner.sql import DUCKDB, Parameters, qualified, quote
from runner.warehouses.duckdb.calls import Cursor
from runner.warehouses.duckdb.staging import Stage

SAMPLES = 3


class TrackedKeys:
    """The keys of one tracked read in one landing. All methods block, on the writer's cursor."""

    def __init__(
        self,
        cursor: Cursor,
        landing: LandingSpec,
        number: int,
        tracking: KeyTracking,
        keys: Stage,
        bad_keys: str,
    ) -> None:
        self._cursor = cursor
        self._landing = landing
        self._read = tracking.read
        self._target = tracking.target
        self._keys = keys
        self._bad_keys = bad_keys
        self._read_table = f"read_{number}"
        self._landed_table = f"landed_{number}"
        self._width = range(len(self._read.spec.source_key))

    def prepare(self, stage: Stage | None) -> None:
        """Make the two temporary tables from the staged keys and the staged rows of the target, if any."""
        self.drop()
        new = self._new_rows()
        columns = ", ".join(f"{key} AS {quote(f'k{n}')}" for n, key in enumerate(new.source_key("s")))
        with self._keys.relation(self._cursor):
            self._execute(
                f"CREATE TEMP TABLE {quote(self._read_table)} AS SELECT {columns}, {new.source_text()} AS key, "
                f"{self._latest()} AS source_ts FROM {quote(self._keys.name)} AS s "
                f"WHERE {self._present('s', self._read.spec.source_key)} GROUP BY ALL",
                new.parameters,
            )
        if stage is not None and stage.rows:
            names = self._read.spec.target_key
            columns = ", ".join(f"s.{quote(name)} AS {quote(f'k{n}')}" for n, name in enumerate(names))
            with stage.relation(self._cursor, names):
                self._execute(
                    f"CREATE TEMP TABLE {quote(self._landed_table)} AS SELECT DISTINCT {columns} "
                    f"FROM {quote(stage.name)} AS s WHERE {self._present('s', names)}"
                )
        else:
            self._execute(
                f"CREATE TEMP TABLE {quote(self._landed_table)} AS SELECT * EXCLUDE (key, source_ts) "
                f"FROM {quote(self._read_table)} LIMIT 0"
            )

    def match(self) -> KeyMatch:
        """Return the figures; `remembered` is filled in by the landing."""
        read, landed = quote(self._read_table), quote(self._landed_table)
        counts = self._execute(
            f"SELECT (SELECT count(*) FROM {read}), (SELECT count(*) FROM {landed}), "
            f"(SELECT count(*) FROM {read} AS r SEMI JOIN {landed} AS l ON {self._same()})"
        )[0]
        with self._keys.relation(self._cursor, self._read.spec.source_key):
            present = self._present("s", self._read.spec.source_key)
            nulls = self._execute(
                f"SELECT count(*) FROM {quote(self._keys.name)} AS s WHERE NOT ({present})"
            )[0][0]
        return KeyMatch(
            step_id=self._read.step_id,
            read=counts[0],
            staged=counts[1],
            matched=counts[2],
            remembered=0,
            null_keys=nulls,
            read_samples=self._samples(f"SELECT key FROM {read}"),
            staged_samples=self._samples(f"SELECT {self._landed_text()} AS key FROM {landed} AS l"),
        )

    def delete_released(self) -> int:
        """Delete the target rows of the keys read that a rescore released; return how many."""
        if self._read.release is None or self._target is None:
            return 0
        new = self._new_rows()
        equal = " AND ".join(
            f"t.{quote(name)} = r.{quote(f'k{n}')}" for n, name in enumerate(self._read.spec.target_key)
        )
        text = (
            f"DELETE FROM {qualified(self._read.target.ref)} AS t WHERE {new.released('t')} "
            f"AND EXISTS (SELECT 1 FROM {quote(self._read_table)} AS r WHERE {equal})"
        )
        return int(self._execute(text, new.parameters)[0][0])

    def remember(self, match: KeyMatch) -> int:
        """Replace what is remembered of the keys read; return how many are remembered now.

        A key with a refused row is quarantined. A key without a row in the target is empty, but not when nothing
        that was staged has a key in common: then the keys do not fit each other, and remembering would hide it.
        """
        processed = qualified(PROCESSED_KEYS.ref)
        new = self._new_rows()
        self._execute(
            f"DELETE FROM {processed} AS p WHERE {new.remembered_keys('p')} "
            f'AND p."key" IN (SELECT key FROM {quote(self._read_table)})',
            new.parameters,
        )
        parameters = Parameters(DUCKDB)
        owner = ", ".join(
            parameters.bind(name, value)
            for name, value in (("job_id", self._read.job_id), ("step_id", self._read.step_id))
        )
        run = parameters.bind("run_id", self._landing.run_id)
        stamp = parameters.bind("stamp", self._landing.stamp, "timestamp")
        empty = self._target is not None and self._read.spec.remember_empty and not _ineffective(match)
        keys = (
            "SELECT r.key, r.source_ts, "
            f"EXISTS (SELECT 1 FROM {quote(self._bad_keys)} AS b WHERE b.key = r.key) AS bad, "
            f"EXISTS (SELECT 1 FROM {quote(self._landed_table)} AS l WHERE {self._same()}) AS landed "
            f"FROM {quote(self._read_table)} AS r"
        )
        inserted = self._execute(
            f'INSERT INTO {processed} ("job_id", "step_id", "key", "reason", "source_ts", "run_id", "recorded_at") '
            f"SELECT {owner}, k.key, CASE WHEN k.bad THEN 'quarantined' ELSE 'empty' END, "
            f"k.source_ts, {run}, {stamp} "
            f"FROM ({keys}) AS k WHERE k.bad{' OR NOT k.landed' if empty else ''}",
            parameters,
        )
        return int(inserted[0][0])

    def drop(self) -> None:
        """Drop the two temporary tables."""
        for name in (self._read_table, self._landed_table):
            self._execute(f"DROP TABLE IF EXISTS {quote(name)}")

    def _new_rows(self) -> NewRows:
        return NewRows(self._read, Parameters(DUCKDB))

    def _latest(self) -> str:
        """The greatest source time of a key; only times can be remembered as such."""
        name = self._read.spec.source_ts
        if name is None or not pa.types.is_temporal(self._keys.schema.field(name).type):
            return "CAST(NULL AS TIMESTAMPTZ)"
        return f"CAST(max(s.{quote(name)}) AS TIMESTAMPTZ)"

    def _present(self, alias: str, names: Sequence[str]) -> str:
        return " AND ".join(f"{alias}.{quote(name)} IS NOT NULL" for name in names)

    def _same(self) -> str:
        return " AND ".join(f"l.{quote(f'k{n}')} = r.{quote(f'k{n}')}" for n in self._width)

    def _landed_text(self) -> str:
        return DUCKDB.key_text([f"l.{quote(f'k{n}')}" for n in self._width], self._new_rows().types)

    def _samples(self, text: str) -> tuple[str, ...]:
        return tuple(
            row[0] for row in self._execute(f"SELECT key FROM ({text}) ORDER BY key LIMIT {SAMPLES}")
        )

    def _execute(self, text: str, parameters: Parameters | None = None) -> list[tuple[Any, ...]]:
        values = parameters.values if parameters else None
        return self._cursor.execute(text, values or None).fetchall()


def _ineffective(match: KeyMatch) -> bool:
    return match.staged > 0 and match.matched == 0
