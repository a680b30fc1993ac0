"""Indexes on PostgreSQL: the planner takes them, they are recognised, and what was interrupted is built again."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import psycopg
import pytest
from pydantic import SecretStr

from runner.errors import HeldByAnother, WarehouseError
from runner.ports import LayoutReport
from runner.settings import PostgresSettings
from runner.specs import TableSpec
from runner.warehouses.postgres import PostgresWarehouse, layouts
from tests.chaos.kill_optimize import write_project
from tests.cli.demo_project import environment
from tests.engines import PostgresEngine
from tests.servers.postgres import PostgresDatabase
from tests.waiting import until
from tests.warehouse_lab import Lab, table

STAMP = datetime(2026, 2, 12, 6, tzinfo=UTC)
PLAIN = table("readings", id="int64!", device="string", at="timestamp", value="float64")
PARTIAL = {"columns": ["device"], "where": "value IS NULL", "include": ["at"]}
FILL = """
INSERT INTO lab.readings SELECT n, 'd' || n % 500, timestamptz '2026-01-01Z' + n * interval '1 second',
  CASE WHEN n % 50 = 0 THEN NULL ELSE n / 2.0 END
FROM generate_series(1, 20000) AS n
"""
ASKED = "SELECT device, at FROM lab.readings WHERE value IS NULL AND device = 'd50'"

pytestmark = pytest.mark.asyncio


def declared(*indexes: dict[str, Any], **more: Any) -> TableSpec:
    return TableSpec.model_validate(PLAIN.model_dump() | {"indexes": indexes} | more)


@asynccontextmanager
async def opened(database: PostgresDatabase, folder: Path) -> AsyncIterator[Lab]:
    """Open a warehouse with the table, filled, without any index."""
    settings = PostgresSettings(kind="postgres", dsn=SecretStr(database.uri))
    async with PostgresWarehouse(settings, stage_folder=folder) as warehouse:
        lab = Lab(warehouse, "postgres")
        await lab.prepare(PLAIN)
        database.fetch(FILL)
        yield lab


async def brought_there(lab: Lab, spec: TableSpec) -> LayoutReport:
    report = await lab.warehouse.layouts.report(spec)
    for change in report.changes:
        await lab.warehouse.layouts.change(change, STAMP)
    return report


def plan(database: PostgresDatabase) -> str:
    return "\n".join(line for (line,) in database.fetch(f"EXPLAIN {ASKED}"))


def indexes(database: PostgresDatabase) -> list[tuple[str, bool]]:
    return database.fetch(
        "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "WHERE i.indrelid = 'lab.readings'::regclass ORDER BY 1"
    )


@pytest.mark.parametrize("postgres_server", [15, 18], indirect=True)
async def test_the_planner_takes_the_partial_index(
    postgres_database: PostgresDatabase, tmp_path: Path
) -> None:
    async with opened(postgres_database, tmp_path) as lab:
        assert "Seq Scan on readings" in plan(postgres_database)
        (change,) = (await brought_there(lab, declared(PARTIAL))).changes
        after = plan(postgres_database)
        assert change.subject in after
        assert "Seq Scan" not in after
        assert indexes(postgres_database) == [(change.subject, True)]
        assert (await lab.warehouse.layouts.report(declared(PARTIAL))).changes == ()
        # Analysed: the planner's figures are those of the table.
        (figures,) = postgres_database.fetch("SELECT reltuples FROM pg_class WHERE relname = 'readings'")
        assert figures == (20000,)


@pytest.mark.parametrize(
    "text",
    [
        "CREATE INDEX own ON lab.readings (device) INCLUDE (at) WHERE value IS NULL",
        'CREATE INDEX "Own USING x" ON lab.readings (device) INCLUDE (at) WITH (fillfactor = 70) WHERE value IS NULL',
    ],
)
async def test_an_index_is_recognised_whatever_its_name(
    postgres_database: PostgresDatabase, tmp_path: Path, text: str
) -> None:
    async with opened(postgres_database, tmp_path) as lab:
        postgres_database.fetch(text)
        assert (await lab.warehouse.layouts.report(declared(PARTIAL))).changes == ()


async def test_a_unique_index_serves_as_well(postgres_database: PostgresDatabase, tmp_path: Path) -> None:
    async with opened(postgres_database, tmp_path) as lab:
        postgres_database.fetch("CREATE UNIQUE INDEX own ON lab.readings (id)")
        assert (await lab.warehouse.layouts.report(declared({"columns": ["id"]}))).changes == ()


@pytest.mark.parametrize(
    "text",
    [
        "CREATE INDEX own ON lab.readings (device) WHERE value IS NULL",
        "CREATE INDEX own ON lab.readings (device) INCLUDE (at) WHERE value IS NOT NULL",
        "CREATE INDEX own ON lab.readings (device DESC) INCLUDE (at) WHERE value IS NULL",
        "CREATE INDEX own ON lab.readings USING hash (device) WHERE value IS NULL",
    ],
)
async def test_another_index_is_none(postgres_database: PostgresDatabase, tmp_path: Path, text: str) -> None:
    async with opened(postgres_database, tmp_path) as lab:
        postgres_database.fetch(text)
        report = await lab.warehouse.layouts.report(declared(PARTIAL))
        assert ([change.kind for change in report.changes], report.spare) == (["index"], ())


async def test_looking_sends_nothing_that_stays(postgres_database: PostgresDatabase, tmp_path: Path) -> None:
    async with opened(postgres_database, tmp_path) as lab:
        tables = "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'i')"
        before = postgres_database.fetch(tables)
        await lab.warehouse.layouts.report(declared(PARTIAL, {"columns": ["at"]}))
        assert postgres_database.fetch(tables) == before
        assert postgres_database.statements()[-1] == "ROLLBACK"


async def test_only_what_was_made_here_is_removed_and_only_when_asked(
    postgres_database: PostgresDatabase, tmp_path: Path
) -> None:
    async with opened(postgres_database, tmp_path) as lab:
        postgres_database.fetch("CREATE INDEX own ON lab.readings (at)")
        (made,) = (await brought_there(lab, declared(PARTIAL))).changes
        report = await lab.warehouse.layouts.report(declared())
        assert report.changes == ()
        assert [change.subject for change in report.spare] == [made.subject]
        await lab.warehouse.layouts.change(report.spare[0], STAMP)
        assert indexes(postgres_database) == [("own", True)]


async def test_a_condition_that_the_server_refuses_is_told_and_changes_nothing(
    postgres_database: PostgresDatabase, tmp_path: Path
) -> None:
    spec = declared({"columns": ["device"], "where": "at < now()"})
    async with opened(postgres_database, tmp_path) as lab:
        with pytest.raises(WarehouseError, match="IMMUTABLE"):
            await lab.warehouse.layouts.report(spec)
        assert indexes(postgres_database) == []


async def test_a_build_that_was_killed_is_done_again(
    postgres_database: PostgresDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open transaction holds the build up, so that the kill comes in its middle for certain."""
    project = tmp_path / "project"
    write_project(project, PostgresEngine(postgres_database).warehouse, {"indexes": [PARTIAL]})
    async with opened(postgres_database, tmp_path) as lab:
        spec = declared(PARTIAL)
        with postgres_database.connect() as reader:
            reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            reader.execute("SELECT count(*) FROM lab.readings")
            with started(project) as process:
                until(lambda: [valid for _, valid in indexes(postgres_database)] == [False])
                monkeypatch.setattr(layouts, "PATIENCE", 0.0)
                with pytest.raises(HeldByAnother, match=r"layout of table lab\.readings.*backend"):
                    await lab.warehouse.layouts.settle(spec)
                monkeypatch.undo()
                process.send_signal(signal.SIGKILL)
                until(lambda: not postgres_database.running())
        await lab.warehouse.layouts.settle(spec)
        ((name, valid),) = indexes(postgres_database)
        report = await brought_there(lab, spec)
        assert not valid
        assert [(change.subject, change.why) for change in report.changes] == [
            (name, "its building was interrupted")
        ]
        assert indexes(postgres_database) == [(name, True)]


