"""Layouts on BigQuery: read back from the service, the old table kept, and whole whatever fails in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from google.cloud import bigquery

from runner.ddl import plan_changes
from runner.errors import ConfigurationError, WarehouseError, WarehouseUnavailable, WriteConflict
from runner.ports import Backup, LayoutReport
from runner.retry import Backoff
from runner.settings import BigQuerySettings
from runner.specs import TableRef, TableSpec
from runner.sql import BIGQUERY
from runner.warehouses.bigquery import BigQueryWarehouse
from tests.servers.bigquery import AnswerFault, BigQueryProject, JobFault
from tests.warehouse_lab import Lab, table

STAMP = datetime(2026, 2, 12, 6, tzinfo=UTC)
BACKUP = TableRef("lab", "readings__backup_20260212t060000")
PLAIN = table(
    "readings", id="int64!", device="string", at="timestamp", value="float64", raw="json", day="date"
)
BY_DAY = {"partition_by": {"column": "at"}, "cluster_by": ["device", "id"]}
ROWS = 40

pytestmark = pytest.mark.asyncio


def declared(layout: dict[str, Any]) -> TableSpec:
    return TableSpec.model_validate(PLAIN.model_dump() | layout)


@asynccontextmanager
async def opened(project: BigQueryProject, folder: Path) -> AsyncIterator[Lab]:
    """Open a warehouse with the table, filled, without any layout, and with a column that nobody declared."""
    settings = BigQuerySettings(kind="bigquery", project=project.name, endpoint=project.server.rest)
    async with BigQueryWarehouse(settings, stage_folder=folder, backoff=Backoff(0.01, 0.05)) as warehouse:
        lab = Lab(warehouse, "bigquery")
        await warehouse.apply(plan_changes([PLAIN], {}, BIGQUERY))
        project.query("ALTER TABLE lab.readings ADD COLUMN extra STRING")
        project.query(
            "INSERT INTO lab.readings (id, device, at, value, raw, day, extra) "
            "SELECT n, 'd', TIMESTAMP '2026-01-01 00:00:00Z', 0.5, JSON '{\"a\": 1}', DATE '2026-01-01', 'x' "
            f"FROM UNNEST(GENERATE_ARRAY(1, {ROWS})) AS n"
        )
        yield lab


async def brought_there(
    lab: Lab, spec: TableSpec, *, rewrite: bool = False
) -> tuple[LayoutReport, list[Backup]]:
    layouts = lab.warehouse.layouts
    report = await layouts.report(spec, rewrite=rewrite)
    kept = [await layouts.change(change, STAMP) for change in report.changes]
    return report, [backup for backup in kept if backup]


def layout(project: BigQueryProject, ref: TableRef = PLAIN.ref) -> tuple[Any, ...]:
    """Return partitioning and clustering as the service tells them."""
    with project.client() as client:
        found = client.get_table(str(ref))
    by = found.time_partitioning
    return (by.type_, by.field) if by else None, found.clustering_fields


def rows(project: BigQueryProject, ref: TableRef = PLAIN.ref) -> list[tuple[Any, ...]]:
    return project.query(
        f"SELECT id, device, at, value, TO_JSON_STRING(raw), day, extra FROM {ref} ORDER BY id"
    )


def tables(project: BigQueryProject) -> list[str]:
    with project.client() as client:
        return [item.table_id for item in client.list_tables("lab")]


def jobs_since(project: BigQueryProject) -> list[str]:
    """Return the SQL that clients have sent since the notes were begun anew."""
    return [job["configuration"].get("query", {}).get("query", "") for job in project.submitted()]


async def test_a_table_is_partitioned_by_another_that_takes_its_place(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    async with opened(bigquery_project, tmp_path) as lab:
        before = rows(bigquery_project)
        with bigquery_project.client() as client:
            found = client.get_table(str(PLAIN.ref))
            found.description, found.labels = "of somebody", {"team": "lab"}
            client.update_table(found, ["description", "labels"])
        _, (backup,) = await brought_there(lab, declared(BY_DAY))
        assert layout(bigquery_project) == (("DAY", "at"), ["device", "id"])
        assert rows(bigquery_project) == before
        assert (backup.table, layout(bigquery_project, BACKUP)) == (BACKUP, (None, None))
        assert rows(bigquery_project, BACKUP) == before
        with bigquery_project.client() as client:
            made = client.get_table(str(PLAIN.ref))
        modes = {field.name: field.mode for field in made.schema}
        assert (modes["id"], modes["extra"]) == ("REQUIRED", "NULLABLE")
        assert (made.description, made.labels) == ("of somebody", {"team": "lab"})
        report = await lab.warehouse.layouts.report(declared(BY_DAY))
        assert (report.changes, [change.subject for change in report.spare]) == ((), [BACKUP.table])


@pytest.mark.parametrize(
    ("by", "told"),
    [
        ({"column": "day", "unit": "month"}, ("MONTH", "day")),
        ({"column": "at", "unit": "hour"}, ("HOUR", "at")),
    ],
)
async def test_every_unit_is_told_as_it_was_declared(
    bigquery_project: BigQueryProject, tmp_path: Path, by: dict[str, str], told: tuple[str, str]
) -> None:
    async with opened(bigquery_project, tmp_path) as lab:
        spec = declared({"partition_by": by})
        await brought_there(lab, spec)
        assert layout(bigquery_project) == (told, None)
        assert (await lab.warehouse.layouts.report(spec)).changes == ()


async def test_looking_sends_no_job(bigquery_project: BigQueryProject, tmp_path: Path) -> None:
    async with opened(bigquery_project, tmp_path) as lab:
        bigquery_project.forget_requests()
        await lab.warehouse.layouts.report(declared(BY_DAY), rewrite=True)
        assert {request["method"] for request in bigquery_project.requests()} == {"GET"}


async def test_clustering_is_changed_in_place_and_says_that_old_rows_stay(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    async with opened(bigquery_project, tmp_path) as lab:
        spec = declared({"cluster_by": ["device"]})
        bigquery_project.forget_requests()
        report, kept = await brought_there(lab, spec)
        assert ([change.kind for change in report.changes], kept) == (["cluster"], [])
        assert any("--rewrite" in note for note in report.notes)
        assert jobs_since(bigquery_project) == []
        (sent,) = [one for one in bigquery_project.requests() if one["method"] == "PATCH"]
        assert {name.lower(): value for name, value in sent["headers"].items()}["if-match"]
        assert layout(bigquery_project) == (None, ["device"])


async def test_rewriting_updates_every_row(bigquery_project: BigQueryProject, tmp_path: Path) -> None:
    async with opened(bigquery_project, tmp_path) as lab:
        before = rows(bigquery_project)
        bigquery_project.forget_requests()
        report, _ = await brought_there(lab, declared({"cluster_by": ["device"]}), rewrite=True)
        assert [change.kind for change in report.changes] == ["cluster", "order"]
        assert not any("--rewrite" in note for note in report.notes)
        assert [sql for sql in jobs_since(bigquery_project) if sql.startswith("UPDATE")] == [
            "UPDATE `lab`.`readings` SET `id` = `id` WHERE true"
        ]
        assert rows(bigquery_project) == before


async def test_a_layout_that_nobody_declared_is_left(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    async with opened(bigquery_project, tmp_path) as lab:
        await brought_there(lab, declared(BY_DAY))
        report = await lab.warehouse.layouts.report(PLAIN)
        assert report.changes == ()
        assert [note.partition(", which")[0] for note in report.notes] == [
            "partitioned by DAY of at",
            "clustered by device, id",
        ]


async def test_what_bigquery_would_refuse_is_refused_first(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    async with opened(bigquery_project, tmp_path) as lab:
        bigquery_project.forget_requests()
        with pytest.raises(ConfigurationError, match="cannot be clustered by raw, which is json"):
            await lab.warehouse.layouts.report(declared({"cluster_by": ["raw"]}))
        assert bigquery_project.requests() == []


# --- what fails in between ---


async def test_a_change_by_somebody_else_is_a_conflict(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    async with opened(bigquery_project, tmp_path) as lab:
        bigquery_project.fail(AnswerFault(status=412, reason="conditionNotMet", method="PATCH"))
        with pytest.raises(WriteConflict, match="changed meanwhile"):
            await brought_there(lab, declared({"cluster_by": ["device"]}))
        assert layout(bigquery_project) == (None, None)


async def test_a_lost_answer_to_the_change_is_looked_up(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    async with opened(bigquery_project, tmp_path) as lab:
        bigquery_project.fail(AnswerFault(status=503, method="PATCH", after=True))
        await brought_there(lab, declared({"cluster_by": ["device"]}))
        assert bigquery_project.met() == [1]
        assert layout(bigquery_project) == (None, ["device"])


@pytest.mark.parametrize(
    "contains",
    [
        pytest.param("INSERT INTO", marks=pytest.mark.chaos),
        pytest.param("bit_xor", marks=pytest.mark.chaos),
        "RENAME TO",
    ],
)
async def test_a_statement_that_fails_leaves_the_table_and_the_next_optimize_begins_anew(
    bigquery_project: BigQueryProject, tmp_path: Path, contains: str
) -> None:
    async with opened(bigquery_project, tmp_path) as lab:
        before, spec = rows(bigquery_project), declared(BY_DAY)
        bigquery_project.fail(JobFault(reason="backendError", contains=contains, times=None))
        with pytest.raises(WarehouseUnavailable):
            await brought_there(lab, spec)
        bigquery_project.heal()
        assert (rows(bigquery_project), layout(bigquery_project)) == (before, (None, None))
        report, _ = await brought_there(lab, spec)
        assert [change.kind for change in report.changes] == ["remove", "partition"]
        assert tables(bigquery_project) == ["readings", BACKUP.table]
        assert rows(bigquery_project) == before


async def test_a_table_that_was_written_to_meanwhile_is_not_exchanged(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    async with opened(bigquery_project, tmp_path) as lab:
        bigquery_project.fail(JobFault(contains="bit_xor", delay=1.5))
        async with anyio.create_task_group() as group:
            group.start_soon(_written_to, bigquery_project)
            with pytest.raises(WarehouseError, match=r"41 and 40 rows.*nothing was changed"):
                await brought_there(lab, declared(BY_DAY))
        assert layout(bigquery_project) == (None, None)
        assert len(rows(bigquery_project)) == ROWS + 1


async def test_rows_that_would_expire_in_the_new_table_are_not_moved_there(
    bigquery_project: BigQueryProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dataset may give new tables partitions that expire, which the emulator does not do."""
    create = bigquery.Client.create_table

    def with_expiration(client: bigquery.Client, table: bigquery.Table, **more: Any) -> bigquery.Table:
        made = create(client, table, **more)
        made.time_partitioning = bigquery.TimePartitioning(field="at", expiration_ms=60 * 86_400_000)
        return made

    monkeypatch.setattr(bigquery.Client, "create_table", with_expiration)
    async with opened(bigquery_project, tmp_path) as lab:
        before = rows(bigquery_project)
        with pytest.raises(
            WarehouseError, match=r"removed 60d after their time.*default_partition_expiration"
        ):
            await brought_there(lab, declared(BY_DAY))
        assert (tables(bigquery_project), rows(bigquery_project)) == (["readings"], before)


