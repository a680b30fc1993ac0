"""An incremental read brings the same rows from DuckDB, from memory, and from a model of ten lines."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.ports import IncrementalRead, ReadQuery, WriteTarget
from runner.settings import DuckDBSettings
from runner.specs import TableSpec
from runner.testing import MemoryWarehouse
from runner.warehouses.duckdb import DuckDBWarehouse
from tests.warehouse_lab import Lab, at, incremental, table

SOURCE = table("source", n="int64", a="string", b="int64", ts="timestamp")
TARGET = table("target", c="string", d="int64", made="timestamp")

text_keys = st.none() | st.sampled_from(["", "a", "b", "p:a", "p:b#s", "'"])
number_keys = st.none() | st.integers(0, 2)
times = st.none() | st.integers(0, 2).map(at)
rows = st.lists(st.tuples(text_keys, number_keys, times), max_size=8)
shapes = st.fixed_dictionaries(
    {"mode": st.sampled_from(["not_exists", "left_anti"]), "composite": st.booleans()},
    optional={"key_prefix": st.just("p:"), "key_suffix": st.just("#s")},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for the database."""
    return tmp_path_factory.mktemp("incremental")


def read_of(shape: dict[str, Any]) -> IncrementalRead:
    """Return the read that a drawn shape describes."""
    options = {name: value for name, value in shape.items() if name != "composite"}
    if shape["composite"]:
        options = {"mode": options["mode"], "source_key": ["a", "b"], "target_key": ["c", "d"]}
    else:
        options |= {"source_key": "a", "target_key": "c"}
    if options["mode"] == "left_anti":
        options |= {"source_ts": "ts", "target_ts": "made"}
    return incremental(TARGET, **options)


def model(read: IncrementalRead, source: list[Any], target: list[Any], held: dict[Any, Any]) -> list[int]:
    """Say which source rows are new: numbers of rows."""
    spec, width = read.spec, len(read.spec.source_key)
    found = []
    for number, row in enumerate(source):
        key = row[:width]
        wanted = (f"{spec.key_prefix}{key[0]}{spec.key_suffix}", *key[1:])
        there = [other[2] for other in target if other[:width] == wanted]

        def stale(old: Any, new: Any = row[2]) -> bool:
            return spec.mode == "left_anti" and None not in (old, new) and old < new

        is_new = not there or any(map(stale, there))
        if None in key or (is_new and not (key in held and not stale(held[key]))):
            found.append(number)
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=shapes, source=rows, target=rows, held=rows)
def test_duckdb_and_memory_agree_with_the_model(
    folder: Path, shape: dict[str, Any], source: list[Any], target: list[Any], held: list[Any]
) -> None:
    database = folder / "lab.duckdb"
    database.unlink(missing_ok=True)
    Path(f"{database}.wal").unlink(missing_ok=True)

    async def compare() -> None:
        async with AsyncExitStack() as stack:
            duckdb = await stack.enter_async_context(DuckDBWarehouse(database, DuckDBSettings(threads=1)))
            labs = [Lab(duckdb, "duckdb"), Lab(await stack.enter_async_context(MemoryWarehouse()), "memory")]
            read = read_of(shape)
            answers = [await answer(lab, read, source, target, held) for lab in labs]
            expected = model(read, source, target, remembered(read, held))
            assert answers == [expected, expected]

    anyio.run(compare)


def remembered(read: IncrementalRead, held: list[Any]) -> dict[Any, Any]:
    """Return the greatest time by key of what was read without a result; a NULL part is no key."""
    latest: dict[Any, Any] = {}
    for row in held:
        key = row[: len(read.spec.source_key)]
        if None not in key:
            timed = [time for time in (latest.get(key), row[2]) if time is not None]
            latest[key] = max(timed, default=None) if read.spec.source_ts else None
    return latest


async def answer(
    lab: Lab, read: IncrementalRead, source: list[Any], target: list[Any], held: list[Any]
) -> list[int]:
    """Fill a warehouse and return the numbers of the rows that it finds new."""
    await lab.prepare(SOURCE, TARGET)
    await lab.process(read, [keys_of(read, row) for row in held], source=SOURCE, target=nothing(TARGET))
    await lab.fill(SOURCE, *((number, *row) for number, row in enumerate(source)))
    await lab.fill(TARGET, *target)
    query = ReadQuery(source=SOURCE, columns=("n",), incremental=read)
    found = sorted(row["n"] for row in await lab.read(query))
    counts = await lab.warehouse.count(query)
    assert counts.total == len(source)
    assert counts.new + counts.null_key == len(found)
    assert counts.total == counts.new + counts.present + counts.remembered + counts.null_key
    return found


def keys_of(read: IncrementalRead, row: Any) -> tuple[Any, ...]:
    """Return the columns of a row that a landing needs."""
    return (*row[: len(read.spec.source_key)], *((row[2],) if read.spec.source_ts else ()))


def nothing(spec: TableSpec) -> WriteTarget:
    """Return a write that stages no row."""
    return WriteTarget(step_id="write", table=spec, mode="append", key=())
