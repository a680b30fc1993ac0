"""The tables that tests of warehouses play with, and short words for what they do with one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from runner.ddl import ENGINE_TABLES, plan_changes
from runner.ids import new_ulid
from runner.ports import (
    BadRow,
    IncrementalRead,
    KeyTracking,
    LandingResult,
    LandingSpec,
    ReadQuery,
    Release,
    Row,
    Warehouse,
    WriteTarget,
)
from runner.specs import Filter, Incremental, TableSpec
from runner.sql import DIALECTS, Dialect
from runner.testing.memory_tables import to_rows
from runner.types.schema import arrow_type

new_ulid()  # its first call imports a module, which would block the event loop of the first test

STAMP = datetime(2026, 2, 12, 6, tzinfo=UTC)
"""The time that landings of the suite stamp with."""


def table(name: str, key: Sequence[str] = (), **columns: str) -> TableSpec:
    """Declare `lab.NAME`; a type with a `!` is required."""
    return TableSpec.model_validate(
        {
            "dataset": "lab",
            "table": name,
            "columns": [
                {"name": column, "type": declared.rstrip("!"), "required": declared.endswith("!")}
                for column, declared in columns.items()
            ],
            "key": tuple(key),
        }
    )


EVENTS = table("events", ["id"], id="string", binding="string", n="int64", ts="timestamp")
OBSERVATIONS = table(
    "observations", ["oid"], oid="string!", id="string", v="float64", made="timestamp", seen="timestamp"
)
TYPES = table(
    "types", ["id"], id="string!", i="int64", f="float64", n="numeric", b="bool", t="timestamp", d="date", j="json",
    y="bytes",
)  # fmt: skip
PAIRS = table("pairs", ["a", "b"], a="string", b="int64", ts="timestamp")
PAIR_TARGET = table("pair_target", ["c", "d"], c="string", d="int64", at="timestamp")
TABLES = (EVENTS, OBSERVATIONS, TYPES, PAIRS, PAIR_TARGET)


def at(minutes: int) -> datetime:
    """Return a time, in minutes after a fixed one."""
    return STAMP + timedelta(minutes=minutes)


def batch_of(spec: TableSpec, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> pa.RecordBatch:
    """Return rows (tuples in the order of `names`) as a batch of a table's columns."""
    rows = list(rows)
    schema = pa.schema([(name, arrow_type(spec.column(name).type)) for name in names])
    arrays = [pa.array([row[place] for row in rows], item.type) for place, item in enumerate(schema)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def incremental(
    target: TableSpec = OBSERVATIONS, *, release: Release | None = None, job_id: str = "job", **spec: Any
) -> IncrementalRead:
    """Return an incremental read of key `id`, not_exists unless said otherwise."""
    settings = {"mode": "not_exists", "source_key": "id", "target_key": "id"} | spec
    declared = Incremental.model_validate(
        {"target_dataset": target.dataset, "target_table": target.table} | settings
    )
    return IncrementalRead(spec=declared, target=target, job_id=job_id, step_id="read", release=release)


def where(column: str, value: Any, op: str = "=") -> Filter:
    """Return a filter."""
    return Filter.model_validate({"column": column, "op": op, "value": value})


@dataclass
class Lab:
    """One open warehouse with the suite's tables, and short words for what tests do with it."""

    warehouse: Warehouse
    name: str
    landings: list[LandingResult] = field(default_factory=list)

    @property
    def dialect(self) -> Dialect:
        """What the engine says in its own way."""
        return DIALECTS[self.warehouse.engine]

    async def prepare(self, *tables: TableSpec) -> None:
        """Make tables, and the engine's own."""
        wanted = [*tables, *ENGINE_TABLES]
        shapes = await self.warehouse.inspect([spec.ref for spec in wanted])
        await self.warehouse.apply(plan_changes(wanted, shapes, self.dialect))

    async def fill(self, spec: TableSpec, *rows: Sequence[Any]) -> None:
        """Append rows, as tuples of all columns."""
        target = WriteTarget(step_id="fill", table=spec, mode="append", key=())
        await self.land(target, batch_of(spec, spec.column_names, rows))

    async def land(self, target: WriteTarget, *batches: pa.RecordBatch, **landing: Any) -> LandingResult:
        """Stage batches for one target and land them."""
        async with self.warehouse.writer(landing_of(target, **landing)) as writer:
            for batch in batches:
                await writer.stage(0, batch)
            return await writer.land()

    async def process(
        self,
        read: IncrementalRead,
        keys: Sequence[Any],
        rows: Sequence[Sequence[Any]] = (),
        bad: Sequence[str] = (),
        target: WriteTarget | None = None,
        source: TableSpec = EVENTS,
    ) -> LandingResult:
        """Do what a job does: keys read (single, or tuples of key and `source_ts` columns), rows for the target,
        keys of refused rows.
        """
        target = target or WriteTarget(step_id="write", table=read.target, mode="upsert", key=read.target.key)
        names = tuple(
            dict.fromkeys((*read.spec.source_key, *((read.spec.source_ts,) if read.spec.source_ts else ())))
        )
        spec = landing_of(target, tracking=(KeyTracking(read=read, target=0),))
        async with self.warehouse.writer(spec) as writer:
            tuples = [key if isinstance(key, tuple) else (key,) for key in keys]
            await writer.stage_keys(0, batch_of(source, names, tuples))
            if rows:
                await writer.stage(0, batch_of(target.table, target.given, rows))
            if bad:
                await writer.stage_bad_rows(
                    [
                        BadRow(step_id="score", key=key, column="v", reason="refused", content="{}")
                        for key in bad
                    ]
                )
            return await writer.land()

    async def rows(self, spec: TableSpec, *columns: str, **query: Any) -> list[tuple[Any, ...]]:
        """Read rows as tuples, sorted by their text unless `order_by` is given."""
        names = columns or spec.column_names
        found = [
            tuple(row[name] for name in names)
            for row in await self.read(ReadQuery(source=spec, columns=tuple(names), **query))
        ]
        return found if "order_by" in query else sorted(found, key=repr)

    async def read(self, query: ReadQuery) -> list[Row]:
        """Read all rows of a query."""
        async with self.warehouse.read(query) as batches:
            return [row async for batch in batches for row in to_rows(batch)]

    async def new(self, read: IncrementalRead, source: TableSpec = EVENTS, **query: Any) -> list[Any]:
        """Return the first key column of the rows that an incremental read brings, sorted, NULL last."""
        rows = await self.read(ReadQuery(source=source, columns=(), incremental=read, **query))
        return sorted(
            (row[read.spec.source_key[0]] for row in rows), key=lambda key: (key is None, key or "")
        )


def landing_of(*targets: WriteTarget, tracking: tuple[KeyTracking, ...] = (), **options: Any) -> LandingSpec:
    """Return the landing of a new job run."""
    given: dict[str, Any] = {
        "job_id": "job",
        "job_run_id": new_ulid(),
        "run_id": "run",
        "stamp": STAMP,
    } | options
    return LandingSpec(targets=targets, tracking=tracking, **given)
