"""`optimize` as an operation, on DuckDB: which tables, which locks, what is measured, and that no row is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from runner.errors import ConfigurationError, HeldByAnother, UsageError, WarehouseError
from runner.layouts import Digest, require_equal
from runner.locks import FileLock, acquire_all
from runner.operations.optimize import OptimizeOptions, TableOutcome, optimize, survey
from runner.pipeline_runner import PipelineRunner
from runner.pipeline_runner.places import locks_dir
from runner.records import Status
from runner.testing import MemoryWarehouse
from runner.warehouses.duckdb import order
from tests.projects import ThrowAwayProject, extract, not_exists, read, write

COLUMNS = "id int64!, device string, value float64"
ROWS = 500_000
NAME = "lab.readings"
CONTENT = f"SELECT count(*) AS n, sum(hash(t)) AS total FROM {NAME} AS t"
STEPS = """
    def none():
        return []
"""


def make_table(project: ThrowAwayProject, rows: int = ROWS, **layout: Any) -> None:
    """Declare a table that is to be kept in the order of `device`, and fill it in another."""
    project.table(NAME, COLUMNS, key=["id"], **({"cluster_by": ["device", "id"]} | layout))
    project.fill(NAME, [{"id": 0, "device": "d", "value": None}])
    with project.database() as connection:
        connection.execute(
            f"INSERT INTO {NAME} SELECT i, 'd' || (i * 7919 % 1000), i / 2 FROM range(1, {rows}) AS r(i)"
        )


def done(
    project: ThrowAwayProject, name: str | None = NAME, *, dry: bool = False, **options: Any
) -> list[TableOutcome]:
    """Optimize, or say what would be done."""

    async def work() -> list[TableOutcome]:
        async with PipelineRunner.open(project.settings()) as pipelines:
            return await (survey if dry else optimize)(pipelines, name, OptimizeOptions(**options))

    return anyio.run(work)


def kinds(outcomes: list[TableOutcome]) -> dict[str, list[str]]:
    return {str(one.report.table.ref): [change.kind for change in one.changes] for one in outcomes}


# --- order ---


def test_rows_are_put_in_order_once(project: ThrowAwayProject) -> None:
    make_table(project)
    before = project.rows(CONTENT)
    assert kinds(done(project, dry=True)) == {NAME: ["order"]}
    assert kinds(done(project)) == {NAME: ["order"]}
    assert project.rows(CONTENT) == before
    found = [row["device"] for row in project.rows(f"SELECT device FROM {NAME} LIMIT 1000")]
    assert found == sorted(found)
    assert kinds(done(project)) == {NAME: []}


def test_rows_that_came_since_are_no_reason_but_may_be_written_anew(project: ThrowAwayProject) -> None:
    make_table(project)
    done(project)
    with project.database() as connection:
        connection.execute(
            f"INSERT INTO {NAME} SELECT {ROWS} + i, 'd' || (i * 7919 % 1000), 1 FROM range(90000) AS r(i)"
        )
    assert kinds(done(project)) == {NAME: []}
    assert kinds(done(project, rewrite=True)) == {NAME: ["order"]}
    assert project.rows(f"SELECT count(*) AS n FROM {NAME}") == [{"n": ROWS + 90000}]


def test_a_small_table_gains_nothing(project: ThrowAwayProject) -> None:
    make_table(project, rows=1000)
    (outcome,) = done(project)
    assert (outcome.changes, outcome.measurements) == ((), ())
    assert any("one block" in note for note in outcome.report.notes)


def test_few_values_in_order_are_in_order(project: ThrowAwayProject) -> None:
    make_table(project, cluster_by=["device"])
    with project.database() as connection:
        connection.execute(f"UPDATE {NAME} SET device = 'd' || (id % 3)")
    assert kinds(done(project)) == {NAME: ["order"]}
    assert kinds(done(project)) == {NAME: []}


def test_what_hangs_on_the_table_stays(project: ThrowAwayProject) -> None:
    make_table(project)
    with project.database() as connection:
        connection.execute(f"ALTER TABLE {NAME} ADD COLUMN extra VARCHAR DEFAULT 'x'")
        connection.execute(f"COMMENT ON TABLE {NAME} IS 'of somebody'")
        connection.execute(f"CREATE VIEW lab.some AS SELECT * FROM {NAME} WHERE id < 10")
    done(project)
    (found,) = project.rows("SELECT comment, sql FROM duckdb_tables() WHERE table_name = 'readings'")
    assert found["comment"] == "of somebody"
    assert "NOT NULL" in found["sql"]
    assert project.rows("SELECT count(*) AS n, min(extra) AS extra FROM lab.some") == [
        {"n": 10, "extra": "x"}
    ]


def test_a_table_with_a_unique_key_is_left_and_said_so(project: ThrowAwayProject) -> None:
    make_table(project)
    with project.database() as connection:
        connection.execute(f"CREATE UNIQUE INDEX own ON {NAME} (id)")
    (outcome,) = done(project)
    assert outcome.changes == ()
    assert any("unique" in note for note in outcome.report.notes)


def test_a_view_or_a_column_rowid_is_left_and_said_so(project: ThrowAwayProject) -> None:
    project.table("lab.seen", "id int64!, device string", cluster_by=["device"])
    project.table("lab.numbered", "id int64!, device string", cluster_by=["device"])
    with project.database() as connection:
        connection.execute("CREATE SCHEMA lab")
        connection.execute("CREATE VIEW lab.seen AS SELECT 1::BIGINT AS id, 'd' AS device")
        connection.execute(
            "CREATE TABLE lab.numbered AS "
            "SELECT i AS id, 1 AS rowid, 'd' || (i * 7919 % 1000) AS device FROM range(400000) AS r(i)"
        )
    numbered, seen = done(project, None, rewrite=True)
    assert (numbered.changes, seen.changes) == ((), ())
    assert "rowid" in numbered.report.notes[0]
    assert "is a view" in seen.report.notes[0]


def test_what_cannot_be_measured_is_told_and_the_work_is_done(project: ThrowAwayProject) -> None:
    """A read whose other table lacks the key fails in the engine."""
    project_with_jobs(project)
    project.run("other")
    with project.database() as connection:
        connection.execute("ALTER TABLE lab.copies RENAME COLUMN id TO other")
    told: list[str] = []

    async def work() -> list[TableOutcome]:
        async with PipelineRunner.open(project.settings()) as pipelines:
            return await optimize(pipelines, NAME, OptimizeOptions(), told.append)

    (outcome,) = anyio.run(work)
    assert ([change.kind for change in outcome.changes], outcome.measurements) == (["order"], ())
    assert any("copy/read reads could not be measured" in text for text in told)


def test_a_copy_that_differs_changes_nothing(
    project: ThrowAwayProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A digest that never is what it was before."""
    make_table(project)
    before = project.rows(CONTENT)
    monkeypatch.setattr(order, "digest_columns", lambda hashed: "count(*), 0, CAST(random() * 1e9 AS BIGINT)")
    with pytest.raises(WarehouseError, match="nothing was changed"):
        done(project, measures=False)
    assert project.rows(CONTENT) == before