async def test_an_unfinished_index_that_is_not_needed_goes(
    postgres_database: PostgresDatabase, tmp_path: Path
) -> None:
    async with opened(postgres_database, tmp_path) as lab:
        postgres_database.fetch("INSERT INTO lab.readings VALUES (1, 'd1', NULL, NULL)")
        for name in ("readings_id_rp_00c0ffee", "somebodys"):
            with pytest.raises(psycopg.errors.UniqueViolation):
                postgres_database.fetch(f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON lab.readings (id)")
        report = await brought_there(lab, declared())
        assert [change.subject for change in report.changes] == ["readings_id_rp_00c0ffee"]
        assert any("somebodys" in note for note in report.notes)
        assert indexes(postgres_database) == [("somebodys", False)]


async def test_cancelled_work_holds_nothing_and_is_done_again(
    postgres_database: PostgresDatabase, tmp_path: Path
) -> None:
    async with opened(postgres_database, tmp_path) as lab:
        spec = declared(PARTIAL)
        (change,) = (await lab.warehouse.layouts.report(spec)).changes
        with postgres_database.connect() as reader:
            reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            reader.execute("SELECT count(*) FROM lab.readings")
            with anyio.move_on_after(1) as scope:
                await lab.warehouse.layouts.change(change, STAMP)
        assert scope.cancelled_caught
        assert postgres_database.running() == []
        assert indexes(postgres_database) == [(change.subject, False)]
        await lab.warehouse.layouts.settle(spec)
        await brought_there(lab, spec)
        assert indexes(postgres_database) == [(change.subject, True)]


@pytest.mark.parametrize(
    "text",
    [
        "CREATE VIEW lab.seen AS SELECT * FROM lab.readings",
        "CREATE TABLE lab.seen (id bigint, device text, at timestamptz, value float8) PARTITION BY HASH (id)",
    ],
)
async def test_what_is_no_plain_table_is_left(
    postgres_database: PostgresDatabase, tmp_path: Path, text: str
) -> None:
    async with opened(postgres_database, tmp_path) as lab:
        postgres_database.fetch(text)
        report = await lab.warehouse.layouts.report(declared(PARTIAL).model_copy(update={"table": "seen"}))
        assert (report.exists, report.changes) == (True, ())
        assert "no plain table" in report.notes[0]


async def test_a_backup_goes_also_when_its_table_has_gone(
    postgres_database: PostgresDatabase, tmp_path: Path
) -> None:
    async with opened(postgres_database, tmp_path) as lab:
        await lab.warehouse.layouts.back_up(PLAIN, STAMP)
        postgres_database.fetch("DROP TABLE lab.readings")
        report = await lab.warehouse.layouts.report(PLAIN)
        assert (report.exists, len(report.spare)) == (False, 1)
        await lab.warehouse.layouts.change(report.spare[0], STAMP)
        assert (await lab.warehouse.layouts.report(PLAIN)).spare == ()


def started(project: Path) -> subprocess.Popen[bytes]:
    """Start an optimize of the whole project."""
    words = [sys.executable, "-P", "-m", "runner", "--project", str(project), "optimize", "--no-measure"]
    return subprocess.Popen(words, env=environment({}), stderr=subprocess.DEVNULL)
