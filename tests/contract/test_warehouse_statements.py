"""SQL of the project's own, at every warehouse: its queries, and its statements in a landing. Memory refuses both."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from runner.errors import TimeLimitExceeded, WarehouseError
from runner.ports import LandingStatement, Statement, WriteTarget
from runner.testing.memory_tables import to_rows
from tests.contract.conftest import OpenLab
from tests.warehouse_lab import EVENTS, OBSERVATIONS, Lab, at, batch_of, landing_of

pytestmark = pytest.mark.asyncio

APPEND = WriteTarget(step_id="write", table=EVENTS, mode="append", key=())
ENDLESS = "SELECT sum(hash(a.range) % 7) AS s FROM range(1000000) AS a, range(1000000) AS b"


async def asked(lab: Lab, text: str, batch_rows: int = 10_000, **values: Any) -> list[dict[str, Any]]:
    statement = Statement(text=text, values=values)
    async with lab.warehouse.query(statement, batch_rows=batch_rows) as batches:
        return [row async for batch in batches for row in to_rows(batch)]


def change(text: str, after: int = 0, **values: Any) -> LandingStatement:
    statement = Statement(text=text, values=values, file="sql/it.sql", line=3)
    return LandingStatement(step_id="sql", after_targets=after, statement=statement, writes=(EVENTS.ref,))


needs_sql = pytest.mark.parametrize("open_lab", ["duckdb"], indirect=True)
"""Tables in memory understand no SQL, and say so: the next test."""


async def test_memory_says_that_it_understands_no_sql(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        if lab.name != "memory":
            assert await asked(lab, "SELECT 1 AS one") == [{"one": 1}]
            return
        with pytest.raises(WarehouseError, match="understand no SQL"):
            await asked(lab, "SELECT 1 AS one")
        async with lab.warehouse.writer(landing_of(actions=(change("DELETE FROM x.y"),))) as writer:
            with pytest.raises(WarehouseError, match="understand no SQL"):
                await writer.land()


@needs_sql
async def test_rows_come_in_batches_and_the_cursor_can_be_used_again(open_lab: OpenLab) -> None:
    async with open_lab(EVENTS) as lab:
        statement = Statement(text="SELECT range AS n FROM range($rows)", values={"rows": 25_000})
        async with lab.warehouse.query(statement, batch_rows=10_000) as batches:
            sizes = [batch.num_rows async for batch in batches]
        assert sum(sizes) == 25_000
        assert max(sizes) <= 10_000
        async with lab.warehouse.query(statement, batch_rows=100) as batches:
            assert (await anext(batches)).num_rows > 0  # the rest is not wanted
        await lab.fill(EVENTS, ("a", "x", 1, at(0)))  # the cursor holds no transaction any more
        assert await asked(lab, f"SELECT id FROM {EVENTS.ref}") == [{"id": "a"}]


@needs_sql
async def test_a_query_changes_nothing(open_lab: OpenLab) -> None:
    async with open_lab(EVENTS) as lab:
        await lab.fill(EVENTS, ("a", "x", 1, at(0)))
        with pytest.raises(WarehouseError, match="read-only"):
            await asked(lab, f"DELETE FROM {EVENTS.ref}")
        assert len(await lab.rows(EVENTS)) == 1
        await lab.fill(EVENTS, ("b", "x", 1, at(0)))


@needs_sql
async def test_a_long_query_stops_at_the_time_limit(open_lab: OpenLab) -> None:
    async with open_lab(EVENTS, query_timeout=0.5) as lab:
        with pytest.raises(TimeLimitExceeded):
            await asked(lab, ENDLESS)


@needs_sql
async def test_actions_stand_between_targets_and_tell_their_rows(open_lab: OpenLab) -> None:
    async with open_lab(EVENTS, OBSERVATIONS) as lab:
        actions = (
            change(f"INSERT INTO {EVENTS.ref} (id) VALUES ($id)", id="first"),
            change(f"UPDATE {EVENTS.ref} SET n = n + 1", after=1),
        )
        spec = landing_of(APPEND, APPEND, actions=actions)
        async with lab.warehouse.writer(spec) as writer:
            await writer.stage(0, batch_of(EVENTS, EVENTS.column_names, [("a", "x", 1, at(0))]))
            await writer.stage(1, batch_of(EVENTS, EVENTS.column_names, [("b", "x", 1, at(0))]))
            result = await writer.land()
        assert [action.rows for action in result.actions] == [1, 2]
        assert await lab.rows(EVENTS, "id", "n") == [("a", 2), ("b", 1), ("first", None)]
        assert all(part.duration_ms > 0 for part in result.parts)
        assert sum(part.duration_ms for part in result.parts) <= result.duration_ms


@needs_sql
async def test_a_landing_of_actions_alone_happens_once(open_lab: OpenLab) -> None:
    async with open_lab(EVENTS) as lab:
        spec = landing_of(actions=(change(f"INSERT INTO {EVENTS.ref} (id) VALUES ('a')"),))
        for _ in range(2):
            async with lab.warehouse.writer(spec) as writer:
                await writer.land()
                assert await writer.has_landed()
        assert await lab.rows(EVENTS, "id") == [("a",)]


@needs_sql
async def test_an_action_that_fails_takes_everything_back_and_can_be_tried_again(open_lab: OpenLab) -> None:
    async with open_lab(EVENTS) as lab:
        failing = change(
            f"INSERT INTO {EVENTS.ref} (id, n)\nSELECT id, CAST(binding AS INT64) FROM {EVENTS.ref}", after=1
        )
        spec = landing_of(APPEND, actions=(failing,))
        async with lab.warehouse.writer(spec) as writer:
            await writer.stage(0, batch_of(EVENTS, EVENTS.column_names, [("a", "7", 1, at(0))]))
            await lab.fill(EVENTS, ("b", "x", 1, at(0)))
            for _ in range(2):
                with pytest.raises(WarehouseError) as caught:
                    await writer.land()
                assert (caught.value.step_id, caught.value.place, caught.value.hint) == (
                    "sql",
                    "sql/it.sql:4",
                    "",
                )
                assert not await writer.has_landed()
            assert await lab.rows(EVENTS, "id") == [("b",)]
            target = WriteTarget(step_id="mend", table=EVENTS, mode="upsert", key=("id",))
            await lab.land(target, batch_of(EVENTS, EVENTS.column_names, [("b", "8", 1, at(0))]))
            result = await writer.land()
        assert result.actions[0].rows == 2
        assert await lab.rows(EVENTS, "id", "n") == [("a", 1), ("a", 7), ("b", 1), ("b", 8)]


@needs_sql
async def test_numbers_of_the_engine_keep_their_digits(open_lab: OpenLab) -> None:
    async with open_lab(EVENTS) as lab:
        row = (await asked(lab, "SELECT 1.5::DECIMAL(38,9) AS n, sum(range) AS s FROM range(3)"))[0]
        assert row == {"n": Decimal("1.500000000"), "s": Decimal(3)}