def test_digests_tell_doubles_and_missing_rows() -> None:
    same = Digest(3, 7, 9)
    require_equal("duckdb", same, Digest(3, 7, 9))
    for other in (Digest(2, 7, 9), Digest(3, 8, 9), Digest(3, 7, 8)):
        with pytest.raises(WarehouseError, match="nothing was changed"):
            require_equal("duckdb", same, other)


def test_cancelled_work_leaves_the_table_as_it_was(project: ThrowAwayProject) -> None:
    make_table(project)
    before = project.rows(CONTENT)

    async def work() -> bool:
        begun = anyio.Event()
        with anyio.CancelScope() as scope:
            async with (
                PipelineRunner.open(project.settings()) as pipelines,
                anyio.create_task_group() as group,
            ):
                group.start_soon(cancel, begun, scope)
                await optimize(pipelines, NAME, OptimizeOptions(measures=False), lambda text: begun.set())
        return scope.cancelled_caught

    async def cancel(begun: anyio.Event, scope: anyio.CancelScope) -> None:
        await begun.wait()
        await anyio.sleep(0.05)  # somewhere within the statement
        scope.cancel()

    assert anyio.run(work)
    assert project.rows(CONTENT) == before
    assert kinds(done(project, measures=False)) == {NAME: ["order"]}


# --- which tables ---


def test_all_managed_tables_are_looked_at(project: ThrowAwayProject) -> None:
    make_table(project, rows=10)
    project.table("lab.others", "id int64!")
    project.table("lab.foreign", "id int64!", managed=False)
    outcomes = done(project, None)
    assert [(str(one.report.table.ref), one.report.exists) for one in outcomes] == [
        ("lab.others", False),
        (NAME, True),
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lab.reading", "did you mean 'lab.readings'"),
        ("readings", "no table 'readings' is declared"),
        ("lab.foreign", "managed: false"),
        ("ops.event_log", "belong to the engine"),
    ],
)
def test_other_names_are_refused(project: ThrowAwayProject, name: str, said: str) -> None:
    project.table(NAME, COLUMNS)
    project.table("lab.foreign", "id int64!", managed=False)
    with pytest.raises(UsageError, match=said):
        done(project, name)


def test_nothing_is_done_while_the_project_cannot_be_read(project: ThrowAwayProject) -> None:
    """A job that cannot be read might use the table."""
    make_table(project, rows=10)
    project.job("broken", read("lab.nowhere"), write(NAME))
    with pytest.raises(ConfigurationError, match="declares no table 'nowhere'"):
        done(project)


# --- locks ---


