"""Reads that look back only so far: what runs read, what a rescore reads, what doctor counts, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import duckdb
import pytest

from runner.cli.commands.doctor import report_lines
from runner.operations.doctor import ReadReport, examine
from runner.operations.plan import outline
from runner.operations.rescore import parse_condition
from runner.pipeline_runner import PipelineRunner
from runner.ports import ReadQuery, Release
from runner.records import RunRecord
from runner.sql import DUCKDB
from tests.projects import ThrowAwayProject, call, extract, not_exists, read, write
from tests.warehouse_lab import table as declared

NOW = datetime.now(UTC)
ADVICE = "look back further, or leave them out with a filter"
AGAIN = "they count as new, in every run that writes no later time"
COLUMNS = {"source_column": "at", "target_column": "processed_at"}


def ago(**delta: float) -> datetime:
    """Return a time before now."""
    return NOW - timedelta(**delta)


def scoring(project: ThrowAwayProject, lookback: dict[str, Any], **incremental: Any) -> None:
    """Declare events, their results, and the job between them."""
    project.table("src.events", "id string, at timestamp, value int64", key=["id"])
    project.table("out.results", "id string!, at timestamp, value int64, processed_at timestamp", key=["id"])
    project.functions("""
        def score(row):
            return {"id": row["id"], "at": row["at"], "value": row["value"]}
    """)
    project.job(
        "score",
        read("src.events", incremental=not_exists("out.results", "id", lookback=lookback, **incremental)),
        call("score"),
        write("out.results", set_on_write=["processed_at"]),
    )


def event(key: str, at: datetime | None, value: int = 1) -> dict[str, Any]:
    """Return a row of src.events."""
    return {"id": key, "at": at, "value": value}


def ran(project: ThrowAwayProject, **options: Any) -> RunRecord:
    """Run the job and return its record."""
    (job,) = project.run("score", **options).jobs
    return job


def results(project: ThrowAwayProject) -> dict[str, int]:
    """Return the values of out.results by key."""
    return {row["id"]: row["value"] for row in project.rows("SELECT id, value FROM out.results")}


def examined(project: ThrowAwayProject) -> ReadReport:
    """Return what doctor finds."""

    async def execute() -> ReadReport:
        async with PipelineRunner.open(project.settings()) as pipelines:
            (report,) = await examine(pipelines, pipelines.plan("score"))
            return report

    return anyio.run(execute)


def lookback_findings(report: ReadReport) -> list[tuple[str, str]]:
    """Return what a report says of the lookback, with the repairs."""
    return [
        (found.text, found.repair) for found in report.findings if "lookback" in found.text + found.repair
    ]


def test_a_run_reads_what_its_lookback_reaches_and_what_has_no_time(project: ThrowAwayProject) -> None:
    scoring(project, {**COLUMNS, "window": "30d"})
    project.fill("src.events", [event("old", ago(days=31)), event("new", ago(days=29)), event("none", None)])

    first, second = ran(project), ran(project)

    assert (first.rows_read, second.rows_read) == (2, 0)
    assert sorted(results(project)) == ["new", "none"]


def test_the_window_is_counted_from_the_logical_time_of_the_run(project: ThrowAwayProject) -> None:
    scoring(project, {**COLUMNS, "window": "30d"})

    async def execute() -> tuple[str, ...]:
        async with PipelineRunner.open(project.settings()) as pipelines:
            plan = pipelines.plan("score", as_of=datetime(2026, 3, 31, tzinfo=UTC))
            (job,) = outline(pipelines, plan)
            return job.steps[0].values

    assert anyio.run(execute) == (
        "at >= '2026-03-01T00:00:00.000000Z' or NULL",
        "processed_at of out.results >= '2026-03-01T00:00:00.000000Z' or NULL",
    )


def test_a_rescore_reads_what_it_releases_however_old_it_is(project: ThrowAwayProject) -> None:
    scoring(project, {"column": "at", "window": "30d"})
    project.fill("src.events", [event("old", ago(days=400), 2), event("new", ago(days=2), 2)])
    project.fill(
        "out.results", [event("old", ago(days=400)), event("new", ago(days=2)), event("kept", ago(days=1))]
    )
    assert ran(project).rows_read == 0

    release = Release(filters=(parse_condition("value=1"),))
    assert ran(project, releases={"score": release}).rows_read == 2
    assert results(project) == {"old": 2, "new": 2, "kept": 1}


def test_an_extract_is_bounded_by_the_time_of_its_target(project: ThrowAwayProject) -> None:
    project.table("out.results", "id string!, at timestamp", key=["id"])
    project.fill("out.results", [{"id": "old", "at": ago(days=31)}, {"id": "new", "at": ago(days=1)}])
    project.functions("""
        def rows():
            return [{"id": key, "at": None} for key in ("old", "new", "other")]
    """)
    lookback = {"column": "at", "window": "30d"}
    project.job(
        "score",
        extract("rows", incremental=not_exists("out.results", "id", lookback=lookback)),
        write("out.results"),
    )
    assert ran(project).rows_read == 2


def test_doctor_counts_what_no_run_reads_and_finds_the_window(project: ThrowAwayProject) -> None:
    scoring(project, {**COLUMNS, "window": "10d"})
    project.fill("src.events", [event(f"e{days}", ago(days=days)) for days in (1, 9, 11, 35, 36, 3000)])
    ran(project)
    assert len(results(project)) == 2

    report = examined(project)

    assert not report.is_healthy
    assert lookback_findings(report) == [
        (f"source rows before the lookback that are new or changed: 4; no run reads them; {ADVICE}", ""),
        (
            "3 of them would be with",
            "lookback: {source_column: at, target_column: processed_at, window: 40d}",
        ),
    ]
    text = "\n".join("".join(str(part) for part in line) for line in report_lines([report]))
    assert "      lookback: {source_column: at, target_column: processed_at, window: 40d}" in text
    assert "the next run reads 0 of 2 rows" in text


def test_doctor_counts_what_every_run_reads_again_and_finds_the_column(project: ThrowAwayProject) -> None:
    """The result bears the time of what it is about, which lies before that of its event."""
    scoring(project, {"column": "at", "window": "10d"})
    project.fill("src.events", [event("a", ago(days=1)), event("b", ago(days=2)), event("c", ago(days=3))])
    project.fill(
        "out.results",
        [{**event(key, ago(days=90)), "processed_at": ago(hours=1)} for key in ("a", "b")]
        + [{**event("c", ago(days=3)), "processed_at": ago(hours=1)}],
    )

    report = examined(project)

    assert not report.is_healthy
    assert lookback_findings(report) == [
        (f"source rows whose counterpart is before the lookback: 2; {AGAIN}", ""),
        (
            "none of them would be with",
            "lookback: {source_column: at, target_column: processed_at, window: 10d}",
        ),
    ]


def test_doctor_has_nothing_to_say_of_a_lookback_that_fits(project: ThrowAwayProject) -> None:
    scoring(project, {**COLUMNS, "window": "10d"}, mode="left_anti", source_ts="at", target_ts="processed_at")
    project.fill("src.events", [event("a", ago(days=1)), event("old", ago(days=40))])
    project.fill(
        "out.results",
        [{**event("a", ago(days=1)), "processed_at": NOW}, {**event("old", None), "processed_at": NOW}],
    )

    assert lookback_findings(examined(project)) == []


# --- what it costs ---

SOURCE = declared("source", id="string", n="int64", at="timestamp")
TARGET = declared("target", id="string", at="timestamp")
RECENT = 1000


def scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the scans of tables in what EXPLAIN ANALYZE gave."""
    if "rows_scanned" in plan:
        yield plan
    for child in plan.get("children", plan.get("operator", [])):
        yield from scans(child)


