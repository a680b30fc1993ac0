"""`sql` steps in whole runs: queries that stream on, and statements that land with the job's rows, or not at all."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from runner.errors import ConfigurationError
from runner.events import Event, Landed
from runner.operations.plan import JobOutline, counted_outline
from runner.pipeline_runner import PipelineRunner
from runner.ports import Release
from runner.records import RunRecord, Status
from runner.settings import DuckDBSettings
from runner.specs import Filter
from runner.testing import MemoryWarehouse
from tests.projects import (
    FAST,
    REPOSITORY,
    Step,
    ThrowAwayProject,
    call,
    job_of,
    not_exists,
    read,
    step_of,
    write,
)

ADD_UP = """
INSERT INTO out.totals (customer, amount, orders)
SELECT customer, sum(amount), count(*) FROM out.orders WHERE amount >= :least GROUP BY customer
"""
ORDERS = [{"id": f"o{n}", "customer": "ab"[n % 2], "amount": n} for n in range(10)]


@pytest.fixture
def shop(project: ThrowAwayProject) -> ThrowAwayProject:
    project.table("src.orders", "id string!, customer string, amount int64", key=["id"])
    project.table("out.orders", "id string!, customer string, amount int64", key=["id"])
    project.table("out.totals", "customer string, amount int64, orders int64")
    project.table("out.log", "at timestamp, text string")
    project.fill("src.orders", ORDERS)
    return project


def sql(statement: str, *, step_id: str = "sql", **more: Any) -> Step:
    return {"step_id": step_id, "op": "sql", "statement": statement, **more}


def ran(project: ThrowAwayProject, name: str = "job", **options: Any) -> RunRecord:
    return job_of(project.run(name, **options))


# --- queries ---------------------------------------------------------------------------------------------


def test_a_query_streams_into_the_next_step(shop: ThrowAwayProject) -> None:
    shop.job(
        "job",
        sql("SELECT id, customer, amount * :factor AS amount FROM src.orders WHERE amount > :least",
            params={"factor": 10, "least": 5}),
        write("out.orders"),
    )  # fmt: skip
    record = ran(shop)
    assert record.status is Status.SUCCESS, record.errors
    assert (record.rows_read, record.rows_written) == (4, 4)
    assert (step_of(record, "sql").rows_out, step_of(record, "sql").rows_written) == (4, None)
    assert shop.rows("SELECT sum(amount)::BIGINT AS s FROM out.orders") == [{"s": 300}]


def test_rows_of_a_query_reach_functions_as_python_values(shop: ThrowAwayProject) -> None:
    shop.functions(
        """
        seen = []

        def keep(row):
            seen.append(row)
            return {"at": row["at"], "text": f"{row['n']}"}
        """
    )
    shop.job(
        "job",
        sql("SELECT :as_of AS at, sum(amount) AS n, 1.5 AS f FROM src.orders"),
        call("keep"),
        write("out.log", mode="append"),
    )
    record = ran(shop)
    assert record.status is Status.SUCCESS, record.errors
    (row,) = shop.module().seen
    assert (row["n"], type(row["n"]), float(row["f"])) == (45, int, 1.5)
    assert row["at"].tzinfo is not None


def test_a_query_cannot_write(shop: ThrowAwayProject) -> None:
    with shop.database() as connection:
        connection.execute("CREATE SEQUENCE src.numbers")
    shop.job("job", sql("SELECT nextval('src.numbers') AS n"))
    record = ran(shop)
    assert "read-only" in record.errors[0].message


def test_two_columns_of_one_name_are_told(shop: ThrowAwayProject) -> None:
    shop.job("job", sql("SELECT a.id, b.id FROM src.orders AS a JOIN src.orders AS b USING (customer)"))
    (error,) = ran(shop).errors
    assert "two columns of the result are named 'id'" in error.message


def test_values_are_bound_whatever_they_hold(shop: ThrowAwayProject) -> None:
    text = "'); DELETE FROM src.orders; -- \" :least $least"
    shop.job(
        "job",
        sql("SELECT :text AS text, :as_of AS at", params={"text": text}),
        write("out.log", mode="append"),
    )
    assert ran(shop).status is Status.SUCCESS
    assert shop.rows("SELECT text FROM out.log") == [{"text": text}]
    assert len(shop.rows("FROM src.orders")) == 10


def test_parameters_of_the_job_and_its_logical_time_are_values(shop: ThrowAwayProject) -> None:
    shop.job(
        "job",
        sql(
            "SELECT id, customer, amount FROM src.orders WHERE customer = :who",
            params={"who": {"param": "who"}},
        ),
        write("out.orders"),
        sql("INSERT INTO out.log VALUES (:as_of, :who)", step_id="note", params={"who": {"param": "who"}},
            writes=["out.log"]),
        params={"who": {"type": "string"}},
    )  # fmt: skip
    moment = datetime(2026, 2, 12, 6, tzinfo=UTC)

    async def run() -> None:
        async with PipelineRunner.open(shop.settings()) as pipelines:
            (await pipelines.run("job", params={"who": "a"}, as_of=moment)).raise_for_status()

    anyio.run(run)
    assert shop.rows("FROM out.log") == [{"at": moment, "text": "a"}]
    assert shop.rows("SELECT count(*) AS n FROM out.orders") == [{"n": 5}]


def test_an_error_names_step_file_and_line(shop: ThrowAwayProject) -> None:
    (shop.root / "sql").mkdir()
    (shop.root / "sql" / "orders.sql").write_text("-- all of them\nSELECT id,\n  colour\nFROM src.orders\n")
    shop.job("job", {"step_id": "ask", "op": "sql", "file": "sql/orders.sql"}, write("out.orders"))
    record = ran(shop)
    (error,) = record.errors
    assert error.step_id == "ask"
    assert error.message.startswith(
        'sql/orders.sql:3: duckdb: Binder Error: Referenced column "colour" not found'
    )
    assert step_of(record, "ask").status is Status.FAILURE
    assert step_of(record, "write").status is Status.SKIPPED


@pytest.mark.slow
def test_a_million_rows_stream_in_bounded_memory(shop: ThrowAwayProject) -> None:
    shop.functions(
        """
        import resource

        def peak_kb():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        def none(batch: "pa.RecordBatch") -> "pa.RecordBatch":
            import sys
            sys.modules[__name__].peaks.append(peak_kb())
            return batch.slice(0, 0)

        peaks = []

        import pyarrow as pa
        """
    )
    wide = "SELECT range AS id, repeat(md5(range::VARCHAR), 4) AS text FROM range(:rows)"
    shop.job("job", sql(wide, params={"rows": 1_000_000}), call("none"))
    record = ran(shop)
    assert record.status is Status.SUCCESS, record.errors
    assert record.rows_read == 1_000_000
    peaks = shop.module().peaks
    assert peaks[-1] - peaks[2] < 60_000, "kB; the rows are 150 MB"


# --- statements that land --------------------------------------------------------------------------------


def adding(shop: ThrowAwayProject, **more: Any) -> None:
    shop.job(
        "job",
        read("src.orders", incremental=not_exists("out.orders", "id")),
        write("out.orders"),
        sql(ADD_UP, step_id="add_up", params={"least": 1}, writes=["out.totals"]),
        **more,
    )


def test_a_statement_sees_the_rows_of_the_writes_before_it(shop: ThrowAwayProject) -> None:
    adding(shop)
    landed: list[Event] = []
    record = ran(shop, on_event=lambda event: landed.append(event) if isinstance(event, Landed) else None)
    assert record.status is Status.SUCCESS, record.errors
    assert shop.rows("FROM out.totals ORDER BY customer") == [
        {"customer": "a", "amount": 20, "orders": 4},
        {"customer": "b", "amount": 25, "orders": 5},
    ]
    assert (record.rows_read, record.rows_written) == (10, 12)
    assert step_of(record, "add_up").rows_written == 2
    assert [event.rows for event in landed if isinstance(event, Landed)] == [
        {"out.orders": 10, "out.totals": 2}
    ]
    assert shop.rows('SELECT "rows" FROM ops.landings') == [{"rows": 12}]


def test_a_statement_runs_also_when_nothing_was_read(shop: ThrowAwayProject) -> None:
    adding(shop)
    ran(shop)
    record = ran(shop)
    assert (record.status, record.rows_read, record.rows_written) == (Status.SUCCESS, 0, 2)
    assert step_of(record, "write").status is Status.SKIPPED
    assert step_of(record, "add_up").status is Status.SUCCESS
    assert len(shop.rows("FROM out.totals")) == 4
    assert len(shop.rows("FROM ops.landings")) == 2


def test_a_statement_stands_between_the_writes_around_it(shop: ThrowAwayProject) -> None:
    shop.job(
        "job",
        sql("DELETE FROM out.orders", step_id="empty", writes=["out.orders"]),
        read("src.orders"),
        write("out.orders", mode="append"),
        sql("UPDATE out.orders SET amount = 0 WHERE amount < 5", step_id="zero", writes=["out.orders"]),
        read("src.orders", step_id="again", filters={"customer": "a"}),
        write("out.orders", step_id="append", mode="append"),
    )
    assert ran(shop).status is Status.SUCCESS
    record = ran(shop)
    assert record.status is Status.SUCCESS, record.errors
    counts = shop.rows("SELECT count(*) AS n, count(*) FILTER (amount = 0) AS zero FROM out.orders")
    assert counts == [{"n": 15, "zero": 6}]
    assert [step_of(record, name).rows_written for name in ("empty", "zero")] == [15, 5]
    spent = sum(timing.duration_ms for timing in record.step_timings)
    assert spent <= record.duration_ms
    assert all(timing.duration_ms > 0 for timing in record.step_timings)


def test_a_statement_that_fails_leaves_nothing_of_the_job(shop: ThrowAwayProject) -> None:
    shop.job(
        "job",
        read("src.orders"),
        write("out.orders"),
        sql("INSERT INTO out.log VALUES (:as_of, 'one')", step_id="note", writes=["out.log"]),
        sql("INSERT INTO out.totals\nSELECT customer, amount, error('no more') FROM out.orders", step_id="fail",
            writes=["out.totals"], retries=3),
    )  # fmt: skip
    record = ran(shop, retries=FAST)
    (error,) = record.errors
    assert error.step_id == "fail"
    assert error.message.startswith("configs/jobs/job.yaml:")
    assert "no more" in error.message
    assert {timing.attempts for timing in record.step_timings} == {1}
    statuses = {timing.step_id: timing.status for timing in record.step_timings}
    assert statuses == {
        "read": Status.SUCCESS,
        "write": Status.SKIPPED,
        "note": Status.SKIPPED,
        "fail": Status.FAILURE,
    }
    assert record.rows_written == 0
    for table in ("out.orders", "out.log", "out.totals", "ops.landings"):
        assert shop.rows(f"FROM {table}") == [], table


def test_a_job_of_statements_alone_lands(shop: ThrowAwayProject) -> None:
    shop.job("job", sql("INSERT INTO out.log VALUES (:as_of, 'x')", writes=["out.log"]))
    record = ran(shop)
    assert (record.status, record.rows_written) == (Status.SUCCESS, 1)
    assert len(shop.rows("FROM ops.landings")) == 1


def test_jobs_that_change_one_table_wait_for_each_other(shop: ThrowAwayProject) -> None:
    """Each counts what is there and inserts one more: without the writers' lock two would count the same."""
    for number in range(6):
        shop.job(
            f"job_{number}",
            sql("INSERT INTO out.totals SELECT 'x', 0, sum(hash(range) % 7)::BIGINT FROM range(3000000)",
                step_id="slow", writes=["out.totals"]),
            sql("INSERT INTO out.totals SELECT 'n', count(*), 0 FROM out.totals WHERE customer = 'n'",
                writes=["out.totals"]),
        )  # fmt: skip
    shop.pipeline(
        "all", stages=[{"name": "one", "jobs": [f"job_{number}" for number in range(6)], "max_workers": 6}]
    )
    run = shop.run("all")
    assert run.status is Status.SUCCESS, [job.errors for job in run.jobs]
    found = shop.rows("SELECT amount FROM out.totals WHERE customer = 'n' ORDER BY amount")
    assert [row["amount"] for row in found] == list(range(6))


