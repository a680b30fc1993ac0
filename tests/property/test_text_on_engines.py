"""Whatever text there is: as a value it comes back as it was, and nothing else changes (GUARANTEES 14)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.errors import WarehouseError
from runner.pipeline_runner.warehouse import build_warehouse
from runner.ports import ReadQuery, Statement, WriteTarget
from runner.sql import Parameters
from runner.testing.memory_tables import to_rows
from tests.engines import Engine, Rows, new_engine
from tests.projects import FAST, ThrowAwayProject
from tests.warehouse_lab import EVENTS, Lab, at, batch_of, incremental, table, where

TEXTS = table("texts", ["id"], id="string!", other="string")
NEVER = table("never", ["id"], id="string!")
CHANGING = {"lab.texts", "ops.processed_keys", "ops.landings"}
"""The tables that change."""

AWKWARD = (
    "", " ", "a", "a ", "A", "'", "''", '"', "`", "\\", "\\'", '\\"', "\\N", "\\.", "a.b", "lab.events", "NULL",
    "$1", ":v", "@v", "%s", "{}", "{v}", "?", "--", "/*", "#", "';DROP TABLE lab.events;--",
    "`;DROP TABLE lab.events;--", "\r\n", "\t", "\x1a", "\x7f", "\ufeff", "\u2028", "é", "e\u0301", "ﬀ", "ß", "🜁",
    "\U0010ffff",
)  # fmt: skip
characters = st.characters(codec="utf-8", exclude_characters="\0")
any_text = (
    st.sampled_from(AWKWARD)
    | st.text(characters, max_size=30)
    | st.text(characters, min_size=1, max_size=9).map(lambda text: (text * 10_000)[:10_000])
)
"""Of all characters that UTF-8 has but for NUL, at times 10,000 of them."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["duckdb", "postgres-15", "postgres-18", "bigquery"])
def test_values_come_back_and_nothing_else_changes(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """As cells, keys, values of filters and parameters, and keys that are remembered."""
    steps = count()
    examples = settings.default.max_examples if settings.default else 0
    with start_blocking_portal() as portal, new_engine(name, request, tmp_path) as engine:
        with open_lab(engine, portal, tmp_path) as lab:
            portal.call(lab.fill, EVENTS, ("a", "x", 1, at(0)), ("b", "y", 2, None))
        before = without_own(engine)
        with open_lab(engine, portal, tmp_path) as lab:

            @settings(max_examples=examples // 15 if name == "bigquery" else examples)
            @given(texts=st.lists(any_text, min_size=1, max_size=10, unique=True))
            @example(texts=list(AWKWARD))
            def comes_back(texts: list[str]) -> None:
                portal.call(bring_back, lab, texts, f"read_{next(steps)}")

            comes_back()
        assert without_own(engine) == before
        assert before["lab.events"]


@contextmanager
def open_lab(engine: Engine, portal: BlockingPortal, folder: Path) -> Iterator[Lab]:
    """Open an engine with the tables of these tests."""
    project = ThrowAwayProject(folder / "project", "texts")
    warehouse = build_warehouse(project.settings(warehouse=engine.warehouse, retries=FAST))
    with portal.wrap_async_context_manager(warehouse) as opened:
        lab = Lab(opened, opened.engine)
        portal.call(lab.prepare, TEXTS, NEVER, EVENTS)
        yield lab


def without_own(engine: Engine) -> dict[str, Rows]:
    """Return what must stay as it is; the names of all tables belong to it."""
    return {name: [] if name in CHANGING else rows for name, rows in engine.tables().items()}


async def bring_back(lab: Lab, texts: list[str], step_id: str) -> None:
    """Write texts, twice, and have them told again in every way there is."""
    cells = batch_of(TEXTS, ("id", "other"), [(text, text) for text in texts])
    for mode in ("replace", "upsert"):
        await lab.land(WriteTarget(step_id="write", table=TEXTS, mode=mode, key=("id",)), cells)
    expected = sorted(((text, text) for text in texts), key=repr)
    assert await lab.rows(TEXTS) == expected

    some = texts[: len(texts) // 2 + 1]
    among = ReadQuery(
        source=TEXTS, columns=("other",), filters=(where("other", some, "in"), where("id", texts[0]))
    )
    assert [row["other"] for row in await lab.read(among)] == [texts[0]]
    assert await parameters_of(lab, texts) == texts

    read = replace(incremental(NEVER), step_id=step_id)
    assert await lab.new(read, TEXTS) == sorted(texts)
    await lab.process(read, texts, source=TEXTS)
    assert await lab.new(read, TEXTS) == []


async def parameters_of(lab: Lab, texts: list[str]) -> list[str]:
    """Send texts as parameters of one query and return them as its row has them."""
    parameters = Parameters(lab.dialect)
    selected = [f"{parameters.bind('v', text)} AS v{place}" for place, text in enumerate(texts)]
    statement = Statement(text=f"SELECT {', '.join(selected)}", values=parameters.values)
    async with lab.warehouse.query(statement, batch_rows=10) as batches:
        (row,) = [row async for batch in batches for row in to_rows(batch)]
    return [row[f"v{place}"] for place in range(len(texts))]


@pytest.mark.parametrize("name", ["duckdb", "postgres-18", "bigquery"])
def test_the_character_nul_is_held_or_its_place_is_named(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """PostgreSQL's text has no NUL: rows are refused before (test_postgres_values.py), and other values named.

    BigQuery's has one; what the emulator builds of a filter ends at it, so cells and parameters are asked for.
    """
    text = "a\0b"
    with (
        start_blocking_portal() as portal,
        new_engine(name, request, tmp_path) as engine,
        open_lab(engine, portal, tmp_path) as lab,
    ):
        if name == "postgres-18":
            named = r"the value of :{} has the character NUL, which PostgreSQL cannot hold, got 'a\\x00b'"
            equal = ReadQuery(source=TEXTS, columns=("other",), filters=(where("other", text),))
            with pytest.raises(WarehouseError, match=named.format("other")):
                portal.call(lab.read, equal)
            with pytest.raises(WarehouseError, match=named.format("v_2")):
                portal.call(parameters_of, lab, ["a", text])
            with pytest.raises(WarehouseError, match=named.format("other")):
                portal.call(lab.warehouse.count_matching, TEXTS, equal.filters)
        elif name == "bigquery":
            portal.call(lab.fill, TEXTS, (text, text))
            assert portal.call(lab.rows, TEXTS) == [(text, text)]
            assert portal.call(parameters_of, lab, [text]) == [text]
        else:
            portal.call(bring_back, lab, [text, "a", "\0", "a\0"], "read")
