"""What runs of real waiting tell about themselves, and what is predicted from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.perf.commands import command
from tests.perf.figures import Figure
from tests.perf.waiting import SOURCES, WORKERS, Ingest

pytestmark = [pytest.mark.perf, pytest.mark.timeout(120)]


class TestRunRecordObservability:
    """Of the 19 jobs of the ingest pipeline, which test_parallelization.py ran."""

    @pytest.mark.parametrize("workers", WORKERS)
    def test_what_if_is_within_5_percent_of_the_run_for_each_number_of_workers(
        self, ingest: Ingest, workers: int, figure: Figure
    ) -> None:
        """Predicted from three runs with one worker, before there were others."""
        predicted, real = ingest.predicted_ms[workers], ingest.runs[workers].run["duration_ms"]
        figure(
            f"19 ingest jobs, --what-if max_workers={workers}",
            f"{predicted / 1000:.3f} s predicted, {real / 1000:.3f} s; {100 * (predicted / real - 1):+.1f} %",
        )
        assert predicted == pytest.approx(real, rel=0.05)

    @pytest.mark.parametrize("workers", WORKERS)
    def test_steps_sum_to_their_jobs_and_the_waits_are_told_as_they_were(
        self, ingest: Ingest, workers: int, figure: Figure
    ) -> None:
        """All together within 2 %; no wait is told shorter than it was, and all together at most 5 % longer."""
        gaps, longer = [], []
        jobs = ingest.runs[workers].run["jobs"]
        for job in jobs:
            steps = {step["step_id"]: step["duration_ms"] for step in job["step_timings"]}
            gaps.append(job["duration_ms"] - sum(steps.values()))
            longer.append(steps["extract"] - 1000 * SOURCES[job["job_id"]])
            assert job["performance_indicators"]["bottleneck_step"] == "extract"
        figure(
            f"19 ingest jobs, {workers} workers, accounts",
            f"at most {max(gaps):.1f} ms of a job in no step, waits told {max(longer):.1f} ms too long at most",
        )
        assert min(gaps) >= -0.01
        assert sum(gaps) <= 0.02 * sum(job["duration_ms"] for job in jobs)
        assert min(longer) >= 0
        assert sum(longer) <= 0.05 * 1000 * sum(SOURCES.values())

    @pytest.mark.parametrize("workers", WORKERS)
    def test_the_event_of_the_stage_agrees_with_the_record_of_the_run(
        self, project: Path, ingest: Ingest, workers: int
    ) -> None:
        """As `ops.event_log` has it, once."""
        run, jobs = ingest.runs[workers].run, len(SOURCES)
        said = command(
            project, ingest.state, "events", "--run", run["pipeline_run_id"],
            "--type", "ingest.parallel_performance", "--from", "warehouse", "-o", "json",
        )  # fmt: skip
        (event,) = json.loads(said)
        payload = event["payload"]
        assert (event["producer_component"], event["correlation_id"]) == (
            "pipeline.ingest",
            run["pipeline_run_id"],
        )
        assert (payload["job_count"], payload["max_workers"]) == (jobs, workers)
        assert payload["speedup_potential"] == pytest.approx(jobs / -(-jobs // workers), abs=0.005)
        assert sum(job["duration_ms"] for job in run["jobs"]) / payload["duration_ms"] == pytest.approx(
            payload["actual_speedup"], rel=0.01
        )
        assert payload["duration_ms"] <= run["duration_ms"]
