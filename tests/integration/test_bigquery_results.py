"""Results of BigQuery come as a stream, over REST and over the Storage Read API, also when it breaks in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
import pyarrow as pa
import pytest

from runner.errors import PermissionDenied, WarehouseError, WarehouseUnavailable
from runner.ports import ReadQuery
from runner.warehouses.bigquery.service import TRIES
from tests.bigquery_lab import open_lab
from tests.servers.bigquery import AnswerFault, BigQueryProject, StreamFault
from tests.warehouse_lab import EVENTS, Lab

pytestmark = pytest.mark.asyncio

ROWS = 6_000
FILLED = "INSERT INTO lab.events (id, binding, n) SELECT CAST(n AS STRING), 'x', n FROM UNNEST(GENERATE_ARRAY(1, {})) n"
REST = 10**9
"""So many rows that REST is always preferred."""


@asynccontextmanager
async def filled(
    project: BigQueryProject, folder: Path, storage_api_rows: int, rows: int = ROWS
) -> AsyncIterator[Lab]:
    """Open a lab with so many events."""
    async with open_lab(project, folder, EVENTS, storage_api_rows=storage_api_rows) as lab:
        await on_server(project.query, FILLED.format(rows))
        project.forget_requests()
        yield lab


async def numbers(lab: Lab, batch_rows: int = 1000) -> list[int]:
    """Read the numbers of all events, in order."""
    query = ReadQuery(source=EVENTS, columns=("n",), order_by=("n",), batch_rows=batch_rows)
    async with lab.warehouse.read(query) as batches:
        return await numbers_of(batches)


async def numbers_of(batches: AsyncIterator[pa.RecordBatch]) -> list[int]:
    """Return the numbers of what is left of a stream."""
    return [n async for batch in batches for n in batch.column("n").to_pylist()]


def asked(project: BigQueryProject, what: str) -> int:
    """Return how many requests for rows there were: `data` and `queries` of REST, or a call of the Storage API."""
    return len(
        [one for one in project.requests() if f"/{what}" in f"/{one['path']}" and one["method"] != "POST"]
    )


async def test_over_rest_pages_are_asked_for_when_they_are_wanted(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    async with filled(bigquery_project, tmp_path, REST) as lab:
        query = ReadQuery(source=EVENTS, columns=("n",), order_by=("n",), batch_rows=1000)
        async with lab.warehouse.read(query) as batches:
            first = await anext(batches)
            assert first.column("n").to_pylist() == list(range(1, 1001))
            assert asked(bigquery_project, "data") == 0, "the first page comes with the query's own answer"
            rest = await numbers_of(batches)
        assert rest == list(range(1001, ROWS + 1))
        assert asked(bigquery_project, "data") == 5
        assert asked(bigquery_project, "ReadRows") == 0


async def test_over_the_storage_api_rows_come_as_one_stream(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    async with filled(bigquery_project, tmp_path, 1000) as lab:
        assert await numbers(lab) == list(range(1, ROWS + 1))
    assert (asked(bigquery_project, "CreateReadSession"), asked(bigquery_project, "ReadRows")) == (1, 1)


async def test_small_results_open_no_stream(bigquery_project: BigQueryProject, tmp_path: Path) -> None:
    async with filled(bigquery_project, tmp_path, ROWS + 1) as lab:
        assert len(await numbers(lab)) == ROWS
    assert asked(bigquery_project, "CreateReadSession") == 0


@pytest.mark.parametrize("storage_api_rows", [0, REST], ids=["storage", "rest"])
async def test_a_large_result_is_never_in_memory_as_a_whole(
    bigquery_project: BigQueryProject, tmp_path: Path, storage_api_rows: int
) -> None:
    async with filled(bigquery_project, tmp_path, storage_api_rows, rows=60_000) as lab:
        query = ReadQuery(source=EVENTS, columns=("id", "binding", "n"), batch_rows=5_000)
        before, peak, total, rows = pa.total_allocated_bytes(), 0, 0, 0
        async with lab.warehouse.read(query) as batches:
            async for batch in batches:
                peak = max(peak, pa.total_allocated_bytes() - before)
                total += batch.nbytes
                rows += batch.num_rows
                del batch
        assert rows == 60_000
        assert peak < total / 4, f"{peak:,} bytes of {total:,} at once"


@pytest.mark.parametrize("messages", [0, 1, 2])
async def test_a_stream_that_breaks_goes_on_where_it_was(
    bigquery_project: BigQueryProject, tmp_path: Path, messages: int
) -> None:
    async with filled(bigquery_project, tmp_path, 0, rows=20_000) as lab:
        await on_server(bigquery_project.fail, StreamFault("UNAVAILABLE", messages=messages))
        assert await numbers(lab) == list(range(1, 20_001))
        assert await on_server(bigquery_project.met) == [1]


async def test_rows_are_here_before_the_stream_is_at_its_end(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    async with filled(bigquery_project, tmp_path, 0, rows=20_000) as lab:
        await on_server(bigquery_project.fail, StreamFault("FAILED_PRECONDITION", messages=1))
        query = ReadQuery(source=EVENTS, columns=("n",), order_by=("n",), batch_rows=1000)
        async with lab.warehouse.read(query) as batches:
            first = await anext(batches)
            with pytest.raises(WarehouseError, match="injected"):
                await numbers_of(batches)
        assert first.num_rows == 1000


async def test_a_stream_that_never_comes_or_is_not_allowed_is_an_error(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    async with filled(bigquery_project, tmp_path, 0) as lab:
        await on_server(bigquery_project.fail, StreamFault("UNAVAILABLE", times=None))
        with pytest.raises(WarehouseUnavailable, match="injected"):
            await numbers(lab)
        assert asked(bigquery_project, "ReadRows") == TRIES
        denied = StreamFault("PERMISSION_DENIED", "bigquery.readsessions.create", call="CreateReadSession")
        await on_server(bigquery_project.fail, denied)
        with pytest.raises(PermissionDenied, match=r"bigquery\.readsessions\.create"):
            await numbers(lab)


async def test_a_page_that_does_not_come_is_asked_for_again(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    async with filled(bigquery_project, tmp_path, REST) as lab:
        lost = [
            AnswerFault(503, contains="/data?", skip=1, times=2),
            AnswerFault(cut=True, contains="/data?", skip=2),
        ]
        await on_server(bigquery_project.fail, *lost)
        assert await numbers(lab) == list(range(1, ROWS + 1))
        assert await on_server(bigquery_project.met) == [2, 1]


on_server = anyio.to_thread.run_sync
