"""An incremental read brings the same rows from DuckDB, from memory, and from a model of ten lines."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal
from hypothesis import given
from hypothesis import strategies as st

from runner.ports import IncrementalRead, ReadQuery, WriteTarget
from runner.settings import DuckDBSettings
from runner.specs import TableSpec
from runner.testing import MemoryWarehouse
from runner.warehouses.duckdb import DuckDBWarehouse
from tests.warehouse_lab import Lab, at, batch_of, incremental, table

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


def test_duckdb_and_memory_agree_with_the_model(tmp_path: Path) -> None:
    steps = count()
    with start_blocking_portal() as portal:
        opened = DuckDBWarehouse(tmp_path / "lab.duckdb", DuckDBSettings(threads=1))
        with portal.wrap_async_context_manager(opened) as duckdb:
            labs = [Lab(duckdb, "duckdb"), Lab(MemoryWarehouse(), "memory")]
            for lab in labs:
                portal.call(lab.prepare, SOURCE, TARGET)

            @given(shape=shapes, source=rows, target=rows, held=rows)
            def compare(shape: dict[str, Any], source: list[Any], target: list[Any], held: list[Any]) -> None:
                # A step of its own for each example: what another has read is not remembered.
                read = replace(read_of(shape), step_id=f"read_{next(steps)}")
                expected = model(read, source, target, remembered(read, held))
                for lab in labs:
                    assert portal.call(answer, lab, read, source, target, held) == expected, lab.name

            compare()


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
    """Put these rows in place of others in a warehouse and return the numbers of those that it finds new."""
    await lab.process(read, [keys_of(read, row) for row in held], source=SOURCE, target=nothing(TARGET))
    numbered = [(number, *row) for number, row in enumerate(source)]
    for spec, content in ((SOURCE, numbered), (TARGET, target)):
        place = WriteTarget(step_id="fill", table=spec, mode="replace", key=())
        await lab.land(place, batch_of(spec, spec.column_names, content))
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
