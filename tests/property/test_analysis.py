"""Laws of what records tell about time."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.analysis.critical_path import CriticalPath, path_of
from runner.analysis.history import histories
from runner.analysis.quantiles import mad, median, p95, quantile
from runner.analysis.timeline import timeline
from runner.analysis.trend import trend
from runner.records import PipelineRun, RunRecord, Status, StepTiming

START = datetime(2026, 2, 12, 6, tzinfo=UTC)
numbers = st.floats(0, 1e9)


def record(job_id: str, start_ms: float, duration_ms: float, queue_ms: float = 0) -> RunRecord:
    """A job that succeeded, with two steps."""
    started = START + timedelta(milliseconds=start_ms)
    return RunRecord(
        run_id="",
        job_id=job_id,
        status=Status.SUCCESS,
        started_at=started,
        completed_at=started + timedelta(milliseconds=duration_ms),
        duration_ms=duration_ms,
        queue_ms=queue_ms,
        step_timings=(
            StepTiming(step_id="read", op="read", duration_ms=duration_ms * 0.25),
            StepTiming(step_id="write", op="write", duration_ms=duration_ms * 0.75),
        ),
    )


def a_run(jobs: Sequence[RunRecord], duration_ms: float) -> PipelineRun:
    """A run of them."""
    return PipelineRun(
        pipeline_run_id="R", pipeline_id="daily", status=Status.SUCCESS, started_at=START,
        duration_ms=duration_ms, jobs=tuple(jobs),
    )  # fmt: skip


@st.composite
def any_runs(draw: st.DrawFn) -> PipelineRun:
    """Runs with jobs anywhere, as clocks that were set may have put them: also outside of the run."""
    spans = draw(st.lists(st.tuples(st.integers(-50, 500), st.integers(0, 300), st.integers(0, 400))))
    jobs = [record(f"j{number}", *span) for number, span in enumerate(spans)]
    return a_run(jobs, draw(st.integers(0, 600)))


@st.composite
def ordered_runs(draw: st.DrawFn) -> tuple[PipelineRun, Mapping[str, Sequence[str]], float]:
    """Runs whose jobs start when all that they wait for has ended, what each waits for, and the longest way."""
    count = draw(st.integers(1, 12))
    waits: dict[str, list[str]] = {}
    ends: dict[str, int] = {}
    jobs = []
    for number in range(count):
        earlier = [f"j{other}" for other in range(number)]
        before = draw(st.lists(st.sampled_from(earlier), unique=True)) if earlier else []
        start = max((ends[other] for other in before), default=0)
        duration = draw(st.integers(1, 1000))
        waits[f"j{number}"] = before
        ends[f"j{number}"] = start + duration
        jobs.append(record(f"j{number}", start, duration))
    return a_run(jobs, max(ends.values())), waits, max(ends.values())


def is_a_chain(path: CriticalPath, duration_ms: float) -> None:
    """From 0 to the end, each moment once, no job twice."""
    if duration_ms > 0:
        assert path.segments[0].start_ms == 0
        assert path.segments[-1].end_ms == duration_ms
    for one, other in pairwise(path.segments):
        assert one.end_ms == other.start_ms
    assert all(segment.duration_ms > 0 for segment in path.segments)
    assert len(set(path.jobs)) == len(path.jobs)
    explained = path.time_of("job") + path.time_of("queue") + path.time_of("engine")
    assert explained == pytest.approx(duration_ms)


@given(any_runs())
def test_a_path_covers_its_run_once(run: PipelineRun) -> None:
    """Whatever the records say."""
    bars = timeline(run)
    is_a_chain(path_of(bars, {}), bars.duration_ms)


@given(any_runs())
def test_bars_of_a_lane_do_not_overlap(run: PipelineRun) -> None:
    """And there are as many lanes as bars at once; steps lie within their bar and are as long as they were."""
    bars = timeline(run)
    by_lane: dict[int, float] = {}
    for bar in sorted(bars.bars, key=lambda bar: (bar.start_ms, bar.end_ms)):
        assert by_lane.get(bar.lane, 0.0) <= bar.start_ms
        by_lane[bar.lane] = bar.end_ms
        assert bar.steps[0].start_ms == bar.start_ms
        assert bar.steps[-1].start_ms + bar.steps[-1].duration_ms == pytest.approx(bar.end_ms)
    moments = [bar.start_ms for bar in bars.bars]
    at_once = [sum(bar.start_ms <= at < bar.end_ms for bar in bars.bars) for at in moments]
    instant = sum(bar.duration_ms == 0 for bar in bars.bars)
    assert max(at_once, default=0) <= bars.lanes <= max(at_once, default=0) + instant


@given(ordered_runs())
def test_without_waits_the_path_is_the_longest_way(
    case: tuple[PipelineRun, Mapping[str, Sequence[str]], float],
) -> None:
    """Only jobs are on it, each waits for the one before, and their times are the run's."""
    run, waits, longest = case
    path = path_of(timeline(run), waits)
    is_a_chain(path, longest)
    assert path.time_of("job") == longest
    for one, other in pairwise(path.jobs):
        assert one in waits[other]