ENDLESS_QUERY = (
    "SELECT 'x' AS x, sum(hash(a.range) % 7)::BIGINT AS y FROM range(1000000) AS a, range(1000000) AS b"
)
ENDLESS = f"INSERT INTO out.totals SELECT *, 0 FROM ({ENDLESS_QUERY})"


@pytest.mark.parametrize("statement", [ENDLESS, ENDLESS_QUERY], ids=["change", "query"])
def test_the_query_timeout_stops_a_long_statement(shop: ThrowAwayProject, statement: str) -> None:
    writes: dict[str, Any] = {"writes": ["out.totals"]} if statement is ENDLESS else {}
    shop.job("job", sql(statement, **writes))
    started = time.monotonic()
    record = ran(shop, timeouts={"query": 0.3})
    assert time.monotonic() - started < 5
    (error,) = record.errors
    assert (error.category, error.step_id) == ("timeout", "sql")
    assert shop.rows("FROM src.orders")


@pytest.mark.parametrize("statement", [ENDLESS, ENDLESS_QUERY], ids=["change", "query"])
def test_cancelling_stops_a_long_statement(shop: ThrowAwayProject, statement: str) -> None:
    writes: dict[str, Any] = {"writes": ["out.totals"]} if statement is ENDLESS else {}
    shop.job("job", read("src.orders"), write("out.orders"), sql(statement, **writes))

    async def run() -> float:
        async with PipelineRunner.open(shop.settings()) as pipelines:
            with anyio.move_on_after(0.5):
                await pipelines.run("job")
            cancelled = time.monotonic()
            done = await pipelines.run("other")
            done.raise_for_status()
            return time.monotonic() - cancelled

    shop.job("other", sql("INSERT INTO out.totals VALUES ('other', 1, 1)", writes=["out.totals"]))
    assert anyio.run(run) < 5
    assert [row["customer"] for row in shop.rows("FROM out.totals")] == ["other"]
    assert shop.rows("FROM out.orders") == []


