"""One JSON object a line on stderr, for journald and log shippers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from runner.cli.log_output import event_logger
from runner.cli.sentences import sentence
from runner.clock import format_utc
from runner.events import (
    Event,
    JobFinished,
    JobPerformance,
    Noticed,
    PipelineFinished,
    RunFinished,
    StagePerformance,
    StepFinished,
    kind_of,
    to_dict,
)
from runner.records import PipelineRun, RunRecord, Status

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

FIGURES = (JobPerformance, StagePerformance, PipelineFinished)
"""Events for dashboards: what they say has been said by the ends that they come after."""


class JsonProgress:
    """Renders events with structlog.

    `verbosity` below 0 leaves out what is below a warning; the end stays.
    """

    def __init__(self, write: Callable[[dict[str, Any]], None], verbosity: int = 0) -> None:
        self._logger = event_logger(write)
        self._verbosity = verbosity
        self._last: RunFinished | None = None

    def on_event(self, event: Event) -> None:
        """Log the event. The end of the run is kept for `finish`, which knows its totals."""
        if isinstance(event, RunFinished):
            self._last = event
            return
        level = level_of(event)
        wanted = {-1: logging.WARNING, 0: logging.INFO}.get(max(-1, min(self._verbosity, 1)), logging.DEBUG)
        if event.durable and level >= wanted:
            self._logger.log(level, kind_of(event), **fields_of(event))

    def tick(self) -> None:
        """Nothing moves here between events."""

    def finish(self, run: PipelineRun | None) -> None:
        """Log the end of the run."""
        if run is None or self._last is None:
            return
        self._logger.log(
            level_of(self._last),
            self._last.event_type,
            **fields_of(self._last),
            name=run.pipeline_id,
            rows_read=run.rows_read,
            rows_written=run.rows_written,
            **_usage_fields(run),
        )


def level_of(event: Event) -> int:
    """Return the logging level of an event: failures are errors, steps are for debugging."""
    if isinstance(event, Noticed):
        return _LEVELS.get(event.level, logging.INFO)
    if isinstance(event, FIGURES):
        return logging.DEBUG
    status = event.record.status if isinstance(event, JobFinished) else getattr(event, "status", None)
    if status in (Status.FAILURE, Status.PARTIAL, Status.CANCELLED):
        failed = status is Status.FAILURE or not isinstance(event, JobFinished) or bool(event.record.errors)
        return logging.ERROR if failed else logging.WARNING
    if isinstance(event, StepFinished) or event.event_type == "job.landed":
        return logging.DEBUG
    return logging.WARNING if event.event_type == "job.retrying" else logging.INFO


def fields_of(event: Event) -> dict[str, Any]:
    """Return what stands in the line beside level and word: time, ids, milliseconds, rows, a sentence."""
    found: dict[str, Any] = {"timestamp": format_utc(event.timestamp), "run_id": event.run_id}
    for name in ("job_id", "job_run_id", "step_id", "duration_ms", "queue_ms", "delay_ms", "attempt", "name"):
        if (value := getattr(event, name, None)) not in (None, ""):
            found[name] = value
    if isinstance(event, JobFinished):
        found |= _record_fields(event.record)
    elif isinstance(event, StepFinished):
        found |= {key: value for key, value in event.timing.to_dict().items() if key != "warehouse"}
    elif isinstance(event, RunFinished):
        found |= {"status": event.status.value, "errors": [error.to_dict() for error in event.errors]}
    elif isinstance(event, FIGURES):
        found |= {
            key: value
            for key, value in to_dict(event).items()
            if key not in (*found, "event_type", "event_id")
        }
    elif isinstance(event, Noticed) and event.details:
        found["details"] = dict(event.details)
    return found | {"message": sentence(event)}


def _record_fields(record: RunRecord) -> dict[str, Any]:
    return {
        "status": record.status.value,
        "duration_ms": record.duration_ms,
        "queue_ms": record.queue_ms,
        "rows_read": record.rows_read,
        "rows_written": record.rows_written,
        "errors": [error.to_dict() for error in record.errors],
        **_usage_fields(record),
    }


def _usage_fields(record: RunRecord | PipelineRun) -> dict[str, Any]:
    return {"warehouse": dict(record.warehouse)} if record.warehouse else {}
