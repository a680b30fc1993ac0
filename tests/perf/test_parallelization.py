"""Waiting overlaps: jobs of 30 s, and an ingest pipeline of 19, by the real clock."""

from __future__ import annotations

import pytest

from tests.perf.commands import Together
from tests.perf.figures import Figure
from tests.perf.waiting import ROWS, SLOW_S, SOURCES, WORKERS, Ingest, ideal_s

pytestmark = [pytest.mark.perf, pytest.mark.timeout(240)]

OVERHEAD = 1.10
"""How much longer than its waits alone the ingest pipeline may take, as a ratio."""


@pytest.mark.usefixtures("slow_runs")
class TestParallelization:
    """The slow runs are started first and sleep while the shorter ones run."""

    @pytest.mark.parametrize("workers", WORKERS)
    def test_19_jobs_take_at_most_a_tenth_longer_than_their_waits_alone(
        self, ingest: Ingest, workers: int, figure: Figure
    ) -> None:
        done, ideal = ingest.runs[workers], ideal_s(SOURCES.values(), workers)
        figure(
            f"19 ingest jobs, {workers} workers",
            f"{done.run_s:.3f} s; ideal {ideal:.3f} s, {done.run_s / ideal:.3f} times; process {done.wall_s:.3f} s",
        )
        assert done.run["rows_written"] == len(SOURCES) * ROWS
        assert ideal <= done.run_s <= OVERHEAD * ideal

    @pytest.mark.parametrize("workers", WORKERS[1:])
    def test_the_speed_up_of_19_jobs_is_at_least_nine_tenths_of_the_ideal_one(
        self, ingest: Ingest, workers: int, figure: Figure
    ) -> None:
        ratio = ingest.runs[1].run_s / ingest.runs[workers].run_s
        ideal = sum(SOURCES.values()) / ideal_s(SOURCES.values(), workers)
        figure(f"19 ingest jobs, speed-up with {workers} workers", f"{ratio:.2f}; ideal {ideal:.2f}")
        assert ratio >= 0.9 * ideal

    def test_two_jobs_of_30_s_take_60_s_in_turn_and_at_most_30_5_s_with_two_workers(
        self, slow_runs: Together, figure: Figure
    ) -> None:
        self.in_turn_and_at_once(slow_runs, "two", 2, figure)

    def test_four_jobs_of_30_s_take_120_s_in_turn_and_at_most_30_5_s_with_four_workers(
        self, slow_runs: Together, figure: Figure
    ) -> None:
        self.in_turn_and_at_once(slow_runs, "four", 4, figure)

    def in_turn_and_at_once(self, runs: Together, name: str, jobs: int, figure: Figure) -> None:
        """Both runs of a pipeline, with as many workers as jobs; the speed-up asked for follows from the times."""
        turn, once = runs[f"{name} in turn"], runs[f"{name} at once"]
        figure(f"{name} jobs of 30 s in turn", f"{turn.run_s:.3f} s; process {turn.wall_s:.3f} s")
        figure(f"{name} jobs of 30 s at once", f"{once.run_s:.3f} s; process {once.wall_s:.3f} s")
        figure(f"{name} jobs of 30 s, speed-up", f"{turn.run_s / once.run_s:.3f}")
        assert once.run["rows_written"] == turn.run["rows_written"] == jobs * ROWS
        assert jobs * SLOW_S <= turn.run_s <= jobs * SLOW_S + 2
        assert SLOW_S <= once.run_s <= SLOW_S + 0.5
        assert turn.run_s / once.run_s >= 0.98 * jobs
