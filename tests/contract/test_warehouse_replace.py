"""`mode: replace` in every warehouse: after the landing the table holds what was staged and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pyarrow as pa
import pytest

from runner.ddl import LANDINGS, QUARANTINE
from runner.errors import WarehouseError
from runner.ports import BadRow, ReadQuery, WriteTarget
from tests.contract.conftest import OpenLab
from tests.warehouse_lab import EVENTS, OBSERVATIONS, STAMP, Lab, at, batch_of, landing_of, table

pytestmark = pytest.mark.asyncio

NOTES = table("notes", a="string", n="int64")
REPLACED = WriteTarget(step_id="write", table=EVENTS, mode="replace", key=("id",))
KEYLESS = WriteTarget(step_id="write", table=NOTES, mode="replace", key=())


def events(*rows: tuple[Any, ...]) -> pa.RecordBatch:
    """Return rows of EVENTS: id, binding, n, ts."""
    return batch_of(EVENTS, EVENTS.column_names, rows)


async def test_the_table_holds_what_was_staged_and_nothing_else(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        first = await lab.land(REPLACED, events(("a", "x", 1, None), ("b", "x", 2, None)))
        second = await lab.land(REPLACED, events(("b", "y", 3, None)), events(("c", "y", 4, None)))
        assert await lab.rows(EVENTS) == [("b", "y", 3, None), ("c", "y", 4, None)]
    for result, deleted in ((first, 0), (second, 2)):
        (target,) = result.targets
        assert (target.staged, target.written, target.duplicates, target.deleted) == (2, 2, 0, deleted)


@pytest.mark.parametrize("stage_bytes", [64_000_000, 1])
async def test_the_last_of_equal_keys_wins(open_lab: OpenLab, stage_bytes: int) -> None:
    async with open_lab(stage_bytes=stage_bytes) as lab:
        await lab.fill(EVENTS, *((f"old{n}", "x", n, None) for n in range(5)))
        batches = [
            events(*((f"k{n % 7}", "x", 100 * part + n, None) for n in range(50))) for part in range(4)
        ]
        (target,) = (await lab.land(REPLACED, *batches)).targets
        assert (target.staged, target.written, target.duplicates, target.deleted) == (200, 7, 193, 5)
        assert await lab.rows(EVENTS, "id", "n") == sorted({f"k{n % 7}": 300 + n for n in range(50)}.items())


async def test_without_a_key_every_row_counts(open_lab: OpenLab) -> None:
    async with open_lab(NOTES) as lab:
        rows = [("a", 1), ("a", 1), (None, 2)]
        for deleted in (0, 3):
            (target,) = (await lab.land(KEYLESS, batch_of(NOTES, NOTES.column_names, rows))).targets
            assert (target.written, target.duplicates, target.deleted) == (3, 0, deleted)
        assert await lab.rows(NOTES) == [("a", 1), ("a", 1), (None, 2)]


async def test_no_row_makes_the_table_empty(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        await lab.fill(EVENTS, ("a", "x", 1, None))
        spec = landing_of(REPLACED)
        async with lab.warehouse.writer(spec) as writer:
            (target,) = (await writer.land()).targets
            assert await writer.has_landed()
        assert (target.staged, target.written, target.deleted) == (0, 0, 1)
        assert await lab.rows(EVENTS) == []
        assert (spec.job_run_id, 0) in await lab.rows(LANDINGS, "job_run_id", "rows")


async def test_only_bad_rows_make_it_empty_too_and_are_kept(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        await lab.fill(EVENTS, ("a", "x", 1, None))
        async with lab.warehouse.writer(landing_of(REPLACED)) as writer:
            await writer.stage_bad_rows(
                [BadRow(step_id="s", key=None, column="n", reason="no", content="{}")]
            )
            assert (await writer.land()).quarantined == 1
        assert await lab.rows(EVENTS) == []
        assert await lab.rows(QUARANTINE, "reason") == [("no",)]


async def test_every_row_is_stamped_as_new(open_lab: OpenLab) -> None:
    target = WriteTarget(
        step_id="write", table=OBSERVATIONS, mode="replace", key=("oid",), set_on_insert=("made",),
        set_on_write=("seen",),
    )  # fmt: skip
    async with open_lab() as lab:
        for stamp in (at(1), STAMP):
            await lab.land(target, batch_of(OBSERVATIONS, ("oid", "id", "v"), [("1", "a", 1.0)]), stamp=stamp)
        assert await lab.rows(OBSERVATIONS) == [("1", "a", 1.0, STAMP, STAMP)]


async def test_null_in_a_key_is_refused(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        with pytest.raises(ValueError, match="NULL in the key column id"):
            await lab.land(REPLACED, events((None, "x", 1, None)))


async def test_a_landing_that_fails_leaves_the_old_table(open_lab: OpenLab) -> None:
    required = table("required", ["k"], k="string!", v="int64!")
    bad = WriteTarget(step_id="second", table=required, mode="upsert", key=("k",))
    async with open_lab(EVENTS, required) as lab:
        await lab.fill(EVENTS, ("a", "x", 1, None))
        async with lab.warehouse.writer(landing_of(REPLACED, bad)) as writer:
            await writer.stage(0, events(("b", "x", 2, None)))
            await writer.stage(1, batch_of(required, ["k", "v"], [("k", None)]))
            with pytest.raises(WarehouseError, match=r"(?i)null"):
                await writer.land()
            assert await lab.rows(EVENTS, "id") == [("a",)]
            await writer.stage(1, batch_of(required, ["k", "v"], [("k", 7)]))
            targets = (await writer.land()).targets
        assert [(target.written, target.deleted) for target in targets] == [(1, 1), (1, 0)]
        assert await lab.rows(EVENTS, "id") == [("b",)]


async def test_a_repeated_landing_replaces_nothing(open_lab: OpenLab) -> None:
    spec = landing_of(REPLACED)
    async with open_lab() as lab:
        async with lab.warehouse.writer(spec) as writer:
            await writer.stage(0, events(("a", "x", 1, None)))
            await writer.land()
        async with lab.warehouse.writer(spec) as writer:
            result = await writer.land()
        assert result.details["already_landed"] is True
        assert (result.targets[0].written, result.targets[0].deleted) == (0, 0)
        assert await lab.rows(EVENTS, "id") == [("a",)]


async def test_a_cancelled_landing_leaves_one_of_the_two_tables(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        there, count = "none", 20_000 if lab.name == "duckdb" else 2_000
        for name, delay in (("a", 0.0), ("b", 0.003), ("c", 0.01), ("d", 10.0)):
            rows = events(*((f"{name}{n}", name, n, None) for n in range(count)))
            async with lab.warehouse.writer(landing_of(REPLACED)) as writer:
                await writer.stage(0, rows)
                with anyio.move_on_after(delay):
                    await writer.land()
                there = name if await writer.has_landed() else there
            found = await lab.rows(EVENTS, "binding")
            assert found == ([] if there == "none" else [(there,)] * count)
        assert there == "d"


class Readers:
    """Tasks that read a table all the time, and what they saw."""

    def __init__(self, lab: Lab, rows: int) -> None:
        self._lab = lab
        self._rows = rows
        self._query = ReadQuery(source=EVENTS, columns=("id", "binding"), batch_rows=rows // 10)
        self._looked = anyio.Event()
        self.observed: list[str] = []

    async def read_on(self) -> None:
        """Read until cancelled; every read must be of one generation, and whole."""
        while True:
            seen, rows = set[str](), 0
            async with self._lab.warehouse.read(self._query) as batches:
                async for batch in batches:
                    seen.update(batch.column("binding").unique().to_pylist())
                    rows += batch.num_rows
            assert (len(seen), rows) == (1, self._rows), f"a read saw {rows} rows of {sorted(seen)}"
            self.observed += seen
            self._looked.set()

    async def look(self) -> None:
        """Wait until one more read is done."""
        self._looked = anyio.Event()
        await self._looked.wait()


def generation(name: str, rows: int) -> pa.RecordBatch:
    """Return so many rows of EVENTS with `name` for their binding."""
    schema, numbers = events().schema, pa.arange(0, rows)
    columns = [
        numbers.cast(pa.string()),
        pa.array([name] * rows),
        numbers,
        pa.nulls(rows, schema.field("ts").type),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


@pytest.mark.parametrize("replacements", [6, pytest.param(20, marks=pytest.mark.chaos)])
async def test_readers_see_one_table_or_the_other(open_lab: OpenLab, replacements: int) -> None:
    """Replacements, while two readers read all the time."""
    async with open_lab() as lab:
        rows = {"duckdb": 100_000, "bigquery": 600}.get(lab.name, 2_000)
        if lab.name == "bigquery":  # which takes a second for each
            replacements //= 2
        batches = [generation(name, rows) for name in ("even", "odd")]
        await lab.land(REPLACED, batches[1])
        readers = Readers(lab, rows)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(readers.read_on)
            tasks.start_soon(readers.read_on)
            for number in range(replacements):
                (target,) = (await lab.land(REPLACED, batches[number % 2])).targets
                assert (target.written, target.deleted) == (rows, rows)
                await readers.look()
            tasks.cancel_scope.cancel()
    assert set(readers.observed) == {"even", "odd"}
    assert len(readers.observed) >= replacements


async def test_mode_of_one_target_is_not_that_of_another(open_lab: OpenLab) -> None:
    upserted = replace(REPLACED, table=OBSERVATIONS, mode="upsert", key=("oid",))
    async with open_lab() as lab:
        await lab.fill(EVENTS, ("a", "x", 1, None))
        await lab.fill(OBSERVATIONS, ("1", "a", 1.0, None, None))
        async with lab.warehouse.writer(landing_of(REPLACED, upserted)) as writer:
            targets = (await writer.land()).targets
        assert [target.deleted for target in targets] == [1, 0]
        assert await lab.rows(OBSERVATIONS, "oid") == [("1",)]