def test_a_kill_between_statement_and_commit_leaves_nothing_and_the_next_run_lands_once(
    shop: ThrowAwayProject,
) -> None:
    """The second statement spills to disk when it runs: then the first is done and the commit is not, and kill -9."""
    sorting = """
    INSERT INTO out.log
    SELECT NULL, max(h || n::VARCHAR)
    FROM (SELECT h, row_number() OVER (ORDER BY h) AS n FROM (SELECT md5(range::VARCHAR) AS h FROM range(:rows)))
    """
    shop.job(
        "job",
        read("src.orders", incremental=not_exists("out.orders", "id")),
        write("out.orders"),
        sql(ADD_UP, step_id="add_up", params={"least": 0}, writes=["out.totals"]),
        sql(sorting, step_id="sort", params={"rows": {"param": "rows"}}, writes=["out.log"]),
        params={"rows": {"type": "int64"}},
    )
    config = shop.root / "configs" / "runner.toml"
    config.write_text(config.read_text() + '[warehouse]\nkind = "duckdb"\nmemory_limit = "100MB"\n')
    spilled = shop.settings().warehouse_path.parent / DuckDBSettings().temp_directory
    command = [sys.executable, "-m", "runner", "--project", str(shop.root), "run", "job", "--set"]
    with subprocess.Popen([*command, "rows=60000000"], cwd=REPOSITORY, stderr=subprocess.PIPE) as child:
        while child.poll() is None and not any(spilled.glob("duckdb_temp*")):
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        told = child.communicate()[1]
    assert child.returncode == -signal.SIGKILL, told
    for table in ("out.orders", "out.totals", "out.log", "ops.landings"):
        assert shop.rows(f"FROM {table}") == [], table
    record = ran(shop, params={"rows": "10"})
    assert record.status is Status.SUCCESS, record.errors
    counts = shop.rows(
        "SELECT (SELECT count(*) FROM out.orders) AS orders, (SELECT sum(orders)::INT FROM out.totals) AS counted"
    )
    assert counts == [{"orders": 10, "counted": 10}]


