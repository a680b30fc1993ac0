"""Reads of every warehouse: columns, conditions, types, order, batches."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import anyio.from_thread
import anyio.to_thread
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import ConfigurationError, WarehouseError
from runner.ports import ReadQuery
from runner.specs import Filter
from runner.sql import typed_value
from runner.testing.memory_tables import to_rows
from tests.contract.conftest import OpenLab
from tests.warehouse_lab import EVENTS, PAIR_TARGET, PAIRS, TYPES, at, batch_of, incremental, where

pytestmark = pytest.mark.asyncio

NUL = "\x00"

ROWS = [("a", "x", 1, at(0)), ("b", "x", None, at(1)), ("c", None, 3, None), ("d", "y", -4, at(3))]

FILTERS = [
    ([where("binding", "x")], "ab"),
    ([where("binding", "x", "!=")], "d"),
    ([where("n", 1, ">")], "c"),
    ([where("n", 1, ">=")], "ac"),
    ([where("n", 1, "<")], "d"),
    ([where("n", 1, "<=")], "ad"),
    ([where("n", [3, -4], "in")], "cd"),
    ([where("n", "3")], "c"),
    ([where("ts", at(1), ">")], "d"),
    ([where("ts", "2026-02-12T07:01:00+01:00")], "b"),
    ([where("binding", "x"), where("n", 1)], "a"),
    ([where("binding", "nobody")], ""),
]


@pytest.mark.parametrize(("filters", "expected"), FILTERS)
async def test_filters_are_typed_by_the_column_and_null_matches_none(
    open_lab: OpenLab, filters: list[Filter], expected: str
) -> None:
    async with open_lab(EVENTS) as lab:
        await lab.fill(EVENTS, *ROWS)
        assert await lab.rows(EVENTS, "id", filters=tuple(filters)) == [(key,) for key in expected]
        assert await lab.warehouse.count_matching(EVENTS, filters) == len(expected)


VALUES: dict[str, tuple[Any, Any, Any]] = {
    "i": (-(2**63), "9007199254740993", 2**63 - 1),
    "f": (-1.5, "0.1", 1e300),
    "n": (
        "-0.000000001",
        Decimal("12345678901234567890123456789.123456789"),
        "99999999999999999999999999999",
    ),
    "t": (at(0), "2026-02-12T07:01:00.000001+01:00", at(2)),
    "d": (date(1, 1, 1), "2026-02-12", date(9999, 12, 31)),
}
"""Three values of a type, in ascending order, as filters may have them."""


@pytest.mark.parametrize("column", VALUES)
async def test_values_are_compared_as_what_the_column_is_and_not_as_text(
    open_lab: OpenLab, column: str
) -> None:
    """T12: where every parameter is a text, columns of other types fail, or compare in another order."""
    least, middle, greatest = VALUES[column]
    typed = [typed_value(TYPES, TYPES.column(column), value) for value in VALUES[column]]
    async with open_lab(TYPES) as lab:
        place = TYPES.column_names.index(column)
        rows = [("a", typed[0]), ("b", typed[1]), ("c", typed[2]), ("null", None)]
        await lab.fill(
            TYPES, *((key, *[None] * (place - 1), value, *[None] * (8 - place)) for key, value in rows)
        )

        async def ids(*filters: Filter) -> str:
            return "".join(key for (key,) in await lab.rows(TYPES, "id", filters=filters))

        assert await ids(where(column, middle)) == "b"
        assert await ids(where(column, [least, greatest], "in")) == "ac"
        assert await ids(where(column, least, ">"), where(column, greatest, "<")) == "b"
        assert await ids(where(column, middle, "<=")) == "ab"


async def test_truth_is_compared_as_truth(open_lab: OpenLab) -> None:
    async with open_lab(TYPES) as lab:
        rows = (("yes", True), ("no", False), ("null", None))
        await lab.fill(TYPES, *((key, *[None] * 3, value, *[None] * 4) for key, value in rows))
        assert await lab.rows(TYPES, "id", filters=(where("b", True),)) == [("yes",)]
        assert await lab.rows(TYPES, "id", filters=(where("b", "true", "!="),)) == [("no",)]


async def test_a_limit_needs_no_order_and_no_certain_column(open_lab: OpenLab) -> None:
    """T12: which rows come is then left to the engine, but so many, and each once; what is left comes next time."""
    async with open_lab(PAIRS, PAIR_TARGET) as lab:
        await lab.fill(PAIRS, *((f"{n}", n, None) for n in range(7)))
        some = await lab.rows(PAIRS, "b", limit=5)
        assert len(set(some)) == 5
        read = incremental(PAIR_TARGET, source_key=["a", "b"], target_key=["c", "d"])
        query = ReadQuery(source=PAIRS, columns=("b",), incremental=read, limit=5)
        first = await lab.read(query)
        await lab.fill(PAIR_TARGET, *((row["a"], row["b"], None) for row in first))
        second = await lab.read(query)
        assert [len(first), len(second)] == [5, 2]
        assert sorted(row["b"] for row in (*first, *second)) == list(range(7))


async def test_order_is_ascending_with_null_last_and_limit_cuts(open_lab: OpenLab) -> None:
    async with open_lab(EVENTS) as lab:
        await lab.fill(EVENTS, *ROWS)
        assert await lab.rows(EVENTS, "id", order_by=("n",)) == [("d",), ("a",), ("c",), ("b",)]
        assert await lab.rows(EVENTS, "id", order_by=("binding", "id"), limit=3) == [("a",), ("b",), ("d",)]


async def test_the_greatest_value_and_none_without_rows(open_lab: OpenLab) -> None:
    async with open_lab(EVENTS) as lab:
        assert await lab.warehouse.greatest(EVENTS, "ts", ()) is None
        await lab.fill(EVENTS, *ROWS)
        assert await lab.warehouse.greatest(EVENTS, "ts", ()) == at(3)
        assert await lab.warehouse.greatest(EVENTS, "n", [where("binding", "x")]) == 1


async def test_the_greatest_value_of_each_group(open_lab: OpenLab) -> None:
    async with open_lab(EVENTS) as lab:
        assert await lab.warehouse.greatest_by(EVENTS, "ts", "binding", ()) == {}
        await lab.fill(EVENTS, *ROWS)
        assert await lab.warehouse.greatest_by(EVENTS, "ts", "binding", ()) == {"x": at(1), "y": at(3)}
        assert await lab.warehouse.greatest_by(EVENTS, "n", "binding", ()) == {"x": 1, "y": -4}
        assert await lab.warehouse.greatest_by(EVENTS, "binding", "ts", [where("binding", "y")]) == {
            at(3): "y"
        }


async def test_every_type_comes_back_as_declared(open_lab: OpenLab) -> None:
    row = (
        "k", -(2**63), 1.5, Decimal("12345678901234567890123456789.123456789"), True,
        datetime(2026, 2, 12, 6, 0, 0, 1, tzinfo=UTC), date(1, 1, 1), '{"a": [1, null]}', b"\x00\xff",
    )  # fmt: skip
    nothing = ("z", *[None] * 8)
    async with open_lab(TYPES) as lab:
        await lab.fill(TYPES, row, nothing)
        query = ReadQuery(source=TYPES, columns=TYPES.column_names, order_by=("id",))
        async with lab.warehouse.read(query) as batches:
            found = [batch async for batch in batches]
    assert [batch.schema for batch in found] == [batch_of(TYPES, TYPES.column_names, []).schema]
    rows = [tuple(value.values()) for value in to_rows(found[0])]
    assert [parsed(*values) for values in rows] == [parsed(*row), nothing]


def parsed(*row: Any) -> tuple[Any, ...]:
    """Return a row of TYPES with its JSON read: engines write it with other spaces."""
    place = TYPES.column_names.index("j")
    return (*row[:place], row[place] and json.loads(row[place]), *row[place + 1 :])


async def test_batches_are_bounded_and_complete(open_lab: OpenLab) -> None:
    async with open_lab(EVENTS) as lab:
        await lab.fill(EVENTS, *((f"{n:05}", "x", n, None) for n in range(2500)))
        query = ReadQuery(source=EVENTS, columns=("n",), batch_rows=1000, order_by=("n",))
        async with lab.warehouse.read(query) as batches:
            found = [batch async for batch in batches]
        assert all(batch.num_rows <= 1000 for batch in found)
        assert pa.Table.from_batches(found).column("n").to_pylist() == list(range(2500))


async def test_a_read_that_is_left_early_leaves_nothing_open(open_lab: OpenLab) -> None:
    async with open_lab(EVENTS) as lab:
        await lab.fill(EVENTS, *((f"{n}", "x", n, None) for n in range(5000)))
        for _ in range(3):
            async with lab.warehouse.read(ReadQuery(source=EVENTS, columns=("n",), batch_rows=10)) as batches:
                async for _batch in batches:
                    break
        assert await lab.warehouse.count_matching(EVENTS, ()) == 5000


async def test_a_read_of_no_column_is_refused(open_lab: OpenLab) -> None:
    """Some engines take such a query and bring no row, others do not understand it."""
    async with open_lab(EVENTS) as lab:
        await lab.fill(EVENTS, *ROWS)
        query = ReadQuery(source=EVENTS, columns=())
        with pytest.raises(ConfigurationError, match=r"lab\.events: a read of no column; expected at least"):
            await lab.read(query)
        with pytest.raises(ConfigurationError, match="of no column"):
            lab.warehouse.statement(query)
        assert await lab.warehouse.count_matching(EVENTS, ()) == len(ROWS)


BAD_VALUES = [
    ("n", "three"), ("n", 2**63), ("n", 1.5), ("n", True), ("ts", "2026-02-12"), ("ts", "2026-02-12T06:00:00"),
    ("binding", 7), ("nowhere", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value"), BAD_VALUES)
async def test_a_value_of_another_type_is_an_error_that_names_it(
    open_lab: OpenLab, column: str, value: object
) -> None:
    async with open_lab(EVENTS) as lab:
        with pytest.raises(ConfigurationError, match=rf"lab\.events\.{column}"):
            await lab.rows(EVENTS, "id", filters=(where(column, value),))


async def test_any_text_is_only_a_value(open_lab: OpenLab) -> None:
    async with open_lab(EVENTS) as lab:

        async def is_found(text: str) -> None:
            before = await lab.warehouse.count_matching(EVENTS, ())
            await lab.fill(EVENTS, (text, f"'{text}", before, None))
            found = await lab.rows(EVENTS, "id", "binding", filters=(where("id", text), where("n", before)))
            assert found == [(text, f"'{text}")]
            assert await lab.warehouse.count_matching(EVENTS, ()) == before + 1

        unfit = NUL if "string" in lab.dialect.unfit_texts or lab.name == "bigquery" else ""

        @settings(max_examples=settings().max_examples // (10 if lab.name == "bigquery" else 1))
        @given(text=st.text(st.characters(codec="utf-8", exclude_characters=unfit), max_size=40))
        def any_text(text: str) -> None:
            anyio.from_thread.run(is_found, text)

        await anyio.to_thread.run_sync(any_text)


async def test_the_character_nul_is_text_as_any_other(
    open_lab: OpenLab, request: pytest.FixtureRequest
) -> None:
    async with open_lab(EVENTS) as lab:
        if "string" in lab.dialect.unfit_texts:
            expected = pytest.mark.xfail(
                strict=True, raises=WarehouseError, reason="it cannot be stored there"
            )
            request.applymarker(expected)
        await lab.fill(EVENTS, ("a\x00b", NUL, 1, None))
        assert await lab.rows(EVENTS, "id", "binding") == [("a\x00b", NUL)]
        if lab.name == "bigquery":
            reason = "the emulator's DuckLake ends a filter's text at it: unterminated quoted string"
            request.applymarker(pytest.mark.xfail(strict=True, raises=WarehouseError, reason=reason))
        assert await lab.rows(EVENTS, "id", filters=(where("binding", NUL),)) == [("a\x00b",)]
