"""What falls outside of a lookback on one side only: rows that no run reads, and rows that every run reads again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from runner.clock import format_duration
from runner.operations.doctor.finding import Finding
from runner.ports import IncrementalRead, ReadQuery, Warehouse
from runner.specs import Filter, Lookback

WIDER = (2, 4, 8, 16, 32)
"""How many times wider a lookback is tried where it is too narrow; each costs up to three counts."""


async def lookback_findings(warehouse: Warehouse, query: ReadQuery) -> AsyncIterator[Finding]:
    """Yield what a query's lookback leaves out, and with which other one it would not; nothing without a lookback.

    Raises `WarehouseError`, and `ConfigurationError` for keys that do not fit.
    """
    read = query.incremental
    if read is None or read.since is None or read.spec.lookback is None:
        return
    reach = _Reach(warehouse, query, read, read.spec.lookback, read.since)
    if lost := await reach.lost():
        text = f"source rows before the lookback that are new or changed: {lost:,}; no run reads them"
        yield Finding(level="warning", text=f"{text}; look back further, or leave them out with a filter")
        tried = [(await wider.lost(), wider) for wider in reach.wider()]
        left, best = min(tried, key=lambda one: one[0])
        if left < lost:
            yield Finding(level="note", text=f"{lost - left:,} of them would be with", repair=str(best))
    if repeated := await reach.repeated():
        text = f"source rows whose counterpart is before the lookback: {repeated:,}; they count as new"
        yield Finding(level="warning", text=f"{text}, in every run that writes no later time")
        for mended in (*reach.other_times(), *reach.wider()):
            if not await mended.repeated():
                yield Finding(level="note", text="none of them would be with", repair=str(mended))
                break


@dataclass(frozen=True, slots=True)
class _Reach:
    """A read with a lookback, on a warehouse. Its text is the lookback as YAML."""

    warehouse: Warehouse
    query: ReadQuery
    read: IncrementalRead
    lookback: Lookback
    since: datetime

    async def lost(self) -> int:
        """Count the source rows before the lookback that a run would read without it."""
        counts = await self.warehouse.count(self._before(self.read))
        return counts.new + counts.null_key

    async def repeated(self) -> int:
        """Count the source rows within the lookback that have counterparts, but none within it."""
        keys = {"mode": "not_exists", "source_ts": None, "target_ts": None}
        read = replace(self.read, spec=self.read.spec.model_copy(update=keys))
        within = await self.warehouse.count(replace(self.query, incremental=read))
        all_of_it = await self.warehouse.count(replace(self.query, incremental=replace(read, since=None)))
        before = await self.warehouse.count(self._before(read))
        return within.new - (all_of_it.new - before.new)

    def wider(self) -> Iterator[_Reach]:
        """Yield it with wider windows."""
        window = self.lookback.window
        for times in WIDER:
            yield self._with({"window": window * times}, self.since - timedelta(seconds=window * (times - 1)))

    def other_times(self) -> Iterator[_Reach]:
        """Yield it with the other times of the target."""
        for column in self.read.target.columns:
            if column.type in ("timestamp", "date") and column.name != self.lookback.target:
                sides = {"source_column": self.lookback.source, "target_column": column.name}
                yield self._with({"column": None, **sides}, self.since)

    def _with(self, changes: dict[str, object], since: datetime) -> _Reach:
        lookback = self.lookback.model_copy(update=changes)
        spec = self.read.spec.model_copy(update={"lookback": lookback})
        read = replace(self.read, spec=spec, since=since)
        return replace(self, lookback=lookback, since=since, read=read)

    def _before(self, read: IncrementalRead) -> ReadQuery:
        """Return the query for the source rows that the lookback leaves out, compared with the whole target."""
        name = self.lookback.source
        value = self.since.date() if self.query.source.column(name).type == "date" else self.since
        too_old = Filter(column=name, op="<", value=value)
        filters = (*self.query.filters, too_old)
        return replace(self.query, filters=filters, incremental=replace(read, since=None))

    def __str__(self) -> str:
        """Return `lookback: {…}`."""
        lookback = self.lookback
        columns = f"source_column: {lookback.source}, target_column: {lookback.target}"
        if lookback.source == lookback.target:
            columns = f"column: {lookback.source}"
        return f"lookback: {{{columns}, window: {format_duration(lookback.window)}}}"