# --- the rest --------------------------------------------------------------------------------------------


def test_declared_tables_are_made_before_a_statement_names_them(shop: ThrowAwayProject) -> None:
    shop.table("out.never_filled", "id string")
    shop.job("job", sql("SELECT id FROM OUT.Never_Filled"))
    assert ran(shop).status is Status.SUCCESS


def test_the_text_of_the_settings_engine_is_taken(shop: ThrowAwayProject) -> None:
    texts = {"bigquery": "SELECT 'b' AS text FROM UNNEST([1])", "duckdb": "SELECT 'd' AS text"}
    shop.job("job", {"step_id": "sql", "op": "sql", "statement": texts}, write("out.log", mode="append"))
    assert ran(shop).status is Status.SUCCESS
    assert shop.rows("SELECT text FROM out.log") == [{"text": "d"}]


def test_a_file_outside_of_the_project_is_refused_also_through_a_link(
    shop: ThrowAwayProject, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.sql"
    outside.write_text("SELECT 1 AS one")
    (shop.root / "link.sql").symlink_to(outside)
    shop.job("job", {"step_id": "sql", "op": "sql", "file": "link.sql"})
    with pytest.raises(ConfigurationError, match=r"'link\.sql' lies outside of the project"):
        shop.run("job")


@pytest.mark.parametrize("changes", [True, False])
def test_tables_in_memory_refuse_sql(shop: ThrowAwayProject, changes: bool) -> None:
    shop.job("job", sql("DELETE FROM out.log", writes=["out.log"]) if changes else sql("SELECT 1 AS one"))

    async def run() -> RunRecord:
        async with PipelineRunner.open(shop.settings(), warehouse=MemoryWarehouse()) as pipelines:
            return job_of(await pipelines.run("job"))

    (error,) = anyio.run(run).errors
    assert "tables in memory understand no SQL" in error.message


def test_types_that_only_the_engine_has_fit_the_declared_ones(shop: ThrowAwayProject) -> None:
    """A sum is a HUGEINT, a count a BIGINT, an ENUM a dictionary: what can be written without loss is."""
    shop.table("out.kinds", "s string, n int64, u string, d date, b bool, j json, q numeric")
    shop.job(
        "job",
        sql("""
            SELECT customer::ENUM ('a', 'b') AS s, sum(amount) AS n, uuid()::UUID AS u, DATE '2026-02-12' AS d,
                   true AS b, '{"k": 1}'::JSON AS j, sum(amount)::DECIMAL(18, 2) AS q
            FROM src.orders GROUP BY customer
        """),
        write("out.kinds", mode="append"),
    )  # fmt: skip
    record = ran(shop)
    assert record.status is Status.SUCCESS, record.errors
    assert shop.rows("SELECT s, n FROM out.kinds ORDER BY s") == [{"s": "a", "n": 20}, {"s": "b", "n": 25}]


def test_a_time_without_a_zone_is_told(shop: ThrowAwayProject) -> None:
    shop.job("job", sql("SELECT TIMESTAMP '2026-02-12 06:00:00' AS at"), write("out.log", mode="append"))
    (error,) = ran(shop).errors
    assert error.message.startswith("record batch, column 'at': is timestamp[us]; expected timestamp")


def test_plan_shows_the_text_with_its_placeholders(shop: ThrowAwayProject) -> None:
    adding(shop)

    async def outlined() -> list[JobOutline]:
        async with PipelineRunner.open(shop.settings()) as pipelines:
            return await counted_outline(pipelines, pipelines.plan("job"))

    (job,) = anyio.run(outlined)
    step = job.steps[-1]
    assert (step.op, step.table, step.values) == ("sql", "out.totals", (":least = 1",))
    assert step.statement == ADD_UP.strip()


def test_rescore_replaces_rows_and_runs_the_statement_with_them(shop: ThrowAwayProject) -> None:
    adding(shop)
    ran(shop)
    release = Release(filters=(Filter(column="customer", value="a"),))
    record = ran(shop, releases={"job": release})
    assert (record.status, record.rows_read, record.rows_written) == (Status.SUCCESS, 5, 7)
    assert [row["n"] for row in shop.rows("SELECT count(*) AS n FROM out.orders")] == [10]
    assert len(shop.rows("FROM out.totals")) == 4
