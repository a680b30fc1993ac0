"""`daily` of the reference project: everything once, then nothing, then what is new."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from runner.records import PipelineRun, Status
from runner.run_store import FileRunStore
from tests.projects import ReferenceProject, digests, job_of, step_of

OPENING = ("SET ", "ATTACH ", "USE ")
READING = ("SELECT", "FROM", "WITH")
HARMLESS = {
    "interrupt", "close", "register", "unregister", "fetchall", "fetchone", "description", "cursor_told",
}  # fmt: skip
"""What a connection may be asked besides, since it sends nothing (or does not have it: a log of statements has)."""


class RecordingConnection:
    """A DuckDB connection that notes every statement on its way. Anything else that could send one is refused."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, statements: list[str]) -> None:
        self._connection = connection
        self._statements = statements

    def execute(self, query: str, *values: Any) -> RecordingConnection:
        """Note and send."""
        self._statements.append(" ".join(query.split()))
        self._connection.execute(query, *values)
        return self

    def sql(self, query: str, **options: Any) -> duckdb.DuckDBPyRelation:
        """Note and send."""
        self._statements.append(" ".join(query.split()))
        return self._connection.sql(query, **options)

    def cursor(self) -> RecordingConnection:
        """Return a cursor that notes, too."""
        return RecordingConnection(self._connection.cursor(), self._statements)

    def __getattr__(self, name: str) -> Any:
        assert name in HARMLESS, f"{name} may send statements unseen"
        return getattr(self._connection, name)


