"""Incremental reads that look back only so far, of every warehouse."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from runner.ports import IncrementalCounts, IncrementalRead, ReadQuery, Release
from runner.specs import TableSpec
from tests.contract.conftest import OpenLab
from tests.warehouse_lab import (
    EVENTS,
    OBSERVATIONS,
    STAMP,
    at,
    batch_of,
    incremental,
    table,
    where,
)

pytestmark = pytest.mark.asyncio

DAYS = table("days", ["id"], id="string", day="date")
DAY_TARGET = table("day_target", ["id"], id="string!", made="timestamp")
EACH_ITS_OWN: dict[str, Any] = {"source_column": "ts", "target_column": "made", "window": "1h"}


def looking_back(lookback: dict[str, Any], target: TableSpec = OBSERVATIONS, **spec: Any) -> IncrementalRead:
    """Return a read that looks at what is not before `STAMP`."""
    return replace(incremental(target, lookback=lookback, **spec), since=STAMP)


def observation(oid: str, key: str, minutes: int | None) -> tuple[Any, ...]:
    """Return a row of OBSERVATIONS."""
    return (oid, key, 1.0, None if minutes is None else at(minutes), STAMP)


async def test_both_sides_are_looked_at_from_one_moment_on_and_where_they_have_no_time(
    open_lab: OpenLab,
) -> None:
    async with open_lab() as lab:
        await lab.fill(
            EVENTS,
            ("new", "x", 1, at(0)), ("too old", "x", 2, at(-1)), ("untimed", "x", 3, None),
            ("there", "x", 4, at(1)), ("there before", "x", 5, at(1)), ("there untimed", "x", 6, at(1)),
            (None, "x", 7, at(1)), (None, "x", 8, at(-1)),
        )  # fmt: skip
        await lab.fill(
            OBSERVATIONS, observation("1", "there", 0), observation("2", "there before", -1),
            observation("3", "there untimed", None),
        )  # fmt: skip
        read = looking_back(EACH_ITS_OWN)
        assert await lab.new(read) == ["new", "there before", "untimed", None]
        assert await lab.warehouse.count(ReadQuery(source=EVENTS, columns=("id",), incremental=read)) == (
            IncrementalCounts(total=6, new=3, present=2, remembered=0, null_key=1)
        )
        assert await lab.new(read, filters=(where("n", 2, ">"),)) == ["there before", "untimed", None]
        assert await lab.new(replace(read, since=None)) == ["new", "too old", "untimed", None, None]


async def test_left_anti_compares_with_the_rows_that_are_looked_at(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        await lab.fill(EVENTS, *((key, "x", 1, at(5)) for key in ("older", "newer", "both", "before")))
        await lab.fill(
            OBSERVATIONS, observation("1", "older", 4), observation("2", "newer", 6),
            observation("3", "both", 6), observation("4", "both", -1), observation("5", "before", -1),
        )  # fmt: skip
        times: dict[str, Any] = {"mode": "left_anti", "source_ts": "ts", "target_ts": "made"}
        read = looking_back(EACH_ITS_OWN, **times)
        assert await lab.new(read) == ["before", "older"]
        counts = await lab.warehouse.count(ReadQuery(source=EVENTS, columns=("id",), incremental=read))
        assert (counts.new, counts.stale, counts.present) == (2, 1, 2)
        assert await lab.new(replace(read, since=None)) == ["before", "both", "older"]


async def test_a_date_is_looked_at_from_the_day_of_the_moment_on(open_lab: OpenLab) -> None:
    async with open_lab(DAYS, DAY_TARGET) as lab:
        today = date(2026, 2, 12)
        await lab.fill(
            DAYS, ("today", today), ("yesterday", today - timedelta(1)), ("none", None), ("done", today)
        )
        await lab.fill(DAY_TARGET, ("done", at(0)), ("today", at(-1)))
        read = looking_back({"source_column": "day", "target_column": "made", "window": "1d"}, DAY_TARGET)
        assert await lab.new(read, DAYS) == ["none", "today"]
        turned = replace(
            incremental(DAYS, lookback={"source_column": "made", "target_column": "day", "window": "1d"}),
            since=STAMP,
        )
        await lab.fill(DAY_TARGET, ("yesterday", at(1)), ("none", at(1)))
        assert await lab.new(turned, DAY_TARGET) == ["yesterday"]


async def test_what_is_remembered_stays_so_however_old_it_is(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        await lab.fill(EVENTS, *((key, "x", 1, None) for key in "abc"))
        await lab.process(incremental(), ["a", "b"], bad=["b"])
        later = replace(looking_back(EACH_ITS_OWN), since=STAMP + timedelta(days=4000))
        assert await lab.new(later) == ["c"]


async def test_of_keys_one_by_one_only_the_target_is_bounded(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        await lab.fill(OBSERVATIONS, observation("1", "there", 0), observation("2", "there before", -1))
        asked = batch_of(EVENTS, ["id"], [("there",), ("there before",), ("gone",), (None,)])
        read = looking_back({"column": "made", "window": "1h"})
        assert await lab.warehouse.missing_keys(read, asked) == [False, True, True, True]


async def test_a_rescore_that_looks_back_leaves_alone_what_it_does_not_read(open_lab: OpenLab) -> None:
    """The engine lets a rescore look at everything; were it bounded, nothing would be lost."""
    read = replace(looking_back(EACH_ITS_OWN), release=Release(filters=(where("v", 1.0),)))
    async with open_lab() as lab:
        await lab.fill(EVENTS, ("recent", "x", 1, at(1)), ("old", "x", 2, at(-1)))
        await lab.fill(OBSERVATIONS, observation("1", "recent", 2), observation("2", "old", -1))
        assert await lab.new(read) == ["recent"]
        result = await lab.process(read, ["recent"], [observation("3", "recent", 3)])
        assert (result.targets[0].deleted, result.targets[0].written) == (1, 1)
        assert await lab.rows(OBSERVATIONS, "oid") == [("2",), ("3",)]
