"""Rows that wait for their landing need room on the local disk, whatever the warehouse is: without it, that is said."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from runner.errors import DiskFull
from runner.ports import WriteTarget
from tests.contract.conftest import WAREHOUSES
from tests.warehouse_lab import EVENTS, Lab, batch_of, landing_of

pytestmark = pytest.mark.asyncio

ENGINES = pytest.mark.parametrize("name", ["duckdb", "postgres-18", "bigquery"])
UPSERT = WriteTarget(step_id="write", table=EVENTS, mode="upsert", key=("id",))
STAGE_BYTES = 100_000


@asynccontextmanager
async def lab_of(name: str, request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    """Open a warehouse that keeps at most `STAGE_BYTES` of staged rows in memory."""
    async with WAREHOUSES[name](request, None, STAGE_BYTES) as warehouse:
        lab = Lab(warehouse, name)
        await lab.prepare(EVENTS)
        yield lab


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """No file of this process can be longer than `size` bytes (`ulimit -f`)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[None]:
    """A disk of 4 MB where the rows wait; skipped where mounting is not allowed."""
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mount: {mounted.stderr.decode()}")
    yield
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def rows(count: int) -> pa.RecordBatch:
    """Return rows of about a kilobyte that no compression makes smaller."""
    return batch_of(
        EVENTS, EVENTS.column_names, [(os.urandom(500).hex(), "x", n, None) for n in range(count)]
    )


async def fill(lab: Lab) -> None:
    """Stage 20 MB, which never land."""
    async with lab.warehouse.writer(landing_of(UPSERT)) as writer:
        for _ in range(20):
            await writer.stage(0, rows(1000))


@ENGINES
async def test_a_file_that_cannot_grow_is_a_full_disk(name: str, request: pytest.FixtureRequest) -> None:
    async with lab_of(name, request) as lab:
        with small_files(200_000), pytest.raises(DiskFull, match="File too large") as raised:
            await fill(lab)
        assert raised.value.category == "disk_full"
        assert "no room for rows that wait for their landing" in str(raised.value)
        await lab.land(UPSERT, rows(1))
        assert await lab.warehouse.count_matching(EVENTS, ()) == 1


@ENGINES
async def test_a_full_disk_is_said(name: str, request: pytest.FixtureRequest, small_disk: None) -> None:
    async with lab_of(name, request) as lab:
        with pytest.raises(DiskFull, match="No space left on device"):
            await fill(lab)
        await lab.land(UPSERT, rows(1))
        assert await lab.warehouse.count_matching(EVENTS, ()) == 1


@ENGINES
async def test_a_landing_that_needs_room_says_it_too(name: str, request: pytest.FixtureRequest) -> None:
    """What is still in memory goes to the file first; BigQuery also writes the file that it loads."""
    async with lab_of(name, request) as lab:
        async with lab.warehouse.writer(landing_of(UPSERT)) as writer:
            await writer.stage(0, rows(1000))
            await writer.stage(0, rows(50))
            with small_files(100_000), pytest.raises(DiskFull, match="File too large"):
                await writer.land()
        await lab.land(UPSERT, rows(1))
        assert await lab.warehouse.count_matching(EVENTS, ()) == 1


@pytest.mark.parametrize("name", ["bigquery"])
async def test_the_file_to_load_needs_room(name: str, request: pytest.FixtureRequest) -> None:
    """Afterwards the same rows can land: they are still there."""
    async with lab_of(name, request) as lab, lab.warehouse.writer(landing_of(UPSERT)) as writer:
        await writer.stage(0, rows(1000))
        with small_files(100_000), pytest.raises(DiskFull, match="File too large"):
            await writer.land()
        await writer.land()
        assert await lab.warehouse.count_matching(EVENTS, ()) == 1000
