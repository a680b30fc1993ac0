"""Names and values by OpenTelemetry's semantic conventions, version 1.44.0: CICD (development) and database (stable).

Written out here, as strings: the library's own constants of what is in development move from version to version. What
no convention has a name for begins with `run_pipeline.`.

    run         cicd.pipeline.*              a SERVER span `RUN pipeline`, as the convention wants it
    job         cicd.pipeline.task.*         INTERNAL
    step        run_pipeline.step.*          INTERNAL
    statement   db.*                         CLIENT
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.records import ErrorInfo, Status

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"

PIPELINE_NAME = "cicd.pipeline.name"
PIPELINE_ACTION = "cicd.pipeline.action.name"
PIPELINE_RESULT = "cicd.pipeline.result"
PIPELINE_RUN_ID = "cicd.pipeline.run.id"
PIPELINE_RUN_STATE = "cicd.pipeline.run.state"
TASK_NAME = "cicd.pipeline.task.name"
TASK_RUN_ID = "cicd.pipeline.task.run.id"
TASK_RUN_RESULT = "cicd.pipeline.task.run.result"
ERROR_TYPE = "error.type"
EXCEPTION_TYPE = "exception.type"
EXCEPTION_MESSAGE = "exception.message"
DB_SYSTEM = "db.system.name"
DB_QUERY_TEXT = "db.query.text"
DB_QUERY_SUMMARY = "db.query.summary"
DB_RETURNED_ROWS = "db.response.returned_rows"

ACTION = "RUN"
EXECUTING = "executing"
SYSTEMS = {"postgres": "postgresql", "bigquery": "gcp.bigquery"}
"""Names of database systems that differ from ours. DuckDB and BigQuery are not among those that are listed."""

_RESULTS = {
    Status.SUCCESS: "success",
    Status.PARTIAL: "success",
    Status.FAILURE: "failure",
    Status.CANCELLED: "cancellation",
    Status.SKIPPED: "skip",
}
_OWN_FAULTS = frozenset({"bug", "crashed", "damaged", "disk_full", "locked"})
"""Categories of errors that the conventions call `error`: of the system that runs pipelines, not of the pipeline."""


def result_of(status: Status, errors: Sequence[ErrorInfo]) -> str:
    """Return a result in the convention's words. A partial outcome with errors failed; rows in quarantine are none."""
    categories = {error.category for error in errors}
    if status is Status.CANCELLED or status is Status.SKIPPED or not categories:
        return _RESULTS.get(status, "failure")
    if "timeout" in categories:
        return "timeout"
    return "error" if categories & _OWN_FAULTS else "failure"


def result_of_run(status: Status, errors: Sequence[ErrorInfo]) -> str:
    """Return the result of a run, with `errors` of it or of its jobs: in a partial one something failed."""
    return result_of(Status.FAILURE if status is Status.PARTIAL else status, errors)


def is_bad(result: str) -> bool:
    """Tell whether a result is one of a span with the status ERROR."""
    return result in ("failure", "error", "timeout")


def exception(error: ErrorInfo) -> dict[str, Any]:
    """Return the attributes of the event `exception`."""
    return {EXCEPTION_TYPE: error.type or error.category, EXCEPTION_MESSAGE: error.message}


def given(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that have a value."""
    return {name: value for name, value in attributes.items() if value not in (None, "", ())}


def summary_of(text: str) -> str:
    """Return the first word of a statement: names of tables are left out, since those of staging are ever new."""
    word = text.split(None, 1)[0] if text.strip() else ""
    return word.strip("(;").upper() if word[:1].isalpha() or word[:1] == "(" else ""