@dataclass
class Story:
    """Three runs, with what they left behind."""

    project: ReferenceProject
    first: PipelineRun
    second: PipelineRun
    third: PipelineRun
    quarantine: list[dict[str, Any]]
    remembered: list[dict[str, Any]]
    after_first: dict[str, list[str]]
    after_second: dict[str, list[str]]
    statements: list[str]
    landings: tuple[int, int]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Run `daily` on the samples, again, and again with more mail and more responses."""
    project = ReferenceProject(tmp_path_factory.mktemp("daily"))
    first = project.run()
    after_first = digests(project.warehouse_file)
    landings = len(project.rows("SELECT * FROM ops.landings"))
    quarantine = project.rows("SELECT job_id, step_id, reason FROM ops.quarantine ORDER BY job_id")
    remembered = project.rows("SELECT job_id, step_id, reason FROM ops.processed_keys ORDER BY job_id")
    statements: list[str] = []
    connect = duckdb.connect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            duckdb,
            "connect",
            lambda *given, **named: RecordingConnection(connect(*given, **named), statements),
        )
        second = project.run()
    after_second = digests(project.warehouse_file)
    landings_after = len(project.rows("SELECT * FROM ops.landings"))
    add_news(project.samples)
    third = project.run()
    return Story(
        project=project,
        first=first,
        second=second,
        third=third,
        quarantine=quarantine,
        remembered=remembered,
        after_first=after_first,
        after_second=after_second,
        statements=statements,
        landings=(landings, landings_after),
    )


def add_news(samples: Path) -> None:
    """Add one message to the folder of .eml files, and an export with ten new responses."""
    (samples / "eml" / "late.eml").write_bytes(
        b"From: A <a@example.org>\nSubject: late\nDate: Mon, 9 Mar 2026 09:00:00 +0000\n"
        b"Message-ID: <late@example.org>\n\nText.\n"
    )
    with (samples / "forms" / "2026" / "followup.csv").open(newline="") as stream:
        header, *responses = csv.reader(stream)
    column = header.index("response_id")
    with (samples / "forms" / "later.csv").open("w", newline="") as stream:
        later = [[*row[:column], f"later-{n}", *row[column + 1 :]] for n, row in enumerate(responses[:10])]
        csv.writer(stream).writerows([header, *later])


def test_the_first_run_takes_everything_to_its_end(story: Story) -> None:
    run = story.first
    assert run.status is Status.SUCCESS
    found = {job.job_id: (job.status.value, job.rows_read, job.rows_written) for job in run.jobs}
    # One message stands in both mailboxes: the first to land writes it.
    assert sorted([found.pop("ingest_inbox"), found.pop("ingest_archive")]) in (
        [("success", 1, 4), ("success", 1, 9)],
        [("success", 1, 5), ("success", 1, 8)],
    )
    assert found == {
        "ingest_maildir": ("success", 3, 6),
        "ingest_eml": ("success", 3, 6),
        "ingest_forms": ("success", 3, 63),
        "canonize_mail": ("partial", 17, 16),
        "canonize_forms": ("success", 60, 60),
        "form_me_intake_01": ("success", 20, 20),
        "form_me_intake_02": ("success", 20, 20),
        "form_me_followup": ("success", 20, 20),
        "form_obs_intake_01": ("partial", 20, 131),
        "form_obs_intake_02": ("success", 20, 140),
        "form_obs_followup": ("success", 20, 133),
    }
    assert {table: len(rows) for table, rows in story.after_first.items()} == {
        "raw.source_files": 11,
        "raw.messages": 17,
        "raw.form_responses": 60,
        "canonical.mail": 16,
        "canonical.form_responses": 60,
        "derived.measurement_events": 60,
        "derived.observations": 404,
        "ops.processed_keys": 3,
        "ops.quarantine": 2,
    }


def test_what_was_refused_and_what_was_empty_is_accounted_for(story: Story) -> None:
    assert [(row["job_id"], row["step_id"]) for row in story.quarantine] == [
        ("canonize_mail", "canonize"), ("form_obs_intake_01", "score")
    ]  # fmt: skip
    assert "not a message" in story.quarantine[0]["reason"]
    assert "is no answer to this question" in story.quarantine[1]["reason"]
    assert [(row["job_id"], row["step_id"], row["reason"]) for row in story.remembered] == [
        ("canonize_mail", "read_raw", "quarantined"),
        ("form_obs_followup", "read_me", "empty"),
        ("form_obs_intake_01", "read_me", "quarantined"),
    ]
    unaccounted = story.project.rows("""
        SELECT idem_key FROM raw.messages WHERE idem_key NOT IN (SELECT idem_key FROM canonical.mail)
        AND idem_key NOT IN (SELECT key FROM ops.quarantine WHERE job_id = 'canonize_mail')
    """)
    assert unaccounted == []


def test_the_second_run_reads_nothing(story: Story) -> None:
    run = story.second
    assert run.status is Status.SUCCESS
    for job in run.jobs:
        assert (job.status, job.rows_read, job.rows_written) == (Status.SUCCESS, 0, 0), job.job_id
        first, *others = job.step_timings
        assert (first.status, first.rows_out) == (Status.SUCCESS, 0)
        assert {timing.status for timing in others} == {Status.SKIPPED}
        assert [timing.attempts for timing in others] == [0] * len(others)
    assert story.after_second == story.after_first, "not even times of processing changed"
    assert story.landings[0] == story.landings[1]


def test_the_second_run_sends_only_reads_and_the_event_flush(story: Story) -> None:
    after_opening = [text for text in story.statements if not text.startswith(OPENING)]
    others = [text for text in after_opening if not text.startswith(READING)]
    begin, insert, commit = others
    assert (begin, commit) == ("BEGIN", "COMMIT")
    assert insert.startswith('INSERT INTO "ops"."event_log"')
    reads = [text for text in after_opening if text.startswith(READING)]
    metadata = [text for text in reads if "duckdb_" in text or "information_schema" in text]
    assert len(metadata) == 1
    assert len(reads) - len(metadata) <= len(story.second.jobs) + 5, (
        "one query a job; an extract asks per chunk"
    )


def test_the_third_run_reads_only_what_is_new(story: Story) -> None:
    found = {job.job_id: (job.rows_read, job.rows_written) for job in story.third.jobs if job.rows_read}
    assert found == {
        "ingest_eml": (1, 2),
        "ingest_forms": (1, 11),
        "canonize_mail": (1, 1),
        "canonize_forms": (10, 10),
        "form_me_followup": (10, 10),
        "form_obs_followup": (10, found["form_obs_followup"][1]),
    }
    assert step_of(job_of(story.third, "form_obs_followup"), "score").rows_in == 10


def test_every_run_is_in_the_store_and_its_events_in_the_log_once(story: Story) -> None:
    counted = story.project.rows("""
        SELECT correlation_id, count(*) AS n, count(DISTINCT event_id) AS ids FROM ops.event_log GROUP BY ALL
    """)
    assert {row["correlation_id"] for row in counted} == {
        run.pipeline_run_id for run in (story.first, story.second, story.third)
    }
    assert all(row["n"] == row["ids"] for row in counted)
    store = FileRunStore(story.project.settings().runs_dir)
    for run in (story.first, story.second, story.third):
        assert store.load(run.pipeline_run_id) == run


def test_the_jobs_and_the_stage_tell_their_figures_under_names_of_their_own(story: Story) -> None:
    """Requirements 1.9 and 1.10: `formation.performance` of each job, `ingest.parallel_performance` of the stage."""
    log = "SELECT producer_component, payload FROM ops.event_log WHERE correlation_id = '{}' AND event_type = '{}'"
    run = story.first

    rows = story.project.rows(log.format(run.pipeline_run_id, "formation.performance"))
    figures = {row["producer_component"]: json.loads(row["payload"]) for row in rows}
    formation = [job for job in run.jobs if job.job_id.startswith("form_")]
    assert sorted(figures) == sorted(job.job_id for job in formation)
    for job in formation:
        told = figures[job.job_id]
        assert (told["rows_read"], told["rows_written"]) == (job.rows_read, job.rows_written)
        spent = {
            op: sum(t.duration_ms for t in job.step_timings if t.op == op) for op in ("read", "call", "write")
        }
        assert [told["query_ms"], told["transform_ms"], told["write_ms"]] == pytest.approx(
            [spent["read"], spent["call"], spent["write"]], abs=0.01
        )

    (row,) = story.project.rows(log.format(run.pipeline_run_id, "ingest.parallel_performance"))
    told = json.loads(row["payload"])
    assert (row["producer_component"], told["job_count"], told["max_workers"]) == ("pipeline.ingest", 5, 4)
    assert told["speedup_potential"] == 2.5
    assert told["actual_per_job"] == pytest.approx(told["duration_ms"] / 5, abs=0.01)
