"""Landings of every warehouse: modes, stamps, order, atomicity, markers, one writer at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pyarrow as pa
import pytest

from runner.ddl import LANDINGS, QUARANTINE
from runner.errors import WarehouseError
from runner.ports import BadRow, KeyTracking, ReadQuery, WriteTarget
from tests.contract.conftest import OpenLab
from tests.warehouse_lab import (
    EVENTS,
    OBSERVATIONS,
    PAIRS,
    STAMP,
    at,
    batch_of,
    incremental,
    landing_of,
    table,
)

pytestmark = pytest.mark.asyncio

KEYED = WriteTarget(step_id="write", table=EVENTS, mode="upsert", key=("id",))
STAMPED = WriteTarget(
    step_id="write",
    table=OBSERVATIONS,
    mode="upsert",
    key=("oid",),
    set_on_insert=("made",),
    set_on_write=("seen",),
)


def events(*rows: tuple[Any, ...]) -> pa.RecordBatch:
    """Return rows of EVENTS: id, binding, n, ts."""
    return batch_of(EVENTS, EVENTS.column_names, rows)


def observations(*rows: tuple[Any, ...]) -> pa.RecordBatch:
    """Return rows of OBSERVATIONS without what the engine stamps: oid, id, v."""
    return batch_of(OBSERVATIONS, ("oid", "id", "v"), rows)


async def test_upsert_updates_equal_keys_and_inserts_the_rest(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        await lab.land(KEYED, events(("a", "x", 1, None), ("b", "x", 2, at(1))))
        result = await lab.land(KEYED, events(("b", None, 3, None), ("c", "y", 4, None)))
        assert (result.targets[0].staged, result.targets[0].written) == (2, 2)
        assert await lab.rows(EVENTS) == [("a", "x", 1, None), ("b", None, 3, None), ("c", "y", 4, None)]


async def test_insert_missing_leaves_what_is_there(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        await lab.land(KEYED, events(("a", "x", 1, None)))
        result = await lab.land(
            replace(KEYED, mode="insert_missing"), events(("a", "y", 2, None), ("b", "y", 3, None))
        )
        assert result.targets[0].written == 1
        assert await lab.rows(EVENTS, "id", "n") == [("a", 1), ("b", 3)]


async def test_append_inserts_everything(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        for _ in range(2):
            await lab.land(replace(KEYED, mode="append"), events(("a", "x", 1, None), ("a", "x", 1, None)))
        assert await lab.rows(EVENTS, "id") == [("a",)] * 4


@pytest.mark.parametrize("stage_bytes", [64_000_000, 1])
async def test_the_last_of_equal_keys_wins_across_batches(open_lab: OpenLab, stage_bytes: int) -> None:
    async with open_lab(stage_bytes=stage_bytes) as lab:
        batches = [
            events(*((f"k{n % 7}", "x", 100 * number + n, None) for n in range(50))) for number in range(4)
        ]
        result = await lab.land(KEYED, *batches)
        assert (result.targets[0].staged, result.targets[0].written, result.targets[0].duplicates) == (
            200,
            7,
            193,
        )
        last = {f"k{n % 7}": 300 + n for n in range(50)}
        assert await lab.rows(EVENTS, "id", "n") == sorted(last.items())


async def test_composite_keys_are_one_key(open_lab: OpenLab) -> None:
    target = WriteTarget(step_id="write", table=PAIRS, mode="upsert", key=("a", "b"))
    async with open_lab() as lab:
        for stamp in (at(1), at(2)):
            rows = [("a", 1, stamp), ("a", 2, stamp), ("b", 1, stamp)]
            await lab.land(target, batch_of(PAIRS, PAIRS.column_names, rows))
        assert await lab.rows(PAIRS) == [("a", 1, at(2)), ("a", 2, at(2)), ("b", 1, at(2))]


async def test_floats_are_keys_and_the_two_zeros_are_one(open_lab: OpenLab) -> None:
    spec = table("weights", ["w"], w="float64!", n="int64")
    target = WriteTarget(step_id="write", table=spec, mode="upsert", key=spec.key)
    async with open_lab(spec) as lab:
        for n in (0, 10):
            rows = [(0.1, n + 1), (-0.0, n + 2), (1e300, n + 3), (0.0, n + 4), (0.1, n + 5)]
            await lab.land(target, batch_of(spec, spec.column_names, rows))
        assert await lab.rows(spec) == [(0.0, 14), (0.1, 15), (1e300, 13)]


async def test_stamps_on_insert_stay_and_stamps_on_write_move(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        await lab.land(STAMPED, observations(("1", "a", 1.0)), stamp=at(1))
        await lab.land(STAMPED, observations(("1", "a", 2.0), ("2", "a", 3.0)), stamp=at(2))
        assert await lab.rows(OBSERVATIONS) == [("1", "a", 2.0, at(1), at(2)), ("2", "a", 3.0, at(2), at(2))]


async def test_a_table_of_only_keys_can_be_upserted(open_lab: OpenLab) -> None:
    keys = table("keys", ["k"], k="string!")
    target = WriteTarget(step_id="write", table=keys, mode="upsert", key=("k",))
    async with open_lab(keys) as lab:
        for _ in range(2):
            await lab.land(target, batch_of(keys, ["k"], [("a",), ("b",)]))
        assert await lab.rows(keys) == [("a",), ("b",)]


async def test_null_in_a_key_is_refused(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        with pytest.raises(ValueError, match="NULL in the key column id"):
            await lab.land(KEYED, events((None, "x", 1, None)))


async def test_the_marker_tells_what_landed_and_a_repeated_landing_changes_nothing(open_lab: OpenLab) -> None:
    spec = landing_of(KEYED)
    async with open_lab() as lab:
        async with lab.warehouse.writer(spec) as writer:
            await writer.stage(0, events(("a", "x", 1, None)))
            assert not await writer.has_landed()
            await writer.land()
            assert await writer.has_landed()
            assert not await writer.has_landed(1)
            await writer.stage(0, events(("b", "x", 2, None)))
            await writer.land(1)
        async with lab.warehouse.writer(spec) as writer:
            await writer.stage(0, events(("a", "x", 99, None)))
            result = await writer.land()
        assert result.details["already_landed"] is True
        assert result.targets[0].written == 0
        assert await lab.rows(EVENTS, "id", "n") == [("a", 1), ("b", 2)]
        assert await lab.rows(LANDINGS, "job_run_id", "batch", "rows") == [
            (spec.job_run_id, 0, 1), (spec.job_run_id, 1, 1),
        ]  # fmt: skip


async def test_nothing_staged_sends_nothing(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        result = await lab.land(KEYED)
        assert (result.targets[0].staged, result.targets[0].written, result.matches) == (0, 0, ())
        assert await lab.rows(LANDINGS) == []


async def test_a_landing_that_fails_leaves_nothing_and_can_be_repeated(open_lab: OpenLab) -> None:
    required = table("required", ["k"], k="string!", v="int64!")
    good = WriteTarget(step_id="first", table=EVENTS, mode="upsert", key=("id",))
    bad = WriteTarget(step_id="second", table=required, mode="upsert", key=("k",))
    tracking = (KeyTracking(read=incremental(EVENTS), target=0),)
    async with open_lab(EVENTS, required) as lab:
        async with lab.warehouse.writer(landing_of(good, bad, tracking=tracking)) as writer:
            await writer.stage_keys(0, batch_of(EVENTS, ["id"], [("a",), ("b",)]))
            await writer.stage(0, events(("a", "x", 1, None)))
            await writer.stage_bad_rows(
                [BadRow(step_id="s", key="b", column="", reason="because", content='{"a": 1}')]
            )
            await writer.stage(1, batch_of(required, ["k", "v"], [("k", None)]))
            with pytest.raises(WarehouseError, match=r"(?i)null"):
                await writer.land()
            assert not await writer.has_landed()
            for empty in (EVENTS, required, QUARANTINE, LANDINGS):
                assert await lab.rows(empty) == []
            await writer.stage(1, batch_of(required, ["k", "v"], [("k", 7)]))
            result = await writer.land()
        assert [target.written for target in result.targets] == [1, 1]
        assert await lab.rows(required) == [("k", 7)]
        assert await lab.rows(QUARANTINE, "job_id", "step_id", "key", "column_name", "reason", "content") == [
            ("job", "s", "b", "", "because", '{"a": 1}')
        ]


async def test_a_writer_that_is_left_drops_what_has_not_landed(open_lab: OpenLab) -> None:
    async with open_lab(stage_bytes=1) as lab:
        async with lab.warehouse.writer(landing_of(KEYED)) as writer:
            await writer.stage(0, events(("a", "x", 1, None)))
        assert await lab.rows(EVENTS) == []


async def test_writers_of_one_table_take_turns_and_no_key_comes_twice(open_lab: OpenLab) -> None:
    async with open_lab() as lab, anyio.create_task_group() as tasks:
        for number in range(6):
            rows = events(*((f"k{n}", "x", number, None) for n in range(200)))
            tasks.start_soon(lab.land, KEYED, rows)
    async with open_lab() as again:
        if again.name == "duckdb":  # tables in memory are gone with their warehouse
            assert len(await again.rows(EVENTS, "id")) == 200


async def test_a_cancelled_landing_is_told_by_its_marker(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        count = 20_000 if lab.name == "duckdb" else 2_000
        for delay in (0, 0.002, 0.01, 0.03):
            rows = events(*((f"{delay}:{n}", "x", n, None) for n in range(count)))
            async with lab.warehouse.writer(landing_of(KEYED)) as writer:
                await writer.stage(0, rows)
                with anyio.move_on_after(delay):
                    await writer.land()
                landed = await writer.has_landed()
                there = sum(key.startswith(f"{delay}:") for (key,) in await lab.rows(EVENTS, "id"))
                assert there == (count if landed else 0)
                await writer.land()
        assert len(await lab.rows(EVENTS, "id")) == 4 * count


async def test_a_cancelled_read_leaves_a_warehouse_that_works(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        await lab.fill(EVENTS, *((f"{n}", "x", n, None) for n in range(3000)))
        for delay in (0, 0.001, 0.005):
            with anyio.move_on_after(delay):
                await lab.read(ReadQuery(source=EVENTS, columns=("id",), batch_rows=1))
        assert await lab.warehouse.count_matching(EVENTS, ()) == 3000
        await lab.land(KEYED, events(("0", "y", -1, None)))
        assert (await lab.rows(EVENTS, "n", limit=1, order_by=("n",))) == [(-1,)]


async def test_stamp_is_the_landing_s(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        await lab.land(STAMPED, observations(("1", "a", 1.0)))
        assert await lab.rows(OBSERVATIONS, "made", "seen") == [(STAMP, STAMP)]
