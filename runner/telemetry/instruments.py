"""What is counted and measured of runs: durations and waits in seconds, rows, errors."""

from __future__ import annotations

from typing import Any

from opentelemetry.metrics import Meter

from runner.events import RunFinished
from runner.records import RunRecord, Status
from runner.statement_log import SentStatement
from runner.telemetry.conventions import (
    DB_SYSTEM,
    ERROR_TYPE,
    EXECUTING,
    PIPELINE_NAME,
    PIPELINE_RESULT,
    PIPELINE_RUN_STATE,
    SYSTEMS,
    TASK_NAME,
    TASK_RUN_RESULT,
    result_of,
)

BOUNDARIES = (0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
"""Of histograms, in seconds: from one statement to a run of an hour."""


class Instruments:
    """The instruments of one meter. Safe in any thread."""

    def __init__(self, meter: Meter) -> None:
        def seconds(name: str, description: str) -> Any:
            return meter.create_histogram(
                name, unit="s", description=description, explicit_bucket_boundaries_advisory=BOUNDARIES
            )

        self._run = seconds("cicd.pipeline.run.duration", "Duration of a pipeline run.")
        self._errors = meter.create_counter("cicd.pipeline.run.errors", "{error}", "Errors of pipeline runs.")
        self._job = seconds("run_pipeline.job.duration", "Duration of a job.")
        self._wait = seconds(
            "run_pipeline.job.queue.duration", "How long a job was ready and waited for a slot."
        )
        self._step = seconds("run_pipeline.step.duration", "A step's own time, without the steps before it.")
        self._query = seconds("db.client.operation.duration", "Duration of a statement of the warehouse.")
        self._rows = {
            name: meter.create_counter(f"run_pipeline.rows.{name}", "{row}", f"Rows that jobs have {said}.")
            for name, said in (("read", "read"), ("written", "written"), ("quarantined", "put in quarantine"))
        }
        self._bytes = meter.create_counter(
            "run_pipeline.warehouse.bytes_billed", "By", "Bytes that the warehouse bills, where it tells."
        )

    def run(self, name: str, event: RunFinished, result: str, error_type: str) -> None:
        """Count a run that is over, and its own errors. `error_type`: "" where nothing failed."""
        pipeline = {PIPELINE_NAME: name}
        attributes = {**pipeline, PIPELINE_RUN_STATE: EXECUTING, PIPELINE_RESULT: result}
        if error_type:
            attributes[ERROR_TYPE] = error_type
        self._run.record(event.duration_ms / 1000, attributes)
        for error in event.errors:
            self._errors.add(1, {**pipeline, ERROR_TYPE: error.category})

    def job(self, name: str, record: RunRecord) -> None:
        """Count a job that is over, and its steps."""
        if record.status is Status.SKIPPED:
            return
        job = {PIPELINE_NAME: name, TASK_NAME: record.job_id}
        result = {TASK_RUN_RESULT: result_of(record.status, record.errors)}
        self._job.record(record.duration_ms / 1000, {**job, **result})
        self._wait.record(record.queue_ms / 1000, {**job, "run_pipeline.queue": record.queue})
        for error in record.errors:
            self._errors.add(1, {PIPELINE_NAME: name, ERROR_TYPE: error.category})
        for kind, counter in self._rows.items():
            if rows := getattr(record, f"rows_{kind}"):
                counter.add(rows, job)
        if billed := (record.warehouse or {}).get("bytes_billed"):
            self._bytes.add(billed, job)
        for timing in record.step_timings:
            if timing.status is not Status.SKIPPED:
                step = {"run_pipeline.step.id": timing.step_id, "run_pipeline.step.op": timing.op}
                self._step.record(timing.duration_ms / 1000, {**job, **step})

    def statement(self, statement: SentStatement) -> None:
        """Count a statement."""
        attributes = {DB_SYSTEM: SYSTEMS.get(statement.engine, statement.engine)}
        if statement.error:
            attributes[ERROR_TYPE] = statement.error
        self._query.record(statement.duration_ms / 1000, attributes)
