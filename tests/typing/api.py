"""Only type-checked: how an application uses the public names. `mypy` reads it with everything else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import assert_type

from runner import (
    Connection,
    ErrorInfo,
    Event,
    Filter,
    JobFinished,
    PerformanceIndicators,
    PipelineRun,
    PipelineRunner,
    Release,
    Row,
    RunFailed,
    RunPipelineError,
    RunRecord,
    Settings,
    Status,
    StepTiming,
    run_job,
    run_pipeline,
)


def one_row(row: Row, *, instrument: str, connection: Connection) -> Row | None:
    """A row function: rows are dictionaries by column."""
    return {**row, "instrument": instrument} if row else None


def several_rows(row: Row) -> Iterator[Row]:
    """A row function that gives any number of rows."""
    yield row


async def coroutine(row: Row) -> Row:
    """A row function that waits for something."""
    return row


async def observe(settings: Settings) -> AsyncIterator[Status]:
    """An application that runs a pipeline, watches it, and reads its record."""

    def on_event(event: Event) -> None:
        if isinstance(event, JobFinished):
            assert_type(event.record, RunRecord)

    async with PipelineRunner.open(settings) as pipelines:
        assert_type(pipelines, PipelineRunner)
        run = await pipelines.run(
            "daily",
            max_workers=4,
            params={"binding": "intake_01"},
            as_of=datetime(2026, 2, 12, tzinfo=UTC),
            fail_fast=True,
            on_event=on_event,
            releases={"score": Release(filters=(Filter(column="binding_id", value="intake_01"),))},
        )
    assert_type(run, PipelineRun)
    assert_type(run.jobs, tuple[RunRecord, ...])
    for job in run.jobs:
        assert_type(job.errors, tuple[ErrorInfo, ...])
        assert_type(job.step_timings, tuple[StepTiming, ...])
        assert_type(job.performance_indicators, PerformanceIndicators | None)
        yield job.status


def script() -> None:
    """A script without an event loop of its own."""
    assert_type(Settings.load("project"), Settings)
    assert_type(run_job("ingest_inbox"), PipelineRun)
    try:
        assert_type(run_pipeline("daily", max_workers_override=4).raise_for_status(), PipelineRun)
    except RunFailed as error:
        print(error.run)
    except RunPipelineError as error:
        assert_type(error.category, str)