async def _written_to(project: BigQueryProject) -> None:
    """Insert a row as soon as the new table is being compared."""

    def write() -> None:
        while not any("bit_xor" in sql for sql in jobs_since(project)):
            pass
        project.query("INSERT INTO lab.readings (id) VALUES (1000)")

    await anyio.to_thread.run_sync(write)


def half_exchanged(project: BigQueryProject, made: str = "readings__optimized") -> None:
    """Bring the tables to where an exchange has stopped between its renames."""
    project.query(
        f"CREATE TABLE lab.{made} PARTITION BY TIMESTAMP_TRUNC(at, DAY) CLUSTER BY device, id "
        "AS SELECT * FROM lab.readings"
    )
    project.query(f"ALTER TABLE lab.readings RENAME TO {BACKUP.table}")


async def test_a_half_done_exchange_is_finished_by_the_next_optimize(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    async with opened(bigquery_project, tmp_path) as lab:
        before = rows(bigquery_project)
        half_exchanged(bigquery_project)
        report, _ = await brought_there(lab, declared(BY_DAY))
        assert ([change.kind for change in report.changes], report.exists) == (["finish"], True)
        assert tables(bigquery_project) == ["readings", BACKUP.table]
        assert (rows(bigquery_project), layout(bigquery_project)[0]) == (before, ("DAY", "at"))
        assert (await lab.warehouse.layouts.report(declared(BY_DAY))).changes == ()


async def test_a_half_done_exchange_is_finished_by_a_run_before_it_would_make_the_table(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    async with opened(bigquery_project, tmp_path) as lab:
        before = rows(bigquery_project)
        half_exchanged(bigquery_project)
        spec = declared(BY_DAY)
        shapes = await lab.warehouse.inspect([spec.ref])
        await lab.warehouse.apply(plan_changes([spec], shapes, BIGQUERY))
        assert rows(bigquery_project) == before
        assert tables(bigquery_project) == ["readings", BACKUP.table]


async def test_a_table_that_is_still_being_filled_takes_no_place(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    """Somebody has dropped the table while an old backup and an unfinished new table are there."""
    async with opened(bigquery_project, tmp_path) as lab:
        half_exchanged(bigquery_project, made="readings__optimize")
        report = await lab.warehouse.layouts.report(declared(BY_DAY))
        assert (report.exists, report.changes) == (False, ())
        spec = declared(BY_DAY)
        await lab.warehouse.apply(plan_changes([spec], {}, BIGQUERY))
        assert bigquery_project.query("SELECT COUNT(*) FROM lab.readings") == [(0,)]


async def test_a_view_is_left(bigquery_project: BigQueryProject, tmp_path: Path) -> None:
    async with opened(bigquery_project, tmp_path) as lab:
        bigquery_project.query("CREATE VIEW lab.seen AS SELECT id, device FROM lab.readings")
        spec = declared({"cluster_by": ["device"]}).model_copy(update={"table": "seen"})
        report = await lab.warehouse.layouts.report(spec)
        assert (report.exists, report.changes, report.notes) == (True, (), ("is a view: nothing is changed",))


@pytest.mark.parametrize(("label", "cancelled"), [("fill", True), ("swap", False)])
async def test_what_a_killed_optimize_left_running_is_ended_or_waited_for(
    bigquery_project: BigQueryProject, tmp_path: Path, label: str, cancelled: bool
) -> None:
    async with opened(bigquery_project, tmp_path) as lab:
        seconds = 60 if cancelled else 1
        bigquery_project.fail(JobFault(contains="SELECT 42", delay=seconds))
        job = _left_running(bigquery_project, label)
        with anyio.fail_after(20):
            await lab.warehouse.layouts.settle(PLAIN)
        (found,) = [one for one in bigquery_project.jobs("done") if one["jobReference"]["jobId"] == job]
        assert ("errorResult" in found["status"]) == cancelled


async def test_who_may_not_list_jobs_may_optimize(bigquery_project: BigQueryProject, tmp_path: Path) -> None:
    async with opened(bigquery_project, tmp_path) as lab:
        path = f"/projects/{bigquery_project.name}/jobs?"
        bigquery_project.fail(
            AnswerFault(status=403, reason="accessDenied", method="GET", contains=path, times=None)
        )
        await lab.warehouse.layouts.settle(PLAIN)
        assert bigquery_project.met() == [1]


def _left_running(project: BigQueryProject, label: str) -> str:
    from google.cloud import bigquery

    config = bigquery.QueryJobConfig(labels={"layout": label, "table": "lab-readings"})
    with project.client() as client:
        return str(client.query("SELECT 42", job_config=config).job_id)


async def test_cancelled_work_leaves_the_table_and_nothing_running(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    async with opened(bigquery_project, tmp_path) as lab:
        before, spec = rows(bigquery_project), declared(BY_DAY)
        bigquery_project.fail(JobFault(contains="INSERT INTO `lab`.`readings__optimize`", delay=60))
        with anyio.move_on_after(1) as scope:
            await brought_there(lab, spec)
        assert scope.cancelled_caught
        assert bigquery_project.running() == []
        assert (rows(bigquery_project), layout(bigquery_project)) == (before, (None, None))
        bigquery_project.heal()
        await brought_there(lab, spec)
        assert layout(bigquery_project)[0] == ("DAY", "at")


async def test_an_exchange_is_not_cancelled_between_its_renames(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    async with opened(bigquery_project, tmp_path) as lab:
        before = rows(bigquery_project)
        (change,) = (await lab.warehouse.layouts.report(declared(BY_DAY))).changes
        bigquery_project.fail(JobFault(contains="RENAME TO", delay=2))
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(_cancelled_at_the_swap, bigquery_project, scope)
                await lab.warehouse.layouts.change(change, STAMP)
        assert scope.cancel_called
        assert (rows(bigquery_project), layout(bigquery_project)[0]) == (before, ("DAY", "at"))


async def _cancelled_at_the_swap(project: BigQueryProject, scope: anyio.CancelScope) -> None:
    def wait() -> None:
        while not any("RENAME TO" in sql for sql in jobs_since(project)):
            pass

    await anyio.to_thread.run_sync(wait)
    scope.cancel()
