"""The attributes of spans, of what the records say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runner.events import RunStarted
from runner.records import RunRecord, StepTiming
from runner.statement_log import SentStatement
from runner.telemetry import conventions as words

MAX_TEXT = 4_000
"""Characters of a statement's text."""


def of_run(event: RunStarted) -> dict[str, Any]:
    """Return what the start of a run tells of it."""
    return words.given(
        {
            words.PIPELINE_RUN_ID: event.run_id,
            "run_pipeline.max_workers": event.max_workers,
            "run_pipeline.as_of": event.as_of.isoformat(),
            "run_pipeline.retry_of": event.retry_of,
            "run_pipeline.rescore": event.rescore or None,
            "run_pipeline.setup_ms": event.setup_ms,
        }
    )


def of_job(record: RunRecord, dropped: int) -> dict[str, Any]:
    """Return what its record tells of a job, of which `dropped` statements were too many."""
    warehouse = record.warehouse or {}
    return words.given(
        {
            words.TASK_NAME: record.job_id,
            words.TASK_RUN_ID: record.run_id,
            words.TASK_RUN_RESULT: words.result_of(record.status, record.errors),
            "run_pipeline.status": record.status.value,
            "run_pipeline.group": record.group,
            "run_pipeline.queue": record.queue,
            "run_pipeline.job.queue_ms": record.queue_ms,
            "run_pipeline.rows_read": record.rows_read,
            "run_pipeline.rows_written": record.rows_written,
            "run_pipeline.rows_quarantined": record.rows_quarantined or None,
            "run_pipeline.warehouse.bytes_billed": warehouse.get("bytes_billed"),
            "run_pipeline.statements.dropped": dropped or None,
        }
    )


def of_step(timing: StepTiming) -> dict[str, Any]:
    """Return what its timing tells of a step."""
    return words.given(
        {
            "run_pipeline.step.id": timing.step_id,
            "run_pipeline.step.op": timing.op,
            "run_pipeline.step.duration_ms": timing.duration_ms,
            "run_pipeline.step.busy_ms": timing.busy_ms,
            "run_pipeline.status": timing.status.value,
            "run_pipeline.rows_read": timing.rows_read,
            "run_pipeline.rows_written": timing.rows_written,
            "run_pipeline.rows_in": timing.rows_in,
            "run_pipeline.rows_out": timing.rows_out,
            "run_pipeline.batches": timing.batches,
            "run_pipeline.attempts": timing.attempts,
        }
    )


def of_statement(statement: SentStatement, summary: str, redact: Callable[[str], str]) -> dict[str, Any]:
    """Return what is known of a statement; `redact` takes secrets out of its text."""
    brings = summary in ("SELECT", "WITH", "FROM")
    return words.given(
        {
            words.DB_SYSTEM: words.SYSTEMS.get(statement.engine, statement.engine),
            words.DB_QUERY_SUMMARY: summary,
            words.DB_QUERY_TEXT: redact(statement.text)[:MAX_TEXT],
            words.DB_RETURNED_ROWS if brings else "run_pipeline.query.rows": statement.rows,
            "run_pipeline.query.duration_ms": round(statement.duration_ms, 3),
            "run_pipeline.query.id": statement.query_id,
            words.ERROR_TYPE: statement.error,
        }
    )
