"""Events: their form in files, and what reading them back accepts and refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.events import (
    EVENT_TYPES,
    Event,
    JobFinished,
    JobPerformance,
    JobRetrying,
    JobStarted,
    Landed,
    Noticed,
    PipelineFinished,
    RunFinished,
    RunStarted,
    StagePerformance,
    StepFinished,
    StepProgress,
    UnknownEvent,
    from_dict,
    to_dict,
)
from runner.records import ErrorInfo, RunRecord, Status, StepTiming

AT = datetime(2026, 2, 12, 6, tzinfo=UTC)
ERROR = ErrorInfo(category="unavailable", message="gone", type="WarehouseUnavailable", step_id="read_me")

ONE_OF_EACH: list[Event] = [
    RunStarted(
        run_id="R",
        name="daily",
        jobs=(("a", "daily/x"), ("b", "")),
        max_workers=None,
        as_of=AT,
        queues={"a": "default", "b": "nightly"},
        waits_for={"b": ("daily/x", "a")},
        needs={"b": ("a",)},
        barriers={"daily/x": ("a",)},
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        parent_span_id="00f067aa0ba902b7",
        pid=7,
    ),
    JobStarted(run_id="R", job_run_id="J", job_id="a", group="daily/x", queue_ms=1.5),
    StepProgress(run_id="R", job_run_id="J", job_id="a", step_id="read_me", rows=10_000),
    StepFinished(run_id="R", job_run_id="J", job_id="a", timing=StepTiming(step_id="read_me", op="read")),
    JobRetrying(run_id="R", job_run_id="J", job_id="a", attempt=1, delay_ms=500, error=ERROR),
    Landed(run_id="R", job_run_id="J", job_id="a", batch=0, rows={"derived.observations": 429}),
    JobFinished(
        run_id="R",
        job_run_id="J",
        job_id="a",
        record=RunRecord(run_id="J", job_id="a", status=Status.FAILURE, started_at=AT, errors=(ERROR,)),
    ),
    Noticed(
        run_id="R", level="warning", code="incremental.ineffective", message="…", details={"keys": ["x"]}
    ),
    JobPerformance(
        run_id="R",
        kind="formation.performance",
        job_run_id="J",
        job_id="a",
        status=Status.SUCCESS,
        duration_ms=16_000,
        queue_ms=1.5,
        query_ms=2134,
        transform_ms=11_702,
        write_ms=1164,
        rows_read=60,
        rows_written=429,
        warehouse={"queries": 2},
    ),
    StagePerformance(
        run_id="R",
        stage="ingest",
        group="daily/ingest",
        status=Status.PARTIAL,
        job_count=5,
        max_workers=4,
        duration_ms=60.5,
        speedup_potential=2.5,
        actual_speedup=2.25,
        actual_per_job=12.1,
    ),
    PipelineFinished(
        run_id="R",
        status=Status.PARTIAL,
        duration_ms=61,
        setup_ms=2,
        queue_ms=3,
        jobs_ms=120,
        job_count=6,
        job_statuses={"success": 5, "failure": 1},
        max_workers=None,
        rows_read=60,
        rows_written=429,
        rows_quarantined=0,
        peak_memory_bytes=7,
    ),
    RunFinished(run_id="R", status=Status.PARTIAL, duration_ms=3.25, peak_memory_bytes=7, errors=(ERROR,)),
]


def test_there_is_an_example_of_each() -> None:
    """A new event belongs into the list above."""
    assert [type(event) for event in ONE_OF_EACH] == list(EVENT_TYPES.values())


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: event.event_type)
def test_an_event_comes_back_from_its_json(event: Event) -> None:
    """Every field, by way of JSON text; the type stands first, for those who read the file."""
    data = to_dict(event)
    assert next(iter(data)) == "event_type"
    assert from_dict(json.loads(json.dumps(data))) == event


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: event.event_type)
def test_members_of_a_newer_version_are_ignored(event: Event) -> None:
    """An older runner reads what it knows."""
    assert from_dict({**to_dict(event), "since_version_9": {"x": 1}}) == event


def test_the_start_of_an_old_run_is_read() -> None:
    """As version 1 wrote it: what it did not know stays empty."""
    old = json.loads(
        """{"event_type":"run.started","run_id":"01KH4SATJ0ZZZZZZZZZZZZZZZZ",
        "event_id":"01KH4SATJ1ZZZZZZZZZZZZZZZZ","timestamp":"2026-02-12T06:00:00.000000Z","name":"shop",
        "jobs":[["load_orders","shop/load"]],"max_workers":null,"as_of":"2026-02-12T06:00:00.000000Z",
        "params":{},"retry_of":null,"rescore":false,"notify":true,"setup_ms":69.1,"version":"0.1.0",
        "host":"example","pid":77}"""
    )
    started = from_dict(old)
    assert isinstance(started, RunStarted)
    assert (started.queues, started.waits_for, started.needs, started.barriers) == ({}, {}, {}, {})
    assert (started.trace_id, started.parent_span_id) == ("", "")


def test_one_field_can_be_left_out() -> None:
    """What is encoded already need not be rendered again."""
    event = ONE_OF_EACH[1]
    assert to_dict(event, without="group") == {k: v for k, v in to_dict(event).items() if k != "group"}


def test_an_unknown_type_is_named() -> None:
    """It is not skipped: whoever reads must know that something is missing."""
    with pytest.raises(UnknownEvent, match=r"unknown event type 'job\.teleported'"):
        from_dict({"event_type": "job.teleported"})


@pytest.mark.parametrize(
    "change",
    [{"timestamp": "2026-02-12T06:00"}, {"timestamp": "yesterday"}, {"status": "fine"}, {"errors": [{}]}],
)
def test_values_that_cannot_be_are_refused(change: dict[str, object]) -> None:
    """A naive or unreadable time, an unknown status, an error without its text."""
    with pytest.raises((ValueError, TypeError)):
        from_dict({**to_dict(ONE_OF_EACH[-1]), **change})


def test_only_progress_is_not_written() -> None:
    """Everything else is part of a run's account."""
    assert [cls.event_type for cls in EVENT_TYPES.values() if not cls.durable] == ["step.progress"]


@given(st.lists(st.integers(-(86_400_000_000_000), 86_400_000_000_000), min_size=1, max_size=20))
def test_ids_of_events_grow_whatever_the_clock_does(jumps: list[int]) -> None:
    """In the order in which events were made, over jumps of up to a day: the fold relies on it."""
    now = 1_770_876_000_000_000_000
    ids = [new_event().event_id]
    with pytest.MonkeyPatch.context() as patch:
        for jump in jumps:
            now += jump
            patch.setattr("time.time_ns", lambda: now)  # noqa: B023 - used before the next turn
            ids += [new_event().event_id for _ in range(20)]
    assert ids == sorted(set(ids))


def new_event() -> Event:
    """Any event, made now."""
    return JobStarted(run_id="R", job_run_id="J", job_id="a")
