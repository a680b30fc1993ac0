"""`MemoryWarehouse`: the port `runner.ports.Warehouse` on dictionaries, for tests.

It evaluates what is meant, never SQL, and passes the same contract tests as the real warehouses. Tables live as
long as the object. For small data: every read looks at every row.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from copy import copy
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio
import anyio.lowlevel

from runner.ddl import EVENT_LOG, PROCESSED_KEYS
from runner.errors import TimeLimitExceeded, WarehouseError
from runner.incremental import PROBES, SAMPLED, affixes, check_keys, key_text, query_columns, read_statement
from runner.ports import (
    Finding,
    IncrementalCounts,
    IncrementalRead,
    KeyProfile,
    LandingSpec,
    QueryScope,
    QueryUsage,
    ReadQuery,
    Row,
    Statement,
    TableChange,
    TableCheck,
    TableShape,
    Writer,
)
from runner.specs import Filter, TableRef, TableSpec
from runner.sql import DUCKDB
from runner.testing.memory_checks import table_findings
from runner.testing.memory_layouts import MemoryLayouts
from runner.testing.memory_reads import Comparison
from runner.testing.memory_tables import (
    ENGINE,
    NO_SQL,
    MemoryTable,
    Tables,
    find,
    matcher,
    ordered,
    to_batch,
    to_rows,
)
from runner.testing.memory_writer import MemoryWriter

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES = 5
Told = Callable[[str, QueryScope], QueryUsage | None]


class MemoryWarehouse:
    """Tables of dictionaries. `read_delay` in seconds is waited before every batch, as a slow warehouse would;
    `query_timeout` in seconds bounds those waits. `usage` is asked what a query has used, by `read` or `landing` and
    for whom, once it is over; without it nothing is reported.
    """

    def __init__(
        self, *, read_delay: float = 0, query_timeout: float | None = None, usage: Told | None = None
    ) -> None:
        self.tables: Tables = {}
        self._usage = usage
        self._scope: QueryScope | None = None
        self._read_delay = read_delay
        self._query_timeout = query_timeout
        self._locks: dict[TableRef, anyio.Lock] = {}

    async def __aenter__(self) -> Self:
        """Nothing has to be opened."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing has to be closed."""

    @property
    def engine(self) -> str:
        """`memory`."""
        return ENGINE

    @property
    def layouts(self) -> MemoryLayouts:
        """The order of rows."""
        return MemoryLayouts(self.tables, lambda query: len(self._answer(query)))

    def scoped(self, scope: QueryScope) -> Self:
        """Return itself, or with something to report one that knows for whom it works, with the same tables."""
        if self._usage is None:
            return self
        scoped = copy(self)
        scoped._scope = scope
        return scoped

    async def inspect(self, tables: Sequence[TableRef]) -> Mapping[TableRef, TableShape]:
        """Return the shapes of those tables that exist."""
        await anyio.lowlevel.checkpoint()
        return {
            ref: TableShape(ref=ref, columns=dict(self.tables[ref].types))
            for ref in tables
            if ref in self.tables
        }

    async def apply(self, changes: Sequence[TableChange]) -> None:
        """Make tables and add columns."""
        await anyio.lowlevel.checkpoint()
        for change in changes:
            table = self.tables.setdefault(change.table.ref, MemoryTable({}, set()))
            names = [change.column] if change.kind == "add" else change.table.column_names
            for column in map(change.table.column, names):
                table.types.setdefault(column.name, column.type)
                table.required |= {column.name} if column.required else set()
                for row in table.rows:
                    row.setdefault(column.name, None)

    def statement(self, query: ReadQuery) -> str:
        """Return the SQL that a warehouse would be sent: for people."""
        return read_statement(query, DUCKDB).text

    @asynccontextmanager
    async def query(
        self, statement: Statement, *, batch_rows: int = 10_000
    ) -> AsyncIterator[AsyncIterator[pa.RecordBatch]]:
        """Refuse it. Raises `WarehouseError`."""
        del statement, batch_rows
        await anyio.lowlevel.checkpoint()
        raise WarehouseError(ENGINE, NO_SQL)
        yield

    @asynccontextmanager
    async def read(self, query: ReadQuery) -> AsyncIterator[AsyncIterator[pa.RecordBatch]]:
        """Stream the rows of a query, in the order they were inserted unless it says otherwise."""
        batches = self._batches(query)
        try:
            yield batches
        finally:
            await batches.aclose()
            self._report("read")

    async def missing_keys(self, read: IncrementalRead, keys: pa.RecordBatch) -> list[bool]:
        """Tell for each key whether it is new."""
        await anyio.lowlevel.checkpoint()
        comparison = Comparison(self.tables, read)
        return [comparison.is_new(row) for row in to_rows(keys)]

    async def greatest(self, table: TableSpec, column: str, filters: Sequence[Filter]) -> Any:
        """Return the greatest value of a column among the rows that match, or None."""
        await anyio.lowlevel.checkpoint()
        matches = matcher(table, filters)
        found = [row for row in find(self.tables, table.ref).rows if row[column] is not None and matches(row)]
        return ordered(found, [column])[-1][column] if found else None

    async def greatest_by(
        self, table: TableSpec, column: str, by: str, filters: Sequence[Filter]
    ) -> Mapping[Any, Any]:
        """Return the greatest value of a column for each value of the column `by`."""
        await anyio.lowlevel.checkpoint()
        matches = matcher(table, filters)
        found = [row for row in find(self.tables, table.ref).rows if row[column] is not None and matches(row)]
        return {row[by]: row[column] for row in ordered(found, [column]) if row[by] is not None}

    async def count(self, query: ReadQuery) -> IncrementalCounts:
        """Count what an incremental query would find new, present, remembered, without key."""
        await anyio.lowlevel.checkpoint()
        if query.incremental is None:
            raise ValueError(f"the read of {query.source.ref} is not incremental")
        check_keys(query.source, query.incremental)
        comparison = Comparison(self.tables, query.incremental)
        found = Counter(comparison.standing(row) for row in self._matching(query) if comparison.reaches(row))
        return IncrementalCounts(
            total=found.total(), new=found["new"] + found["stale"], present=found["present"],
            remembered=found["remembered"], null_key=found["null_key"], stale=found["stale"],
        )  # fmt: skip

    async def profile(self, query: ReadQuery) -> KeyProfile:
        """Measure both sides of an incremental query."""
        await anyio.lowlevel.checkpoint()
        if query.incremental is None:
            raise ValueError(f"the read of {query.source.ref} is not incremental")
        spec, target = query.incremental.spec, query.incremental.target
        raw = [_text(query.source, spec.source_key, row) for row in self._matching(query)]
        keys = [_text(target, spec.target_key, row) for row in find(self.tables, target.ref).rows]
        source, there = (
            {text for text in raw if text is not None},
            {text for text in keys if text is not None},
        )
        affixed = {f"{spec.key_prefix}{text}{spec.key_suffix}": text for text in source}
        unmatched = sorted(text for key, text in affixed.items() if key not in there)[:SAMPLED]
        probes = [text for text in unmatched if text][:PROBES]
        repairs = [
            (prefix, suffix, count)
            for prefix, suffix in (affixes(probes, sorted(there)) if len(spec.source_key) == 1 else [])
            if (count := sum(f"{prefix}{text}{suffix}" in there for text in unmatched))
        ]
        return KeyProfile(
            source_rows=len(raw), source_distinct=len(source), source_nulls=raw.count(None),
            target_rows=len(keys), target_distinct=len(there), target_nulls=keys.count(None),
            matched=sum(key in there for key in affixed),
            source_type=", ".join(query.source.column(name).type for name in spec.source_key),
            target_type=", ".join(target.column(name).type for name in spec.target_key),
            source_samples=tuple(sorted(source)[:SAMPLES]), target_samples=tuple(sorted(there)[:SAMPLES]),
            sampled=len(unmatched) if len(spec.source_key) == 1 else 0,
            repairs=tuple(sorted(repairs, key=lambda repair: -repair[2])),
        )  # fmt: skip

    async def count_matching(self, table: TableSpec, filters: Sequence[Filter]) -> int:
        """Count the rows of a table that match."""
        await anyio.lowlevel.checkpoint()
        return sum(map(matcher(table, filters), find(self.tables, table.ref).rows))

    async def check(self, check: TableCheck) -> tuple[Finding, ...]:
        """Return what is against the expectations of a table."""
        await anyio.lowlevel.checkpoint()
        return table_findings(self.tables, check)

    async def count_quarantined(self, job_id: str) -> int:
        """Count the distinct keys of a job that are remembered as quarantined."""
        await anyio.lowlevel.checkpoint()
        held = self.tables.get(PROCESSED_KEYS.ref)
        rows = held.rows if held else []
        return len(
            {(r["step_id"], r["key"]) for r in rows if r["job_id"] == job_id and r["reason"] == "quarantined"}
        )

    def writer(self, landing: LandingSpec) -> AbstractAsyncContextManager[Writer]:
        """Open a staging area."""
        return self._writer(landing)

    async def merge_events(self, rows: Sequence[Row]) -> int:
        """Insert events that are not there yet; return how many."""
        await anyio.lowlevel.checkpoint()
        log = find(self.tables, EVENT_LOG.ref)
        known = {row["event_id"] for row in log.rows}
        new = {row["event_id"]: row for row in rows if row["event_id"] not in known}
        for row in new.values():
            payload = row.get("payload")
            text = (
                payload if payload is None or isinstance(payload, str) else json.dumps(payload, default=str)
            )
            log.rows.append(dict.fromkeys(log.types) | row | {"payload": text})
        return len(new)

    @asynccontextmanager
    async def _writer(self, landing: LandingSpec) -> AsyncIterator[Writer]:
        try:
            yield MemoryWriter(self.tables, landing, lambda ref: self._locks.setdefault(ref, anyio.Lock()))
        finally:
            self._report("landing")

    def _report(self, kind: str) -> None:
        """Tell what a query has used, from a thread of its own, as drivers do."""
        if self._usage and self._scope and (used := self._usage(kind, self._scope)):
            thread = Thread(target=self._scope.report, args=(used,))
            thread.start()
            thread.join()

    async def _batches(self, query: ReadQuery) -> AsyncGenerator[pa.RecordBatch, None]:
        columns, rows = query_columns(query), self._answer(query)
        for start in range(0, max(1, len(rows)), query.batch_rows):
            await self._wait()
            if rows:
                yield to_batch(query.source, columns, rows[start : start + query.batch_rows])

    async def _wait(self) -> None:
        limit = self._query_timeout
        if limit is not None and self._read_delay > limit:
            await anyio.sleep(limit)
            raise TimeLimitExceeded("query", limit)
        await anyio.sleep(self._read_delay)

    def _answer(self, query: ReadQuery) -> list[Row]:
        rows = self._matching(query)
        if query.incremental is not None:
            check_keys(query.source, query.incremental)
            comparison = Comparison(self.tables, query.incremental)
            rows = [row for row in rows if comparison.reaches(row) and comparison.is_new(row)]
        rows = ordered(rows, query.order_by) if query.order_by else rows
        return rows[: query.limit]

    def _matching(self, query: ReadQuery) -> list[Row]:
        matches = matcher(query.source, query.filters)
        return [row for row in find(self.tables, query.source.ref).rows if matches(row)]


def _text(table: TableSpec, key: tuple[str, ...], row: Row) -> str | None:
    return key_text([row[name] for name in key], [table.column(name).type for name in key])
