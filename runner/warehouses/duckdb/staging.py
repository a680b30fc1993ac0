"""Where rows wait for their landing: Arrow batches in memory up to a limit, then a temporary table.

Either way every row carries a number, so that the last of equal keys can win.
"""

from __future__ import annotations

import pyarrow as pa

from runner.sql import quote
from runner.warehouses.duckdb.calls import Cursor

NUMBER = "staged_number_"
"""Name of the numbering column."""


class Stage:
    """The staged rows of one target, or the keys of one read. Not thread-safe; one writer uses it."""

    def __init__(self, name: str, schema: pa.Schema) -> None:
        self.name = name
        self.rows = 0
        self.memory = 0
        self._given = schema
        self._schema = schema.append(pa.field(NUMBER, pa.int64()))
        self._batches: list[pa.RecordBatch] = []
        self._spilled = False
        self._registered = False

    @property
    def schema(self) -> pa.Schema:
        """The columns that were agreed on."""
        return self._given

    @property
    def spilled(self) -> bool:
        """Whether (some of) the rows stand in a temporary table."""
        return self._spilled

    def add(self, batch: pa.RecordBatch) -> None:
        """Append a batch. Raises `ValueError` when its columns are not those that were agreed on."""
        if not batch.schema.equals(self._given):
            raise ValueError(f"staged columns are {batch.schema}, expected {self._given}")
        numbers = pa.arange(self.rows, self.rows + batch.num_rows)
        self._batches.append(pa.RecordBatch.from_arrays([*batch.columns, numbers], schema=self._schema))
        self.rows += batch.num_rows
        self.memory += batch.nbytes + numbers.nbytes

    def spill(self, cursor: Cursor) -> None:
        """Move what is in memory to a temporary table of this cursor. Blocks."""
        if not self._batches:
            return
        incoming = f"{self.name}_incoming"
        cursor.register(incoming, pa.Table.from_batches(self._batches, self._schema))
        try:
            if not self._spilled:
                cursor.execute(f"CREATE TEMP TABLE {quote(self.name)} AS FROM {quote(incoming)} LIMIT 0")
                self._spilled = True
            cursor.execute(f"INSERT INTO {quote(self.name)} FROM {quote(incoming)}")
        finally:
            cursor.unregister(incoming)
        self._batches.clear()
        self.memory = 0

    def expose(self, cursor: Cursor) -> None:
        """Make the rows readable as the relation `name` on this cursor. Blocks."""
        if self._spilled:
            self.spill(cursor)
        else:
            cursor.register(self.name, pa.Table.from_batches(self._batches, self._schema))
            self._registered = True

    def hide(self, cursor: Cursor) -> None:
        """Undo `expose`; the rows stay. Blocks."""
        if self._registered:
            cursor.unregister(self.name)
            self._registered = False

    def clear(self, cursor: Cursor) -> None:
        """Forget the rows. Blocks."""
        self.hide(cursor)
        if self._spilled:
            cursor.execute(f"DROP TABLE IF EXISTS {quote(self.name)}")
            self._spilled = False
        self._batches.clear()
        self.rows = 0
        self.memory = 0