@pytest.mark.parametrize("rows", [250_000, 1_000_000])
@pytest.mark.parametrize("mode", ["not_exists", "left_anti"])
def test_duckdb_scans_no_more_when_the_history_grows(rows: int, mode: str) -> None:
    """One row group a table at most, of 122,880 rows, of which the last minutes lie in the last one."""
    from runner.incremental import read_statement
    from tests.contract.test_warehouse_lookback import looking_back

    times = {"source_ts": "at", "target_ts": "at"} if mode == "left_anti" else {}
    lookback = {"column": "at", "window": f"{RECENT}m"}
    query = ReadQuery(
        source=SOURCE, columns=("id", "n"), incremental=looking_back(lookback, TARGET, mode=mode, **times)
    )
    start = "TIMESTAMPTZ '2026-02-12 06:00:00Z'"
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA lab; SET threads = 1")
        for name, count in ((SOURCE.ref, rows), (TARGET.ref, rows - 10)):
            connection.execute(
                f"CREATE TABLE {name} AS SELECT 'k' || i AS id, i AS n, {start} + INTERVAL 1 MINUTE * "
                f"(i - {rows} + {RECENT}) AS at FROM range({count}) AS r(i)"
            )
        statement = read_statement(query, DUCKDB, remembered=False)
        assert len(connection.execute(statement.text, statement.values).fetchall()) == 10
        plan = connection.execute(f"EXPLAIN (ANALYZE, FORMAT json) {statement.text}", statement.values)
        found = list(scans(json.loads(plan.fetchall()[0][1])))
    assert len(found) == 3
    assert [scan["row_groups_scanned"] for scan in found] == [1, 1, 1]
    assert all(scan["rows_scanned"] <= 122_880 for scan in found)
