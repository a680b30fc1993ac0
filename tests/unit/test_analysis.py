"""Timelines, critical paths and histories of runs that are not as one would like them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from runner.analysis.critical_path import Link, critical_path
from runner.analysis.history import failure_causes, histories
from runner.analysis.timeline import timeline
from runner.analysis.trend import trend
from runner.events import Event, RunFinished, RunStarted
from runner.fold import fold_run
from runner.records import ErrorInfo, PipelineRun, RunRecord, Status, StepTiming
from runner.testing.timed_history import TimedJob, timed_history

START = datetime(2026, 2, 12, 6, tzinfo=UTC)
JOBS = (
    TimedJob(job_id="a", steps={"read": 100.0, "write": 200.0}),
    TimedJob(job_id="b", steps={"read": 100.0, "write": 400.0}),
    TimedJob(job_id="c", steps={"read": 50.0}),
    TimedJob(job_id="last", steps={"read": 100.0}, stage=1),
)
"""With two workers: a and b begin, c follows a, last comes after all."""


def history() -> list[Event]:
    """The events of a run of them."""
    return timed_history("daily", JOBS, started_at=START, max_workers=2)


def run_of(events: list[Event], *, alive: bool = False) -> PipelineRun:
    """The record that they make."""
    return fold_run(events, run_id=events[0].run_id, alive=alive)


def test_a_run_as_bars() -> None:
    bars = timeline(run_of(history()))

    assert [(bar.job_id, bar.ready_ms, bar.start_ms, bar.end_ms, bar.lane) for bar in bars.bars] == [
        ("a", 0, 0, 300, 0), ("b", 0, 0, 500, 1), ("c", 0, 300, 350, 0), ("last", 500, 500, 600, 0),
    ]  # fmt: skip
    assert [(step.step_id, step.start_ms, step.duration_ms) for step in bars.bars[1].steps] == [
        ("read", 0, 100), ("write", 100, 400),
    ]  # fmt: skip
    assert (bars.duration_ms, bars.busy_ms, bars.lanes) == (600, 950, 2)
    assert bars.speedup == pytest.approx(950 / 600)


def test_a_run_that_goes_on_reaches_to_now() -> None:
    events = history()
    begun = [event for event in events if not isinstance(event, RunFinished)][:2]  # a has begun, no more
    run = run_of(begun, alive=True)
    bars = timeline(run, now=START + timedelta(seconds=5))

    assert [(bar.job_id, bar.end_ms, bar.open) for bar in bars.bars] == [("a", 5000, True)]
    assert bars.duration_ms == 5000
    assert timeline(run).bars[0].end_ms == 0
    assert critical_path(run, bars).jobs == ("a",)


def test_a_run_that_crashed_ends_with_its_last_event() -> None:
    events = history()
    middle = next(number for number, event in enumerate(events) if event.timestamp > START)
    run = run_of(events[: middle + 1])

    assert run.status is Status.CRASHED
    bars = timeline(run)
    assert bars.bars[0].open
    assert bars.bars[0].end_ms == bars.duration_ms == 300
    assert bars.not_begun == ("b", "c", "last")


def test_a_clock_that_was_set_back_moves_bars_and_stretches_none() -> None:
    run = run_of(history())
    early = replace(run.jobs[3], started_at=START - timedelta(hours=1))
    bars = timeline(replace(run, jobs=(*run.jobs[:3], early)))

    assert (bars.bars[3].start_ms, bars.bars[3].duration_ms) == (0, 100)


def test_a_path_leads_through_slots_and_stages() -> None:
    path = critical_path(run_of(history()))

    assert path.jobs == ("b", "last")
    one_worker = critical_path(run_of(timed_history("daily", JOBS, started_at=START, max_workers=1)))
    assert one_worker.jobs == ("a", "b", "c", "last")
    assert [segment.link for segment in one_worker.segments] == [Link.START, Link.SLOT, Link.SLOT, Link.ORDER]
    assert one_worker.behind_slots_ms == 800


def test_records_that_do_not_tell_their_order_are_put_in_order_by_time() -> None:
    """A job becomes ready in the moment in which another ends."""
    run = run_of(history())
    old = replace(run, barriers={}, jobs=tuple(replace(job, queue="", waits_for=()) for job in run.jobs))

    assert critical_path(old).segments == critical_path(run).segments


def test_a_wait_that_nobody_stood_in_the_way_of_is_told_as_a_wait() -> None:
    """Its slot was held by something that the run does not know."""
    job = RunRecord(
        run_id="", job_id="a", status=Status.SUCCESS, queue="mail",
        started_at=START + timedelta(milliseconds=400), duration_ms=100, queue_ms=300,
    )  # fmt: skip
    run = PipelineRun(
        pipeline_run_id="R",
        pipeline_id="a",
        status=Status.SUCCESS,
        started_at=START,
        duration_ms=520,
        jobs=(job,),
    )
    path = critical_path(run)

    assert [(segment.kind, segment.start_ms, segment.end_ms) for segment in path.segments] == [
        ("engine", 0, 100), ("queue", 100, 400), ("job", 400, 500), ("engine", 500, 520),
    ]  # fmt: skip
    assert path.behind_slots_ms == 300


def test_who_set_a_slot_free_ended_before_it_was_taken() -> None:
    """Another that ended a moment after that had no part in it."""
    jobs = [TimedJob(job_id="a", steps={"read": 300.0}), TimedJob(job_id="b", steps={"read": 303.0})]
    run = run_of(timed_history("daily", [*jobs, *JOBS[2:3]], started_at=START, max_workers=2))
    taken = replace(run.jobs[2], started_at=START + timedelta(milliseconds=300.4), queue_ms=300.4)

    assert critical_path(replace(run, duration_ms=351, jobs=(*run.jobs[:2], taken))).jobs == ("a", "c")


def test_a_slot_that_came_long_after_the_one_before_had_ended_was_waited_for() -> None:
    """Another run, or something that left no record, had it meanwhile."""
    run = run_of(timed_history("daily", JOBS[:2], started_at=START, max_workers=1))
    late = replace(run.jobs[1], started_at=START + timedelta(milliseconds=800), queue_ms=800)
    path = critical_path(replace(run, duration_ms=1300, jobs=(run.jobs[0], late)))

    assert [(segment.kind, segment.job_id, segment.end_ms) for segment in path.segments] == [
        ("job", "a", 300), ("queue", "b", 800), ("job", "b", 1300),
    ]  # fmt: skip
    assert path.behind_slots_ms == 800


def test_damaged_records_that_wait_for_each_other_have_a_path_all_the_same() -> None:
    run = run_of(history())
    circle = replace(run, barriers={"x": ("y",), "y": ("x",)})
    waiting = replace(run.jobs[3], waits_for=("x",))

    assert critical_path(replace(circle, jobs=(*run.jobs[:3], waiting))).jobs[-1] == "last"


def test_a_long_chain_of_barriers_needs_no_recursion() -> None:
    run = run_of(history())
    chain = {f"n{number}": (f"n{number + 1}",) for number in range(5000)}
    job = replace(run.jobs[3], waits_for=("n0",))
    run = replace(run, barriers={**chain, "n5000": ("b",)}, jobs=(*run.jobs[:3], job))

    assert critical_path(run).jobs == ("b", "last")


def test_a_history_tells_what_can_be_compared() -> None:
    """Failures count, their times do not; a job with errors is none that is partly good."""
    good = run_of(history())
    error = ErrorInfo(category="quota", message="too much")
    skipped = ErrorInfo(category="skipped", message="needs a")
    bad_job = replace(good.jobs[0], status=Status.PARTIAL, errors=(error,), duration_ms=9e9)
    bad = replace(good, jobs=(bad_job, replace(good.jobs[1], status=Status.FAILURE, errors=(skipped,))))
    found = histories([good, bad])

    assert found["a", ""].durations == [300]
    assert [point.status for point in found["a", ""].points] == [Status.SUCCESS, Status.FAILURE]
    assert found["b", "write"].op == "write"
    assert list(found)[:3] == [("a", ""), ("a", "read"), ("a", "write")]
    assert found["a", "write"].rows_per_second == 300
    assert failure_causes([good, bad]) == {"quota": 1}


def test_a_share_is_of_all_runs_also_of_those_that_had_another_name_for_it() -> None:
    """A step that was renamed after one of four runs is no bottleneck of all four."""

    def run(number: int, step_id: str) -> PipelineRun:
        jobs = [TimedJob(job_id="a", steps={step_id: 900.0, "write": 100.0})]
        return run_of(timed_history("a", jobs, started_at=START + timedelta(days=number)))

    found = histories([run(0, "old"), *(run(number, "new") for number in range(1, 4))])
    assert found["a", "old"].share == pytest.approx(0.9 / 4)
    assert found["a", "new"].share == pytest.approx(0.9 * 3 / 4)
    assert found["a", ""].share == pytest.approx(1)


def test_a_run_that_did_not_end_has_no_shares() -> None:
    """In which of its steps its time went is not known; that its job crashed is."""
    events = timed_history(
        "a", [TimedJob(job_id="a", steps={"read": 100.0, "write": 900.0})], started_at=START
    )
    crashed = run_of(events[:2])
    found = histories([run_of(events), crashed])

    assert found["a", "write"].share == pytest.approx(0.9)
    assert [point.status for point in found["a", ""].points] == [Status.SUCCESS, Status.CRASHED]


def test_steps_of_a_job_that_failed_are_not_compared() -> None:
    """What the first of a hundred batches took, before another step failed, is not what reading takes."""
    error = ErrorInfo(category="function", message="no")
    good = TimedJob(job_id="a", steps={"read": 100.0, "score": 900.0})
    bad = TimedJob(job_id="a", steps={"read": 1.0, "score": 9.0}, error=error)
    runs = [
        run_of(timed_history("a", [job], started_at=START + timedelta(days=number)))
        for number, job in enumerate((good, bad))
    ]
    found = histories(runs)

    assert found["a", "read"].durations == [100]
    assert [point.status for point in found["a", "read"].points] == [Status.SUCCESS, Status.SUCCESS]
    assert found["a", "score"].durations == [900]


def test_a_failure_is_counted_once_in_the_job_or_in_the_run() -> None:
    """A run that was killed says so for itself and for the job that it was in: that is one crash."""
    crashed = run_of(history()[:2])
    empty = run_of(history()[:1])
    assert [error.category for error in (*crashed.errors, *crashed.jobs[0].errors)] == ["crashed"] * 2
    assert failure_causes([crashed]) == {"crashed": 1}
    assert failure_causes([empty, crashed]) == {"crashed": 2}


def test_a_single_slow_run_is_no_trend() -> None:
    assert trend([100.0] * 20 + [500.0]).word == "steady"
    assert trend([100.0, 200.0] * 2).word == "unknown"
    assert trend([]).word == "unknown"
    assert trend([100.0] * 30 + [101.0] * 30).word == "steady"


def test_the_start_of_a_run_tells_the_order_of_its_stages() -> None:
    """What the other tests take for granted of the histories that they are made from."""
    started = history()[0]
    assert isinstance(started, RunStarted)
    assert started.waits_for == {"last": ("daily/0",)}
    assert started.barriers["daily/0"] == ("a", "b", "c")


def test_no_run_has_no_path() -> None:
    empty = PipelineRun(pipeline_run_id="R", pipeline_id="a", status=Status.SUCCESS, started_at=START)
    assert critical_path(empty).segments == ()
    assert timeline(empty).lanes == 0
    assert critical_path(empty).shares() == {}
    step = StepTiming(step_id="read")
    assert (
        histories(
            [
                replace(
                    empty,
                    jobs=(RunRecord(run_id="", job_id="a", status=Status.SKIPPED, step_timings=(step,)),),
                )
            ]
        )
        == {}
    )
