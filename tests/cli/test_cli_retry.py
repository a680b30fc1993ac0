"""`retry`: just what a run owes, with what the run was given, as a run of its own."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.demo_project import JOB, REPOSITORY, DemoProject

BROKEN = "    raise RuntimeError('the disk of the archive is away')\n"


@pytest.fixture
def daily(tmp_path: Path, python: str) -> Iterator[DemoProject]:
    """A copy of the reference project, with state of its own."""
    folder = tmp_path / "project"
    for name in ("configs", "jobs"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    made = DemoProject(folder, python)
    yield made
    made.end()


def record(project: DemoProject, *args: str, code: int = 0, **env: str) -> dict[str, Any]:
    """Run a command that prints a run, and return that."""
    done = project.run(*args, "-o", "json", **env)
    assert done.returncode == code, done.stderr
    run: dict[str, Any] = json.loads(done.stdout)
    return run


def jobs(run: dict[str, Any]) -> dict[str, str]:
    """Return status by job id."""
    return {job["job_id"]: job["status"] for job in run["jobs"]}


def break_function(project: DemoProject, file: str, head: str) -> str:
    """Make a function of the project fail, and return the text of its file as it was."""
    path = project.folder / file
    sound = path.read_text(encoding="utf-8")
    assert head in sound
    start = sound.index("\n", sound.index(head)) + 1
    path.write_text(sound[:start] + BROKEN + sound[start:], encoding="utf-8")
    return sound


def test_after_a_failure_in_daily_retry_runs_what_is_owed_and_daily_has_nothing_left_to_do(
    daily: DemoProject,
) -> None:
    file = "jobs/forms/canonical.py"
    sound = break_function(daily, file, "def canonize(")
    first = record(daily, "daily", "--fail-fast", code=1)
    owed = [job_id for job_id, status in jobs(first).items() if status in ("failure", "cancelled", "skipped")]
    assert jobs(first)["canonize_forms"] == "failure"
    assert {"form_me_intake_01", "form_obs_followup"} < set(owed)
    assert not any(job_id.startswith("ingest_") for job_id in owed)
    (daily.folder / file).write_text(sound, encoding="utf-8")

    second = record(daily, "retry", "last")
    assert list(jobs(second)) == owed
    assert set(jobs(second).values()) <= {"success", "partial"}, (
        "partial: the samples hold rows for the quarantine"
    )
    assert (second["retry_of"], second["pipeline_id"]) == (first["pipeline_run_id"], "daily")
    assert second["as_of"] == first["as_of"]
    assert second["rows_written"] > 0

    third = record(daily, "daily")
    steps = [step for job in third["jobs"] for step in job["step_timings"]]
    assert sum(step["rows_read"] for step in steps if step["op"] in ("read", "extract")) == 0
    assert (third["rows_written"], third["retry_of"]) == (0, None)


def fail_with(project: DemoProject, code: str, name: str = "apply") -> None:
    """Declare a job whose function has this body."""
    project.write(f"configs/jobs/{name}.yaml", JOB.format(name=name, options=""))
    project.write(f"demo_jobs/{name}.py", f"def apply(row):\n    {code}\n")


def test_a_run_that_owes_nothing_is_told_and_is_no_error(loaded: DemoProject) -> None:
    done = loaded.run("retry")
    assert (done.returncode, done.stdout) == (0, "")
    assert "nothing to do: run 01" in done.stderr
    assert "of hello owes nothing" in done.stderr
    assert len(json.loads(loaded.run("runs", "-o", "json").stdout)) == 1


def test_what_is_retried_is_said_and_shown_and_retried_in_turn(loaded: DemoProject) -> None:
    fail_with(loaded, "raise RuntimeError('away')")
    loaded.write("configs/pipelines/both.yaml", "pipeline_id: both\njobs: {apply: {}, greet_people: {}}\n")
    first = record(loaded, "both", code=1)
    second = record(loaded, "retry", code=1)
    assert second["retry_of"] == first["pipeline_run_id"]
    fail_with(loaded, "return {'person_id': row['person_id'], 'greeting': 'Hello again'}")

    done = loaded.run("retry", second["pipeline_run_id"][:12].lower())
    assert done.returncode == 0, done.stderr
    short = second["pipeline_run_id"][:10]
    assert f"run {short} of both owes 1 of 1 job: apply\n" in done.stderr
    assert f" both: started, 1 job, a retry of {short}\n" in done.stderr
    assert "both: success in" in done.stdout
    assert f"retry of  {second['pipeline_run_id']}\n" in loaded.run("show").stdout


def test_a_run_that_still_runs_is_left_alone_and_one_that_was_killed_is_made_up_for(
    loaded: DemoProject,
) -> None:
    fail_with(loaded, "open('begun', 'w').close(); __import__('time').sleep(60)")
    loaded.write(
        "configs/pipelines/three.yaml",
        "pipeline_id: three\nstages:\n  - {name: a, jobs: [load_people]}\n  - {name: b, jobs: [apply]}\n"
        "  - {name: c, jobs: [greet_people]}\n",
    )
    running = loaded.start("three")
    assert running.stderr is not None
    while "apply: started" not in running.stderr.readline():
        assert running.poll() is None
    still = loaded.run("retry", "last")
    assert still.returncode == 75, still.stderr
    assert "which has not ended" in still.stderr

    running.send_signal(signal.SIGKILL)
    running.communicate()
    fail_with(loaded, "return None")
    crashed = record(loaded, "show")
    assert jobs(crashed) == {"load_people": "success", "apply": "crashed", "greet_people": "skipped"}
    assert jobs(record(loaded, "retry")) == {"apply": "success", "greet_people": "success"}


def test_a_run_that_is_not_there_is_a_usage_error(loaded: DemoProject) -> None:
    done = loaded.run("retry", "last-failed")
    assert done.returncode == 2
    assert "in the run store" in done.stderr
