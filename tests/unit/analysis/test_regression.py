"""Which steps are named as slower: on simulated histories with the noise of a machine that also does other things.

The noise model of the simulations: log-normal with a standard deviation of 5 % (8 % in the harder one), and one time in
fifty something else gets in the way and it takes 1.5 to 4 times as long. Each step of a job has noise of its own.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

import pytest

from runner.analysis.regression import (
    BASELINE,
    ENOUGH,
    LATEST,
    LOOK_BACK,
    RunTimes,
    StepTime,
    regressions,
)
from runner.fold import fold_run
from runner.records import StepRegression
from runner.testing.run_history import run_history

USUAL = {
    "read_me": 2134.0,
    "prepare": 234.0,
    "score": 10_234.0,
    "shape": 1234.0,
    "validate": 234.0,
    "write": 1164.0,
}
"""Milliseconds of the sample record's steps."""


def one(duration_ms: float, rows: int = 60, *, workers: int | None = None) -> RunTimes:
    """A run of a job with one step."""
    return RunTimes(workers, {("job", "score"): StepTime(duration_ms, rows)})


def noisy(random_: random.Random, sigma: float) -> float:
    """The factor by which a time differs from the usual."""
    factor = math.exp(random_.gauss(0, sigma))
    return factor * random_.uniform(1.5, 4) if random_.random() < 0.02 else factor


def simulated(seed: int, runs: int, *, sigma: float = 0.05, slow_from: int | None = None) -> list[RunTimes]:
    """Runs of the sample's job, oldest first; from `slow_from` on `score` takes 1.5 times as long."""
    random_ = random.Random(seed)
    made = []
    for number in range(runs):
        slower = 1.5 if slow_from is not None and number >= slow_from else 1
        made.append(
            RunTimes(
                None,
                {
                    ("form_obs", step): StepTime(
                        usual * noisy(random_, sigma) * (slower if step == "score" else 1),
                        random_.randint(57, 63),
                    )
                    for step, usual in USUAL.items()
                },
            )
        )
    return made


def named(runs: Sequence[RunTimes]) -> Iterator[tuple[int, StepRegression]]:
    """Everything that each run names when it compares itself with those before it."""
    for number, run in enumerate(runs):
        for found in regressions(run, reversed(runs[max(0, number - LOOK_BACK) : number])):
            yield number, found


@pytest.mark.parametrize("sigma", [0.05, 0.08])
def test_500_runs_of_plain_noise_raise_at_most_one_alarm(sigma: float) -> None:
    """3,000 times of steps, with the accidents that happen; three histories."""
    for seed in range(3):
        assert len(list(named(simulated(seed, 500, sigma=sigma)))) <= 1


@pytest.mark.parametrize("slow_from", [ENOUGH + LATEST - 1, 30, 60])
def test_a_step_made_slower_is_named_within_three_runs(slow_from: int) -> None:
    """In each of 20 histories, also in short ones: which step, and by how much."""
    for seed in range(20):
        found = [
            item
            for item in named(simulated(seed, slow_from + 3, slow_from=slow_from))
            if item[0] >= slow_from
        ]
        assert [(number - slow_from, what.step_id) for number, what in found] == [(2, "score")], seed
        assert found[0][1].was_ms == pytest.approx(10_234, rel=0.1)
        assert found[0][1].ratio == round(found[0][1].is_ms / found[0][1].was_ms, 2) >= 1.2
        assert found[0][1].runs == min(slow_from, BASELINE)


def test_the_slower_time_becomes_the_usual_one() -> None:
    """It is named while most of the runs before were quicker, then no longer."""
    numbers = [number for number, _ in named(simulated(1, 100, slow_from=40))]
    assert numbers[0] == 42
    assert numbers[-1] < 40 + LATEST + BASELINE
    assert len(numbers) > 5


def test_accidents_name_nothing() -> None:
    """One slow run, and two of them: the third is what counts."""
    quick, slow = [one(1000)] * 22, one(5000)
    assert regressions(slow, quick) == ()
    assert regressions(slow, [slow, *quick]) == ()
    (found,) = regressions(slow, [slow, slow, *quick])
    assert found == StepRegression(job_id="job", step_id="score", was_ms=1000, is_ms=5000, ratio=5, runs=20)
    assert regressions(one(1000), [slow, slow, *quick]) == ()


def test_little_history_names_nothing() -> None:
    """How noisy a step is must be known first."""
    slow = one(5000)
    assert regressions(slow, [slow, slow, *[one(1000)] * (ENOUGH - 1)]) == ()
    assert len(regressions(slow, [slow, slow, *[one(1000)] * ENOUGH])) == 1


def test_only_runs_of_similar_size_are_compared() -> None:
    """A large run is no slow one; large runs that got slower are found between small ones."""
    small, large, slow = one(1000, 60), one(9000, 600), one(18_000, 600)
    assert regressions(large, [large, large, *[small] * 30]) == ()
    mixed = [run for pair in zip([large] * 22, [small] * 22, strict=True) for run in pair]
    (found,) = regressions(slow, [small, slow, small, slow, *mixed])
    assert (found.was_ms, found.ratio, found.runs) == (9000, 2, 20)


@pytest.mark.parametrize(
    ("rows", "other", "similar"),
    [(0, 0, True), (0, 1, False), (1, 0, False), (60, 75, True), (60, 76, False)],
)
def test_similar_size(rows: int, other: int, similar: bool) -> None:
    """No rows are like no rows only."""
    assert StepTime(1, rows).resembles(StepTime(1, other)) is similar


def test_other_workers_are_another_matter() -> None:
    """With eight at once each of them is slower on two CPUs, which is no regression of a step."""
    slow = one(2000, workers=8)
    assert regressions(slow, [slow, slow, *[one(1000, workers=2)] * 30]) == ()


def test_what_is_short_or_little_is_not_named() -> None:
    """1.15 times as slow, and 15 ms more, are nothing to look into."""
    slow = one(1150)
    assert regressions(slow, [slow, slow, *[one(1000)] * 20]) == ()
    short = one(25)
    assert regressions(short, [short, short, *[one(10)] * 20]) == ()
    assert RunTimes(
        None, {("j", "a"): StepTime(20, 0), ("j", "b"): StepTime(21, 0)}
    ).long_enough() == RunTimes(None, {("j", "b"): StepTime(21, 0)})


def test_no_more_history_is_read_than_is_needed() -> None:
    """None for a run that found nothing to do, and just enough for any other."""
    read: list[int] = []

    def before(duration_ms: float) -> Iterator[RunTimes]:
        for number in range(1000):
            read.append(number)
            yield one(duration_ms)

    assert regressions(one(5, 0).long_enough(), before(5)) == ()
    assert read == []
    regressions(one(1000), before(1000))
    assert len(read) == LATEST - 1 + BASELINE
    read.clear()
    regressions(one(1000, rows=1), before(1000))
    assert len(read) == LOOK_BACK


def test_times_of_a_record() -> None:
    """Only what succeeded at its first attempt."""
    events = run_history(jobs=["a", "b"], failing=["b"], rows=7)
    data = fold_run(events, run_id=events[0].run_id).to_dict()
    data["jobs"][0]["step_timings"][1]["attempts"] = 2
    times = RunTimes.from_dict(data)
    assert times == RunTimes(1, {("a", "read_me"): StepTime(400, 7)})
    assert RunTimes.from_dict(data, of=[("a", "write")]) == RunTimes(1, {})
