"""Staging areas: what is staged comes back in its order, whether it stands in memory or in files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio.to_thread
import pyarrow as pa
import pytest

from runner.landings import NUMBER
from runner.landings.area import StagingArea
from runner.landings.staging import SUFFIX
from runner.ports import BadRow, WriteTarget
from tests.warehouse_lab import EVENTS, batch_of, landing_of

pytestmark = pytest.mark.asyncio

TARGET = WriteTarget(step_id="write", table=EVENTS, mode="upsert", key=("id",))
BAD = BadRow(step_id="s", key=None, column="", reason="because", content="{}")


def area_in(folder: Path, limit: int = 64_000_000) -> StagingArea:
    """Return an area for one target and one tracked read."""
    return StagingArea(landing_of(TARGET), folder, limit, anyio.to_thread.run_sync)


def events(*ids: str | None) -> pa.RecordBatch:
    """Return rows of EVENTS."""
    return batch_of(EVENTS, EVENTS.column_names, [(key, "x", 1, None) for key in ids])


def files(folder: Path) -> list[Path]:
    """Return the files of stages."""
    return sorted(folder.glob(f"*{SUFFIX}"))


async def staged(area: StagingArea) -> list[tuple[str, int]]:
    """Return the staged ids with their numbers."""
    rows = await anyio.to_thread.run_sync(lambda: area.targets[0].reader(["id", NUMBER]).read_all())
    return list(zip(rows["id"].to_pylist(), rows[NUMBER].to_pylist(), strict=True))


@pytest.mark.parametrize(("limit", "spilled"), [(64_000_000, False), (1, True)])
async def test_rows_come_back_in_their_order_with_their_numbers(
    tmp_path: Path, limit: int, spilled: bool
) -> None:
    folder = tmp_path / "made" / "when needed"
    area = area_in(folder, limit)
    assert area.is_empty
    await area.stage(0, events("b", "a"))
    await area.stage(0, events("a"))
    await area.stage_keys(0, pa.record_batch({"id": ["k"]}))
    assert folder.exists() is spilled
    assert await staged(area) == [("b", 0), ("a", 1), ("a", 2)]
    await area.stage(0, events("c"))  # after a landing that failed
    assert await staged(area) == [("b", 0), ("a", 1), ("a", 2), ("c", 3)]
    assert (area.rows, area.is_empty, area.keys[0].rows) == ([4], False, 1)
    await anyio.to_thread.run_sync(area.clear)
    assert (area.rows, area.is_empty, area.keys[0].rows) == ([0], True, 0)
    assert not files(tmp_path)
    await area.stage(0, events("z"))
    assert await staged(area) == [("z", 0)]
    await area.close()
    assert not files(folder)


async def test_all_that_is_staged_counts_for_the_limit(tmp_path: Path) -> None:
    row, key = events("a"), pa.record_batch({"id": ["k" * 1_000]})
    limit = row.nbytes + key.nbytes  # and the numbers come on top
    area = area_in(tmp_path, limit)
    await area.stage(0, row)
    assert not files(tmp_path)
    await area.stage_keys(0, key)
    assert [path.name.partition("-")[0] for path in files(tmp_path)] == ["keys_0", "staged_0"]
    await area.close()


@pytest.mark.parametrize(
    "add",
    [
        lambda area: area.stage(0, events("a")),
        lambda area: area.stage_keys(0, pa.record_batch({"id": ["k"]})),
        None,
    ],
    ids=["rows", "keys", "bad rows"],
)
async def test_an_area_with_anything_in_it_is_not_empty(
    tmp_path: Path, add: Callable[[StagingArea], object] | None
) -> None:
    area = area_in(tmp_path)
    if add is None:
        area.stage_bad_rows([BAD])
    else:
        await add(area)  # type: ignore[misc]
    assert not area.is_empty
    area.clear()
    assert area.is_empty


async def test_null_in_a_key_and_other_columns_are_refused(tmp_path: Path) -> None:
    area = area_in(tmp_path)
    with pytest.raises(ValueError, match="NULL in the key column id"):
        await area.stage(0, events("a", None))
    with pytest.raises(ValueError, match="staged columns are"):
        await area.stage(0, pa.record_batch({"id": ["a"]}))
    await area.stage_keys(0, pa.record_batch({"id": ["k"]}))
    with pytest.raises(ValueError, match="staged columns are"):
        await area.stage_keys(0, pa.record_batch({"other": ["k"]}))
    assert area.rows == [0]
    assert area.keys[0].rows == 1


ABANDONED = """
import os, pathlib, sys
import anyio
from tests.unit.landings.test_staging_area import area_in, events

async def main():
    await area_in(pathlib.Path(sys.argv[1]), 1).stage(0, events("a"))
    os._exit(0)

anyio.run(main)
"""


async def test_the_first_file_removes_those_of_the_dead_and_leaves_those_in_use(tmp_path: Path) -> None:
    living = area_in(tmp_path, 1)
    await living.stage(0, events("living"))
    used = files(tmp_path)
    await anyio.to_thread.run_sync(
        lambda: subprocess.run([sys.executable, "-c", ABANDONED, str(tmp_path)], check=True)
    )
    assert set(used) < set(files(tmp_path))
    other = area_in(tmp_path, 1)
    await other.stage(0, events("other"))
    assert len(files(tmp_path)) == 2
    assert (await staged(living), await staged(other)) == ([("living", 0)], [("other", 0)])
    await living.close()
    await other.close()
    assert not files(tmp_path)