def project_with_jobs(project: ThrowAwayProject) -> None:
    make_table(project)
    project.table("lab.copies", "id int64!, device string", key=["id"])
    project.functions(STEPS)
    project.job("load", extract("none"), write(NAME))
    project.job(
        "copy",
        read(NAME, columns=["id", "device"], incremental=not_exists("lab.copies", "id")),
        write("lab.copies"),
    )
    project.job("count", {"step_id": "sql", "op": "sql", "statement": f"SELECT count(*) AS n FROM {NAME}"})
    project.job("other", read("lab.copies"), write("lab.copies"))


@pytest.mark.parametrize("job", ["load", "copy", "count"])
def test_a_job_that_uses_the_table_holds_it(project: ThrowAwayProject, job: str) -> None:
    project_with_jobs(project)
    before = project.rows("SELECT min(rowid) AS first FROM lab.readings")
    with acquire_all(locks_dir(project.settings()), [f"job.{job}"], "run 01ABC"):
        with pytest.raises(HeldByAnother, match=f"job {job} is held by run 01ABC"):
            done(project)
        assert kinds(done(project, dry=True)) == {NAME: ["order"]}
    assert project.rows("SELECT min(rowid) AS first FROM lab.readings") == before


def test_a_job_that_does_not_use_it_does_not(project: ThrowAwayProject) -> None:
    project_with_jobs(project)
    with acquire_all(locks_dir(project.settings()), ["job.other"], "run 01ABC"):
        assert kinds(done(project, measures=False)) == {NAME: ["order"]}


def test_jobs_are_locked_out_while_it_works_and_not_for_longer(project: ThrowAwayProject) -> None:
    project_with_jobs(project)
    held: list[str] = []

    async def work() -> None:
        async with PipelineRunner.open(project.settings()) as pipelines:
            await optimize(pipelines, NAME, OptimizeOptions(measures=False), note)

    def note(text: str) -> None:
        for job in ("load", "copy", "count", "other"):
            try:
                FileLock(locks_dir(project.settings()) / f"job.{job}.lock").acquire("a test").release()
            except HeldByAnother as error:
                held.append(str(error).partition(" (process")[0])

    anyio.run(work)
    assert held == [f"job {job} is held by optimize {NAME}" for job in ("load", "copy", "count")]
    assert project.run("count").status is Status.SUCCESS


def test_two_of_them_do_not_work_on_one_table(project: ThrowAwayProject) -> None:
    make_table(project)
    with (
        acquire_all(locks_dir(project.settings()), [f"table.{NAME}"], "optimize of somebody"),
        pytest.raises(HeldByAnother, match=rf"table {NAME} is held by optimize of somebody"),
    ):
        done(project)


def test_nothing_to_do_needs_no_lock(project: ThrowAwayProject) -> None:
    project_with_jobs(project)
    done(project, measures=False)
    with acquire_all(locks_dir(project.settings()), ["job.load"], "run 01ABC"):
        assert kinds(done(project)) == {NAME: []}


# --- backups, and what is measured ---


def test_a_backup_is_made_before_and_kept_until_told(project: ThrowAwayProject) -> None:
    make_table(project)
    before = project.rows(CONTENT)
    (outcome,) = done(project, backup=True, measures=False)
    (backup,) = outcome.backups
    assert project.rows(f"SELECT count(*) AS n, sum(hash(t)) AS total FROM {backup.table} AS t") == before
    assert kinds(done(project, backup=True)) == {NAME: []}  # nothing was due: nothing is copied
    (again,) = done(project, prune=True)
    assert [(change.kind, change.subject) for change in again.changes] == [("remove", backup.table.table)]
    assert project.rows("SELECT table_name FROM duckdb_tables() WHERE table_name LIKE '%backup%'") == []


def test_the_projects_own_reads_are_measured(project: ThrowAwayProject) -> None:
    project_with_jobs(project)
    project.run("other")  # makes lab.copies
    (outcome,) = done(project)
    (found,) = outcome.measurements
    assert (found.what, found.runs) == ("the rows that copy/read reads", 3)
    assert found.before_ms > 0
    assert found.ratio == found.after_ms / found.before_ms
    assert found.before_bytes is None


def test_without_such_reads_one_value_is_asked_for(project: ThrowAwayProject) -> None:
    make_table(project)
    (outcome,) = done(project)
    assert [found.what for found in outcome.measurements] == ["rows with one value of device"]


def test_another_warehouse_is_optimized_as_well(project: ThrowAwayProject, tmp_path: Path) -> None:
    project.table(NAME, COLUMNS, key=["id"], cluster_by=["device"])
    project.functions("""
        def some():
            yield from ({"id": n, "device": f"d{n * 7 % 10}", "value": None} for n in range(10))
    """)
    project.job("load", extract("some"), write(NAME))

    async def work() -> list[TableOutcome]:
        async with PipelineRunner.open(project.settings(), warehouse=MemoryWarehouse()) as pipelines:
            await pipelines.run("load")
            return [
                *await optimize(pipelines, None, OptimizeOptions()),
                *await optimize(pipelines, None, OptimizeOptions()),
            ]

    first, second = anyio.run(work)
    assert ([change.kind for change in first.changes], second.changes) == (["order"], ())
