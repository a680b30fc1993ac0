"""New rows land in whole row groups of DuckDB's, in the order in which they were staged."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.ports import WriteTarget
from runner.warehouses.duckdb import DuckDBWarehouse
from runner.warehouses.duckdb.staging import in_batches_of
from runner.warehouses.duckdb.upserts import GROUP_BYTES, GROUP_ROWS
from tests.warehouse_lab import EVENTS, Lab, landing_of

TARGET = WriteTarget(step_id="write", table=EVENTS, mode="upsert", key=("id",))
ROWS = 2 * GROUP_ROWS + 1_000


def events(start: int, stop: int, text: str = "x") -> pa.RecordBatch:
    """Return rows of EVENTS with the ids `k{start}` to before `k{stop}`."""
    numbers = range(start, stop)
    return pa.record_batch(
        [
            pa.array([f"k{number}" for number in numbers]),
            pa.array([text] * len(numbers)),
            pa.array(numbers, pa.int64()),
            pa.nulls(len(numbers), pa.timestamp("us", "UTC")),
        ],
        names=EVENTS.column_names,
    )


@pytest.mark.asyncio
@pytest.mark.parametrize("stage_bytes", [64_000_000, 1], ids=["memory", "file"])
async def test_row_groups_are_whole_and_in_order(tmp_path: Path, stage_bytes: int) -> None:
    path = tmp_path / "w.duckdb"
    async with DuckDBWarehouse(path, stage_bytes=stage_bytes) as warehouse:
        lab = Lab(warehouse, "duckdb")
        await lab.prepare(EVENTS)
        async with warehouse.writer(landing_of(TARGET)) as writer:
            for start in range(0, ROWS, 9_999):
                await writer.stage(0, events(start, min(start + 9_999, ROWS)))
            result = await writer.land()
    assert result.targets[0].written == ROWS
    with duckdb.connect(str(path), read_only=True) as reader:
        groups = reader.sql(
            f"SELECT max(count) FROM pragma_storage_info('{EVENTS.ref}') "
            "WHERE column_name = 'n' AND segment_type <> 'VALIDITY' GROUP BY row_group_id ORDER BY row_group_id"
        ).fetchall()
        numbers = reader.sql(f"SELECT n FROM {EVENTS.ref}").fetchall()
    assert groups == [(GROUP_ROWS,), (GROUP_ROWS,), (1_000,)]
    assert numbers == [(number,) for number in range(ROWS)]


@pytest.mark.asyncio
async def test_rows_too_wide_for_a_row_group_in_memory_land_as_they_were_staged(tmp_path: Path) -> None:
    wide = "w" * (GROUP_BYTES // GROUP_ROWS)
    async with DuckDBWarehouse(tmp_path / "w.duckdb") as warehouse:
        lab = Lab(warehouse, "duckdb")
        await lab.prepare(EVENTS)
        async with warehouse.writer(landing_of(TARGET)) as writer:
            await writer.stage(0, events(0, 1_000, wide))
            result = await writer.land()
        assert result.targets[0].written == 1_000
        assert len(await lab.rows(EVENTS)) == 1_000


@given(sizes=st.lists(st.integers(0, 25), max_size=12), rows=st.integers(1, 30))
def test_batches_are_cut_and_joined_anew(sizes: list[int], rows: int) -> None:
    batches, total = [], 0
    for size in sizes:
        batches.append(pa.record_batch([pa.array(range(total, total + size), pa.int64())], names=["n"]))
        total += size
    cut = [batch.column(0).to_pylist() for batch in in_batches_of(rows, batches)]
    whole, rest = divmod(total, rows)
    assert [len(numbers) for numbers in cut] == [rows] * whole + ([rest] if rest else [])
    assert [number for numbers in cut for number in numbers] == list(range(total))
