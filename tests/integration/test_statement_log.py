"""The log of statements: their heads, how long, how many rows, never values; nothing unless somebody listens."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from runner.errors import WarehouseError
from runner.ports import ReadQuery, Statement
from runner.settings import BigQuerySettings
from runner.statement_log import STATEMENT_LENGTH, log_statement
from runner.warehouses.bigquery import BigQueryWarehouse
from runner.warehouses.duckdb import DuckDBWarehouse
from tests.servers.bigquery import BigQueryProject
from tests.warehouse_lab import EVENTS, Lab, where

SECRET = "value-4711"


def told(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "runner.warehouses.duckdb"]


def test_the_head_of_a_statement_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "runner.warehouses")

    log_statement("x", "SELECT 1\n   FROM a", duration_ms=1.25, rows=12_000, query_id="job_1")
    log_statement("x", "SELECT " + "a, " * 10_000, duration_ms=0.1)

    first, second = caplog.records
    assert first.getMessage() == "SELECT 1 FROM a (1.2 ms, 12,000 rows, job_1)"
    assert (first.__dict__["rows"], first.__dict__["query_id"], first.__dict__["duration_ms"]) == (
        12_000,
        "job_1",
        1.25,
    )
    assert len(second.__dict__["statement"]) == STATEMENT_LENGTH
    assert "rows" not in second.__dict__


def test_nothing_is_said_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "runner.warehouses")

    log_statement("x", "SELECT 1", duration_ms=1)

    assert caplog.records == []


@pytest.mark.asyncio
async def test_duckdb_tells_what_it_is_sent_without_values(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "runner.warehouses")
    async with DuckDBWarehouse(tmp_path / "w.duckdb") as warehouse:
        lab = Lab(warehouse, "duckdb")
        await lab.prepare(EVENTS)
        await lab.fill(EVENTS, *[(f"k{n}", SECRET, n, None) for n in range(3)])
        caplog.clear()
        query = ReadQuery(
            source=EVENTS, columns=("id", "n"), filters=(where("binding", SECRET),), batch_rows=2
        )
        async with warehouse.read(query) as batches:
            assert sum([batch.num_rows async for batch in batches]) == 3
        assert await warehouse.greatest(EVENTS, "n", ()) == 2
        with pytest.raises(WarehouseError):
            async with warehouse.query(Statement(text="SELECT nothing FROM lab.events")) as batches:
                assert not [batch async for batch in batches]

    by_text = {record.__dict__["statement"]: record for record in told(caplog)}
    (read,) = (record for text, record in by_text.items() if text.startswith('SELECT s."id", s."n"'))
    assert read.getMessage().endswith(" ms, 3 rows)")
    assert by_text['SELECT max("n") AS greatest FROM "lab"."events"'].getMessage().endswith(" ms, 1 row)")
    assert "SELECT nothing FROM lab.events" in by_text
    assert SECRET not in caplog.text


@pytest.mark.asyncio
async def test_a_landing_tells_each_of_its_statements(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with DuckDBWarehouse(tmp_path / "w.duckdb") as warehouse:
        lab = Lab(warehouse, "duckdb")
        await lab.prepare(EVENTS)
        await lab.fill(EVENTS, ("a", "b", 1, None))
        assert told(caplog) == []

        caplog.set_level(logging.DEBUG, "runner.warehouses")
        await lab.fill(EVENTS, ("a", "b", 1, None))

    statements = [record.__dict__["statement"] for record in told(caplog)]
    assert [text.split(" (")[0] for text in statements[-4:]] == [
        "BEGIN",
        'INSERT INTO "lab"."events"',
        'INSERT INTO "ops"."landings"',
        "COMMIT",
    ]


@pytest.mark.asyncio
async def test_bigquery_tells_its_jobs_by_their_ids(
    tmp_path: Path, bigquery_project: BigQueryProject, caplog: pytest.LogCaptureFixture
) -> None:
    server = bigquery_project.server
    settings = BigQuerySettings(kind="bigquery", project=bigquery_project.name, endpoint=server.rest)
    async with BigQueryWarehouse(settings, stage_folder=tmp_path) as warehouse:
        lab = Lab(warehouse, "bigquery")
        await lab.prepare(EVENTS)
        caplog.set_level(logging.DEBUG, "runner.warehouses")
        assert await lab.rows(EVENTS, "id", filters=(where("binding", SECRET),)) == []

    (record,) = [record for record in caplog.records if "`lab`.`events`" in record.getMessage()]
    assert record.name == "runner.warehouses.bigquery"
    assert record.__dict__["query_id"] in [
        job["jobReference"]["jobId"] for job in bigquery_project.submitted()
    ]
    assert SECRET not in caplog.text
