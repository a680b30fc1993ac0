"""An incremental read brings the same rows from every engine, from memory, and from a model of ten lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.ddl import PROCESSED_KEYS
from runner.incremental import key_text
from runner.ports import IncrementalRead, ReadQuery, WriteTarget
from runner.specs import TableSpec
from tests.contract.conftest import WAREHOUSES
from tests.servers.bigquery import BigQueryProject
from tests.warehouse_lab import STAMP, Lab, at, batch_of, incremental, table

SOURCE = table("source", n="int64", a="string", b="int64", ts="timestamp")
TARGET = table("target", c="string", d="int64", made="timestamp")
SINCE = at(1)
"""Where a lookback begins: of three times the first lies before it."""

# NULL is one value among others, not half of them; sources are long, since each of their rows is a case of its own.
text_keys = st.sampled_from([None, "", "a", "b", "p:a", "p:b#s", "'", '"', "\\", "é"])
number_keys = st.sampled_from([None, 0, 1, 2])
times = st.sampled_from([None, at(0), at(1), at(2)])
row = st.tuples(text_keys, number_keys, times)
sources, rows = st.lists(row, min_size=1, max_size=20), st.lists(row, max_size=8)
copies = st.lists(st.tuples(st.integers(0, 19), st.sampled_from([None, -1, 0, 0, 1])), max_size=8)
"""Which source rows have a counterpart in the target, and how many minutes later it is; None: it has no time."""
shapes = st.fixed_dictionaries(
    {"mode": st.sampled_from(["not_exists", "left_anti"]), "composite": st.booleans()},
    optional={
        "key_prefix": st.just("p:"), "key_suffix": st.just("#s"),
        "lookback": st.just({"source_column": "ts", "target_column": "made", "window": "1h"}),
    },
)  # fmt: skip

TIMED: dict[str, Any] = {"mode": "left_anti", "composite": False, "key_prefix": "p:", "key_suffix": "#s"}
BOUNDED: dict[str, Any] = {
    "mode": "not_exists", "composite": True,
    "lookback": {"source_column": "ts", "target_column": "made", "window": "1h"},
}  # fmt: skip
ONE_OF_EACH = [(key, 1, at(1)) for key in ("equal", "equal", "stale", "later", "held", "held and stale", "new")] + [
    ("untimed", 1, None), (None, 1, at(1)), ("before", 1, at(0)), ("half", None, at(1)),
]  # fmt: skip
COPIES = [(0, 0), (0, 1), (2, -1), (3, 1), (5, -1), (7, 0), (9, 0)]

Put = Callable[[IncrementalRead, list[Any], list[Any], list[Any]], object]
"""Puts rows in place of others: of the source, of the target, and those that were read without a result."""


def read_of(shape: dict[str, Any]) -> IncrementalRead:
    """Return the read that a drawn shape describes."""
    options = {name: value for name, value in shape.items() if name != "composite"}
    if shape["composite"]:
        options |= {"source_key": ["a", "b"], "target_key": ["c", "d"]}
        options = {name: value for name, value in options.items() if not name.startswith("key_")}
    else:
        options |= {"source_key": "a", "target_key": "c"}
    if options["mode"] == "left_anti":
        options |= {"source_ts": "ts", "target_ts": "made"}
    read = incremental(TARGET, **options)
    return replace(read, since=SINCE) if "lookback" in shape else read


def model(
    read: IncrementalRead,
    source: list[Any],
    target: list[Any],
    held: dict[Any, Any],
    *,
    outside: bool = False,
) -> list[int]:
    """Say which source rows are new: numbers of rows. `outside`: they are no rows of a table, so a lookback does not
    bound them.
    """
    spec, width = read.spec, len(read.spec.source_key)
    target = [row for row in target if is_looked_at(read, row)]
    found = []
    for number, row in enumerate(source):
        key = row[:width]
        wanted = (f"{spec.key_prefix}{key[0]}{spec.key_suffix}", *key[1:])
        there = [other[2] for other in target if other[:width] == wanted]

        def stale(old: Any, new: Any = row[2]) -> bool:
            return spec.mode == "left_anti" and None not in (old, new) and old < new

        is_new = not there or any(map(stale, there))
        is_held = key in held and not stale(held[key])
        if (outside or is_looked_at(read, row)) and (None in key or (is_new and not is_held)):
            found.append(number)
    return found


def counterparts(read: IncrementalRead, source: list[Any], copied: list[Any]) -> Iterator[Any]:
    """Yield target rows of source rows."""
    spec = read.spec
    for place, minutes in copied:
        first, second, moment = source[place % len(source)]
        first = first if first is None else f"{spec.key_prefix}{first}{spec.key_suffix}"
        yield first, second, None if None in (moment, minutes) else moment + timedelta(minutes=minutes)


def is_looked_at(read: IncrementalRead, row: Any) -> bool:
    """Tell whether a lookback, if there is one, reaches a row."""
    return read.since is None or row[2] is None or row[2] >= read.since


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["duckdb", "memory", "postgres-15", "postgres-18", "bigquery"])
def test_a_read_agrees_with_the_model(name: str, request: pytest.FixtureRequest) -> None:
    """An example takes BigQuery's emulator ten to twenty times as long as the others."""
    steps = count()
    examples = settings.default.max_examples if settings.default else 0
    with start_blocking_portal() as portal, open_lab(name, request, portal) as (lab, put):

        @settings(max_examples=examples // 5 if name == "bigquery" else examples)
        @given(shape=shapes, source=sources, copied=copies, target=rows, held=rows)
        @example(shape=TIMED, source=ONE_OF_EACH, copied=COPIES, target=[], held=ONE_OF_EACH[4:6])
        @example(shape=BOUNDED, source=ONE_OF_EACH, copied=COPIES, target=[], held=[])
        def compare(
            shape: dict[str, Any], source: list[Any], copied: list[Any], target: list[Any], held: list[Any]
        ) -> None:
            # A step of its own for each example: what another has read is not remembered.
            read = replace(read_of(shape), step_id=f"read_{next(steps)}")
            target = [*target, *counterparts(read, source, copied)]
            put(read, source, target, held)
            assert portal.call(answer, lab, read, source) == model(
                read, source, target, remembered(read, held)
            )

        compare()


@contextmanager
def open_lab(name: str, request: pytest.FixtureRequest, portal: BlockingPortal) -> Iterator[tuple[Lab, Put]]:
    """Open an engine with both tables, and say how rows come into them: they land; in BigQuery by hand, for speed."""
    with portal.wrap_async_context_manager(WAREHOUSES[name](request, None, 64_000_000)) as warehouse:
        lab = Lab(warehouse, name)
        portal.call(lab.prepare, SOURCE, TARGET)
        if name != "bigquery":
            yield lab, lambda *content: portal.call(land, lab, *content)
            return
        project: BigQueryProject = request.getfixturevalue("bigquery_project")
        with project.client() as client:
            yield lab, lambda *content: list(client.query_and_wait(script(*content)))


async def land(
    lab: Lab, read: IncrementalRead, source: list[Any], target: list[Any], held: list[Any]
) -> None:
    """Put rows in place of others as jobs do."""
    await lab.process(read, [keys_of(read, row) for row in held], source=SOURCE, target=nothing(TARGET))
    for spec, content in ((SOURCE, numbered(source)), (TARGET, target)):
        place = WriteTarget(step_id="fill", table=spec, mode="replace", key=())
        await lab.land(place, batch_of(spec, spec.column_names, content))


def script(read: IncrementalRead, source: list[Any], target: list[Any], held: list[Any]) -> str:
    """Return statements of BigQuery that put rows in place of others."""
    types = ("string", "int64")[: len(read.spec.source_key)]
    keys = [
        (read.job_id, read.step_id, key_text(key, types), "empty", moment, "run", STAMP)
        for key, moment in remembered(read, held).items()
    ]
    fills = ((SOURCE, numbered(source)), (TARGET, target), (PROCESSED_KEYS, keys))
    statements = [f"TRUNCATE TABLE {spec.ref}" for spec, _ in fills]
    for spec, content in fills:
        values = ", ".join(f"({', '.join(map(literal, row))})" for row in content)
        statements += (
            [f"INSERT INTO {spec.ref} ({', '.join(spec.column_names)}) VALUES {values}"] if content else []
        )
    return ";\n".join(statements)


def literal(value: Any) -> str:
    """Return a value as GoogleSQL writes it."""
    match value:
        case None:
            return "NULL"
        case datetime():
            return f"TIMESTAMP '{value.isoformat()}'"
        case _:
            return json.dumps(value)


def remembered(read: IncrementalRead, held: list[Any]) -> dict[Any, Any]:
    """Return the greatest time by key of what was read without a result; a NULL part is no key."""
    latest: dict[Any, Any] = {}
    for row in held:
        key = row[: len(read.spec.source_key)]
        if None not in key:
            timed = [time for time in (latest.get(key), row[2]) if time is not None]
            latest[key] = max(timed, default=None) if read.spec.source_ts else None
    return latest


async def answer(lab: Lab, read: IncrementalRead, source: list[Any]) -> list[int]:
    """Return the numbers of the rows that an engine finds new; its counts must say the same."""
    query = ReadQuery(source=SOURCE, columns=("n",), incremental=read)
    found = sorted(row["n"] for row in await lab.read(query))
    counts = await lab.warehouse.count(query)
    assert counts.total == sum(is_looked_at(read, row) for row in source)
    assert counts.new + counts.null_key == len(found)
    assert counts.total == counts.new + counts.present + counts.remembered + counts.null_key
    return found


async def missing(lab: Lab, read: IncrementalRead, source: list[Any]) -> list[int]:
    """Return the numbers of rows, given as an extract would, that an engine says are new."""
    names = keys_of(read, SOURCE.column_names[1:])
    keys = batch_of(SOURCE, names, [keys_of(read, row) for row in source])
    return [number for number, new in enumerate(await lab.warehouse.missing_keys(read, keys)) if new]


def numbered(source: list[Any]) -> list[Any]:
    """Return rows of the source with their number before them."""
    return [(number, *row) for number, row in enumerate(source)]


def keys_of(read: IncrementalRead, row: Any) -> tuple[Any, ...]:
    """Return the columns of a row that a landing needs."""
    return (*row[: len(read.spec.source_key)], *((row[2],) if read.spec.source_ts else ()))


def nothing(spec: TableSpec) -> WriteTarget:
    """Return a write that stages no row."""
    return WriteTarget(step_id="write", table=spec, mode="append", key=())
