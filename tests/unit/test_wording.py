"""Figures as people read them."""

from __future__ import annotations

import pytest

from runner.cli.sentences import slower_text
from runner.cli.wording import duration, fine_duration
from runner.records import StepRegression


@pytest.mark.parametrize(
    ("ms", "said", "fine"),
    [
        (0, "0 ms", "0 ms"),
        (99.4, "99 ms", "99 ms"),
        (105, "0.1 s", "105 ms"),
        (999.4, "1.0 s", "999 ms"),
        (999.6, "1.0 s", "1.0 s"),
        (12_345, "12.3 s", "12.3 s"),
        (245_000, "4 min 5 s", "4 min 5 s"),
        (7_380_000, "2 h 3 min", "2 h 3 min"),
    ],
)
def test_durations(ms: float, said: str, fine: str) -> None:
    assert (duration(ms), fine_duration(ms)) == (said, fine)


def test_two_times_of_a_short_step_are_seen_to_differ() -> None:
    slower = StepRegression(job_id="a", step_id="read", was_ms=105, is_ms=145, ratio=1.38, runs=20)
    assert slower_text([slower]) == "a.read 1.38 times (145 ms, else 105 ms)"
