"""A small project on BigQuery: what its jobs are called, what they may cost, what they did cost, and when they are
asked for again.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from runner.records import PipelineRun, Status
from runner.warehouses.bigquery.service import TRIES
from runner.warehouses.bigquery.writer import INLINE_ROWS
from tests.bigquery_lab import sent
from tests.cli.demo_project import DemoProject
from tests.engines import BigQueryEngine
from tests.projects import ThrowAwayProject, call, job_of, not_exists, read, step_of, write
from tests.servers.bigquery import AnswerFault, BigQueryProject, Figures, JobFault

READING = Figures(bytes_processed=3_000_000, bytes_billed=10_485_760, slot_ms=120)
LANDING = Figures(bytes_processed=500_000, bytes_billed=20_971_520, slot_ms=80)
CACHED = Figures(bytes_processed=0, bytes_billed=0, slot_ms=0, cache_hit=True)


@pytest.fixture
def copying(project: ThrowAwayProject, bigquery_project: BigQueryProject) -> ThrowAwayProject:
    """A job that copies rows of one table to another, many enough for a load job."""
    project.table("src.numbers", "n int64!", key=["n"], managed=False)
    project.table("out.numbers", "n int64!", key=["n"])
    project.functions("""
        def copy(row):
            return row
    """)
    project.job(
        "copy.numbers",
        read("src.numbers", incremental=not_exists("out.numbers", "n")),
        call("copy"),
        write("out.numbers", retries=1),
    )
    project.pipeline("daily", stages=[{"name": "all", "jobs": ["copy.numbers"]}])
    bigquery_project.query("CREATE SCHEMA src")
    rows = f"UNNEST(GENERATE_ARRAY(1, {INLINE_ROWS + 50})) AS n"
    bigquery_project.query(f"CREATE TABLE src.numbers AS SELECT n FROM {rows}")
    bigquery_project.forget_requests()
    return project


def run(project: ThrowAwayProject, server: BigQueryProject, **warehouse: Any) -> PipelineRun:
    """Run the pipeline there."""
    return project.run("daily", warehouse=BigQueryEngine(server).warehouse | warehouse)


def test_each_job_is_named_and_labelled_and_bounded(
    copying: ThrowAwayProject, bigquery_project: BigQueryProject
) -> None:
    settings = {"maximum_bytes_billed": 40_000_000, "priority": "batch", "query_cache": False}
    record = copying.run(
        "daily",
        warehouse=BigQueryEngine(bigquery_project).warehouse | settings,
        timeouts={"query": 90},
    )
    assert record.status is Status.SUCCESS
    job = job_of(record)
    asked = [
        body for body in bigquery_project.submitted()
        if body["configuration"].get("labels", {}).get("job") == "copy_numbers"
    ]  # fmt: skip
    kinds = [("load" if "load" in body["configuration"] else "query") for body in asked]
    assert kinds == ["query", "load", "load", "query"], "the read; rows and keys that were read; the script"
    labels = {
        "tool": "run-pipeline",
        "pipeline": "daily",
        "job": "copy_numbers",
        "run": record.pipeline_run_id.lower(),
    }
    numbers: dict[str, int] = {}
    for body in asked:
        configuration = body["configuration"]
        step = configuration["labels"].pop("step")
        script = "COMMIT" in configuration.get("query", {}).get("query", "")
        assert configuration["labels"].pop("landing", None) == ("0" if script else None)
        assert configuration["labels"] == labels
        number = numbers[step] = numbers.get(step, 0) + 1
        expected = f"run-pipeline-{record.pipeline_run_id}-{job.run_id}-{step}-1-{number}"
        assert body["jobReference"]["jobId"] == expected
        assert int(configuration["jobTimeoutMs"]) == 90_000
        if "query" in configuration:
            query = configuration["query"]
            assert (query["maximumBytesBilled"], query["priority"]) == ("40000000", "BATCH")
            assert query["useQueryCache"] is False
    assert numbers == {"read": 1, "write": 3}


def test_nothing_is_streamed_and_staging_tables_expire_and_are_gone(
    copying: ThrowAwayProject, bigquery_project: BigQueryProject
) -> None:
    assert run(copying, bigquery_project).status is Status.SUCCESS
    requests = bigquery_project.requests()
    assert [one["path"] for one in requests if "insertAll" in one["path"]] == []
    assert [one["path"] for one in requests if one["method"] == "RPC" and "Append" in one["path"]] == []
    made = [one["body"] for one in requests if one["method"] == "POST" and one["path"].endswith("/tables")]
    assert len(made) == 2
    assert all(int(table["expirationTime"]) > 0 for table in made)
    (script,) = (text for text in bigquery_project.statements() if "COMMIT TRANSACTION" in text)
    order = [
        script.index(part) for part in ("BEGIN TRANSACTION", "MERGE INTO", "`ops`.`landings` (", "COMMIT")
    ]
    assert order == sorted(order), "the marker is the last before the commit"
    assert len(re.findall("BEGIN TRANSACTION", script)) == 1
    tables = bigquery_project.query("SELECT table_name FROM ops.INFORMATION_SCHEMA.TABLES")
    assert not [name for (name,) in tables if name.startswith("staged_")]


def test_what_queries_cost_is_in_the_record_and_summed(
    copying: ThrowAwayProject, bigquery_project: BigQueryProject
) -> None:
    bigquery_project.fail(
        JobFault(contains="COMMIT TRANSACTION", figures=LANDING, times=None),
        JobFault(contains="FROM `src`.`numbers`", figures=READING, times=None),
    )
    first = run(copying, bigquery_project, price_per_tib=2**20)  # so that 1 MiB costs 1
    job = job_of(first)
    reading, writing = (step_of(job, name).warehouse for name in ("read", "write"))
    assert reading == {
        "queries": 1, "bytes_processed": 3_000_000, "bytes_billed": 10_485_760, "cost": 10, "slot_ms": 120,
        "cache_hits": 0, "query_ids": [f"run-pipeline-{first.pipeline_run_id}-{job.run_id}-read-1-1"],
    }  # fmt: skip
    assert writing is not None
    assert (writing["queries"], writing["bytes_processed"], writing["slot_ms"]) == (3, 500_000, 80)
    assert len(set(writing["query_ids"])) == 3
    for told in (job.warehouse, first.warehouse):
        assert told == {
            "queries": 4, "bytes_processed": 3_500_000, "bytes_billed": 31_457_280, "cost": 30, "slot_ms": 200,
            "cache_hits": 0,
        }  # fmt: skip

    bigquery_project.fail(JobFault(contains="FROM `src`.`numbers`", figures=CACHED, times=None))
    second = run(copying, bigquery_project)
    assert second.warehouse == {
        "queries": 1, "bytes_processed": 0, "bytes_billed": 0, "slot_ms": 0, "cache_hits": 1,
    }  # fmt: skip


def test_show_tells_the_cost(copying: ThrowAwayProject, bigquery_project: BigQueryProject) -> None:
    bigquery_project.fail(JobFault(contains="FROM `src`.`numbers`", figures=READING, times=None))
    run(copying, bigquery_project)
    shown = DemoProject(copying.root).run("show", "last", "-o", "json")
    record = json.loads(shown.stdout)
    assert record["warehouse"]["bytes_billed"] == 10_485_760
    (job,) = record["jobs"]
    steps = {step["step_id"]: step.get("warehouse") for step in job["step_timings"]}
    assert steps["read"]["bytes_processed"] == 3_000_000
    assert steps["read"]["query_ids"][0].startswith(f"run-pipeline-{record['pipeline_run_id']}-")
    assert "10.5 MB" in DemoProject(copying.root).run("show", "last").stdout


@pytest.mark.parametrize(
    "conflict",
    [
        "Transaction is aborted due to concurrent update against table p:out.numbers. Transaction ID: x",
        "Failed to commit: another transaction has altered the table",
    ],
)
def test_a_landing_aborted_by_a_concurrent_update_is_tried_again_under_new_ids(
    copying: ThrowAwayProject, bigquery_project: BigQueryProject, conflict: str
) -> None:
    bigquery_project.fail(JobFault("invalidQuery", conflict, contains="COMMIT TRANSACTION", times=TRIES))
    record = run(copying, bigquery_project)
    assert record.status is Status.SUCCESS
    assert step_of(job_of(record), "write").attempts == 2
    ids = sent(bigquery_project)
    assert len(ids) == len(set(ids)), "no id twice: each was known to have failed"
    assert len([one for one in ids if "-write-2-" in one]) >= 1
    assert bigquery_project.query("SELECT count(*), count(DISTINCT n) FROM out.numbers") == [
        (INLINE_ROWS + 50, INLINE_ROWS + 50)
    ]


def test_who_may_not_is_told_so(copying: ThrowAwayProject, bigquery_project: BigQueryProject) -> None:
    settings = f'project = "{bigquery_project.name}"\nendpoint = "{bigquery_project.server.rest}"'
    bigquery_project.fail(AnswerFault(403, "accessDenied", "Access Denied: bigquery.jobs.create", times=None))
    assert said(copying, settings) == [
        3,
        "bigquery: Access Denied: bigquery.jobs.create (the account needs a right that it does not have)",
    ]
    assert len(sent(bigquery_project)) == 1


def test_a_key_file_that_is_none_is_named_and_not_shown(copying: ThrowAwayProject) -> None:
    file = copying.root / "key.json"
    hint = "(check the credentials that [warehouse] names)"
    named = f'project = "p"\ncredentials_file = "{file}"'
    assert said(copying, named) == [3, f"bigquery: credentials_file {file}: No such file or directory {hint}"]
    file.write_text('{"type": "service_account", "private_key": "hunter2"}')
    assert said(copying, named) == [
        3,
        f"bigquery: credentials_file {file} is no key of a service account {hint}",
    ]


def said(project: ThrowAwayProject, settings: str) -> list[Any]:
    """Run with these settings of the warehouse; return the exit code and the last line of what was said."""
    named = f'package = "{project.package}"\n[warehouse]\nkind = "bigquery"\n{settings}\n'
    (project.root / "configs/runner.toml").write_text(named)
    ended = DemoProject(project.root).run("daily")
    return [ended.returncode, ended.stderr.strip().splitlines()[-1].removeprefix("error: ")]
