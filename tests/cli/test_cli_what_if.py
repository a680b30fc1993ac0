"""stats --what-if: what is said, and that real runs then take as long."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from runner.records import ErrorInfo
from runner.testing.timed_history import TimedJob, timed_history
from tests.cli.demo_project import DemoProject
from tests.cli.test_cli_stats import put

InProject = Callable[..., int]
Captured = pytest.CaptureFixture[str]
NAPS = {"nap_a": 0.5, "nap_b": 0.4, "nap_c": 0.6, "nap_d": 0.3, "nap_last": 0.4}
CODE = """
import time

def nap(seconds: float):
    time.sleep(seconds)
    yield {"person_id": "x", "name": "y"}

def keep(row: dict[str, object]) -> dict[str, object]:
    return row
"""
JOB = """\
job_id: {name}
steps:
  - {{step_id: fetch, op: extract, function: "demo_jobs.naps:nap", with: {{seconds: {seconds}}}}}
  - {{step_id: keep, op: call, function: "demo_jobs.naps:keep"}}
"""
PIPELINE = """\
pipeline_id: naps
stages:
  - {name: first, jobs: [nap_a, nap_b, nap_c, nap_d], max_workers: 2}
  - {name: second, jobs: [nap_last]}
"""


@pytest.fixture
def napping(project: DemoProject) -> DemoProject:
    """A pipeline of jobs that only sleep, which has run once."""
    project.write("demo_jobs/naps.py", CODE)
    for name, seconds in NAPS.items():
        project.write(f"configs/jobs/{name}.yaml", JOB.format(name=name, seconds=seconds))
    project.write("configs/pipelines/naps.yaml", PIPELINE)
    done = project.run("naps", "-q")
    assert done.returncode == 0, done.stderr
    return project


def predictions(project: DemoProject, *workers: int) -> dict[str, Any]:
    """The prediction as data."""
    words = [word for number in workers for word in ("--what-if", f"max_workers={number}")]
    done = project.run("stats", "naps", *words, "-o", "json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_stages_are_predicted_and_what_holds_the_run_is_named(napping: DemoProject) -> None:
    found = predictions(napping, 1, 4)

    one, four = found["predictions"]
    # Sums of sleeps, which may last longer on a busy machine, but never less.
    assert one["stages_ms"]["naps/first"] >= 1800
    assert one["duration_ms"] >= 2200
    assert 600 <= four["stages_ms"]["naps/first"] < found["declared"]["stages_ms"]["naps/first"]
    assert found["unlimited"]["critical_path"]["jobs"] == ["nap_c", "nap_last"]
    told = napping.run("stats", "naps", "--what-if", "max_workers=4")
    assert told.returncode == 0, told.stderr
    assert "with 4 workers 1." in told.stdout
    assert ": nap_c, then nap_last" in told.stdout


@pytest.mark.perf
def test_runs_take_as_long_as_was_predicted(napping: DemoProject) -> None:
    """Within 5 % for each number of workers, and each stage."""
    workers = (1, 2, 3, 4)
    found = predictions(napping, *workers)

    for number, predicted in zip(workers, found["predictions"], strict=True):
        done = napping.run("naps", "--max-workers", str(number), "-o", "json")
        run = json.loads(done.stdout)
        print(number, predicted["duration_ms"], run["duration_ms"])
        assert predicted["duration_ms"] == pytest.approx(run["duration_ms"], rel=0.05)


@pytest.mark.parametrize("change", ["max_workers", "max_workers=0", "max_workers=many", "queues=3"])
def test_what_cannot_be_predicted_is_refused(change: str, in_project: InProject, capsys: Captured) -> None:
    assert in_project("stats", "hello", "--what-if", change) == 2
    assert "cannot be predicted; expected max_workers=1" in capsys.readouterr().err


def test_without_a_success_nothing_is_predicted(
    project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    job = TimedJob(
        job_id="load_people", steps={"fetch": 1.0}, error=ErrorInfo(category="data", message="bad")
    )
    put(project, timed_history("hello", [job], started_at=datetime.now(UTC)), name="hello")
    assert in_project("stats", "hello", "--what-if", "max_workers=2") == 2
    assert "no run of 'hello' has succeeded" in capsys.readouterr().err