@given(ordered_runs(), st.data())
def test_a_path_goes_through_barriers_and_jobs_that_never_began(
    case: tuple[PipelineRun, Mapping[str, Sequence[str]], float], data: st.DataObject
) -> None:
    """A barrier in the place of any list of waits changes nothing, nor does one behind another."""
    run, waits, _ = case
    behind = dict(waits)
    for job_id in data.draw(st.lists(st.sampled_from(sorted(waits)), unique=True)):
        behind[f"end of {job_id}"] = waits[job_id]
        behind[f"again {job_id}"] = [f"end of {job_id}"]
        behind[job_id] = [f"again {job_id}"]
    assert path_of(timeline(run), behind) == path_of(timeline(run), waits)


@given(st.lists(numbers, min_size=2))
def test_quantiles_are_those_of_statistics(values: list[float]) -> None:
    """Python's own module is the oracle."""
    assert median(values) == pytest.approx(statistics.median(values))
    hundredths = statistics.quantiles(values, n=100, method="inclusive")
    assert p95(values) == pytest.approx(hundredths[94])
    middle = statistics.median(values)
    assert mad(values) == pytest.approx(statistics.median(abs(value - middle) for value in values))


@given(st.lists(numbers, min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_quantiles_grow_with_their_part(values: list[float], one: float, other: float) -> None:
    """And lie between least and greatest; equal values have no noise."""
    low, high = sorted((one, other))
    assert min(values) <= quantile(values, low) <= quantile(values, high) <= max(values)
    assert mad([values[0]] * 3) == 0


@given(st.integers(10, 40), st.integers(10, 40), st.floats(1.2, 5))
def test_a_step_in_a_series_is_found_where_it_is(before: int, after: int, factor: float) -> None:
    """With noise of a few percent around both levels: the word, the place and the size."""
    noise = statistics.NormalDist(1, 0.02).samples(before + after, seed=before * 1000 + after)
    values = [100 * part * (factor if place >= before else 1) for place, part in enumerate(noise)]
    found = trend(values)
    assert (found.word, found.since) == ("slower", before)
    assert found.change == pytest.approx(factor - 1, rel=0.2)
    assert trend(values[::-1]).word == "faster"


def test_plain_noise_is_no_trend() -> None:
    """Of 500 series of noise, also coarse, at most two have a word."""
    words = []
    for seed in range(500):
        values = statistics.NormalDist(100, 10).samples(60, seed=seed)
        words.append(trend(values if seed % 2 else [round(value, -1) for value in values]).word)
    assert words.count("steady") >= 498


@given(st.lists(any_runs(), max_size=5))
def test_shares_of_steps_sum_to_their_job(runs: list[PipelineRun]) -> None:
    """And those of all jobs to at most the whole run."""
    found = histories(runs)
    jobs = {job_id: history.share for (job_id, step_id), history in found.items() if not step_id}
    for job_id, share in jobs.items():
        steps = [history.share for (job, step), history in found.items() if job == job_id and step]
        ran = sum(point.duration_ms > 0 for point in found[job_id, ""].points)
        assert sum(steps) == pytest.approx(share) or not ran
    assert sum(jobs.values()) <= 1 + 1e-9
