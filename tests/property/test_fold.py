"""Laws of the fold: order, repetition and loss of events."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from runner.events import (
    Event,
    JobFinished,
    JobStarted,
    Landed,
    RunFinished,
    StepFinished,
    from_dict,
    to_dict,
)
from runner.fold import RunFold, fold_run
from runner.ids import new_ulid
from runner.records import PipelineRun, Status, StepTiming
from runner.testing.run_history import run_history

job_ids = st.lists(st.sampled_from(["a", "b.c", "d-e", "f_g"]), unique=True, max_size=4)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """The events of a whole run, some of its jobs failing, some with a second attempt of a step."""
    jobs = draw(job_ids)
    failing = draw(st.sets(st.sampled_from(jobs))) if jobs else set()
    events: list[Event] = []
    for event in run_history(jobs=jobs, failing=sorted(failing), rows=draw(st.integers(0, 10**6))):
        events.append(event)
        if isinstance(event, StepFinished) and draw(st.booleans()):
            again = StepTiming(step_id=event.timing.step_id, op=event.timing.op, duration_ms=7, attempts=2)
            events.append(
                StepFinished(
                    run_id=event.run_id, job_run_id=event.job_run_id, job_id=event.job_id, timing=again
                )
            )
    return events


def fold(events: list[Event], *, alive: bool = False) -> PipelineRun:
    """Fold with the fall-backs that a store would give."""
    return fold_run(events, run_id="R", name="daily", alive=alive)


@given(histories(), st.data())
def test_neither_order_nor_repetition_matters(events: list[Event], data: st.DataObject) -> None:
    """Any shuffle with any duplicates is the same run, also of a part of the events."""
    part = data.draw(st.lists(st.sampled_from(events), unique_by=lambda event: event.event_id))
    twice = data.draw(st.permutations(part + part[: data.draw(st.integers(0, len(part)))]))
    assert fold(twice) == fold(part)


@given(histories(), st.booleans())
def test_event_by_event_is_the_same_as_all_at_once(events: list[Event], alive: bool) -> None:
    """Asking in between does not change the fold."""
    step_by_step = RunFold("R", name="daily")
    for event in events:
        step_by_step.apply(event)
        step_by_step.run(alive=alive)
    assert step_by_step.run(alive=alive) == fold(events, alive=alive)


@given(histories())
def test_what_went_through_a_file_folds_to_the_same(events: list[Event]) -> None:
    """Events as JSON and back make the same records."""
    assert fold([from_dict(json.loads(json.dumps(to_dict(event)))) for event in events]) == fold(events)


@given(histories(), st.data())
def test_every_prefix_accounts_for_every_job(events: list[Event], data: st.DataObject) -> None:
    """However early a run died: it is crashed, each planned job has one record, and landed rows count."""
    length = data.draw(st.integers(1, len(events)))
    prefix = events[:length]
    run = fold(prefix)
    planned = [job_id for job_id, _ in prefix[0].jobs]  # type: ignore[attr-defined]
    begun = {event.job_id for event in prefix if isinstance(event, JobStarted)}
    done = {event.job_id: event.record for event in prefix if isinstance(event, JobFinished)}
    landed = {event.job_id: sum(event.rows.values()) for event in prefix if isinstance(event, Landed)}

    assert [job.job_id for job in run.jobs] == planned
    assert (run.status is Status.CRASHED) == (not any(isinstance(event, RunFinished) for event in prefix))
    for job in run.jobs:
        if job.job_id in done:
            assert job == done[job.job_id]
        elif job.job_id in begun:
            assert job.status is Status.CRASHED
            assert job.errors
            assert job.rows_written == landed.get(job.job_id, 0)
        else:
            assert job.status is Status.SKIPPED


@given(histories(), st.data())
def test_a_living_run_shows_only_what_has_begun(events: list[Event], data: st.DataObject) -> None:
    """While a run lives, jobs that have not begun have no record yet, and nothing is crashed."""
    prefix = events[: data.draw(st.integers(1, len(events) - 1))]
    run = fold(prefix, alive=True)
    begun = {event.job_id for event in prefix if isinstance(event, JobStarted)}
    assert run.status is Status.RUNNING
    assert {job.job_id for job in run.jobs} == begun
    assert all(job.status is not Status.CRASHED for job in run.jobs)


def test_the_last_attempt_of_a_step_counts() -> None:
    """Of two timings of a step, the one with the later id is the step's, in the order of the last attempts."""
    ids = sorted(new_ulid() for _ in range(3))
    timings = [
        StepTiming(step_id="read", op="read", duration_ms=1, rows_read=5),
        StepTiming(step_id="write", op="write", duration_ms=2),
        StepTiming(step_id="read", op="read", duration_ms=3, rows_read=9, attempts=2),
    ]
    events: list[Event] = [
        StepFinished(run_id="R", event_id=event_id, job_run_id="J", job_id="a", timing=timing)
        for event_id, timing in zip(ids, timings, strict=True)
    ]
    (job,) = fold(events, alive=True).jobs
    assert [(t.step_id, t.duration_ms) for t in job.step_timings] == [("write", 2), ("read", 3)]
    assert job.rows_read == 9


def test_landings_of_a_job_add_up() -> None:
    """Each batch lands on its own; a batch seen twice counts once."""
    first = Landed(run_id="R", job_run_id="J", job_id="a", batch=0, rows={"x.a": 10, "x.b": 1})
    second = Landed(run_id="R", job_run_id="J", job_id="a", batch=1, rows={"x.a": 5})
    (job,) = fold([first, second, first]).jobs
    assert (job.status, job.rows_written, job.run_id) == (Status.CRASHED, 16, "J")
