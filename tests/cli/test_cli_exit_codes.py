"""What the exit code says, of real processes and for each kind of outcome."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from runner.cli.exit_codes import ExitCode
from runner.cli.failures import exit_code
from runner.cli.outcome import exit_code_of_run
from runner.errors import (
    AuthenticationFailed,
    BadRows,
    ConfigurationError,
    HeldByAnother,
    Problem,
    QuotaExceeded,
    RunNotFound,
    TimeLimitExceeded,
    UsageError,
    WarehouseUnavailable,
)
from runner.records import ErrorInfo, PipelineRun, RunRecord, Status, StepRegression
from tests.cli.demo_project import DemoProject

FAILING = """
def apply(row):
    raise RuntimeError("no such luck")
"""


def run_of(status: Status, *categories: str, of_run: str = "") -> PipelineRun:
    jobs = tuple(
        RunRecord(
            run_id=f"r{number}",
            job_id=f"j{number}",
            status=Status.FAILURE,
            errors=(ErrorInfo(category=word, message="x"),),
        )
        for number, word in enumerate(categories)
    )
    errors = (ErrorInfo(category=of_run, message="x"),) if of_run else ()
    return PipelineRun(
        pipeline_run_id="R",
        pipeline_id="p",
        status=status,
        started_at=datetime(2026, 2, 12, tzinfo=UTC),
        jobs=jobs,
        errors=errors,
    )


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (run_of(Status.SUCCESS), ExitCode.OK),
        (run_of(Status.FAILURE, "data"), ExitCode.FAILED),
        (run_of(Status.PARTIAL, "function", "unavailable"), ExitCode.FAILED),
        (run_of(Status.FAILURE, "unavailable", "auth", "quota"), ExitCode.COULD_NOT_TELL),
        (run_of(Status.PARTIAL, "quota"), ExitCode.COULD_NOT_TELL),
        (run_of(Status.FAILURE, "bug", "data"), ExitCode.BUG),
        (run_of(Status.FAILURE, "locked"), ExitCode.HELD),
        (run_of(Status.FAILURE, of_run="timeout"), ExitCode.RUN_TIMEOUT),
        (run_of(Status.FAILURE, "timeout"), ExitCode.FAILED),
        (run_of(Status.FAILURE, of_run="disk_full"), ExitCode.FAILED),
        (run_of(Status.CANCELLED), ExitCode.FAILED),
    ],
)
def test_exit_code_of_a_run(run: PipelineRun, code: ExitCode) -> None:
    assert exit_code_of_run(run) is code


@pytest.mark.parametrize(
    ("status", "code"), [(Status.SUCCESS, ExitCode.SLOWER), (Status.FAILURE, ExitCode.BUG)]
)
def test_a_slower_step_has_a_code_of_its_own_if_wanted(status: Status, code: ExitCode) -> None:
    """Where all else went well: a failure is worse."""
    slower = StepRegression(job_id="j0", step_id="s", was_ms=100, is_ms=150, ratio=1.5, runs=20)
    run = replace(run_of(status, *(["bug"] if status is Status.FAILURE else [])), regressions=(slower,))
    assert exit_code_of_run(run, fail_on_regression=True) is code
    assert exit_code_of_run(replace(run, regressions=()), fail_on_regression=True) is not ExitCode.SLOWER
    assert exit_code_of_run(run) is not ExitCode.SLOWER


def test_what_was_skipped_for_a_failure_is_no_failure_of_its_own() -> None:
    run = run_of(Status.FAILURE, "unavailable")
    skipped = RunRecord(
        run_id="", job_id="later", status=Status.SKIPPED, errors=(ErrorInfo(category="skipped", message="x"),)
    )

    with_skipped = PipelineRun.from_dict(
        run.to_dict() | {"jobs": [*run.to_dict()["jobs"], skipped.to_dict()]}
    )

    assert exit_code_of_run(with_skipped) is ExitCode.COULD_NOT_TELL


@pytest.mark.parametrize("status", [Status.SUCCESS, Status.FAILURE, Status.PARTIAL])
def test_a_signal_counts_only_if_it_cancelled_something(status: Status) -> None:
    run = run_of(status, *(["data"] if status is not Status.SUCCESS else []))

    assert exit_code_of_run(run, signal_code=ExitCode.TERMINATED) is exit_code_of_run(run)
    assert exit_code_of_run(run_of(Status.CANCELLED), signal_code=ExitCode.TERMINATED) == 143


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError([Problem(message="x")]), 2),
        (UsageError("x"), 2),
        (RunNotFound("last"), 2),
        (HeldByAnother("x"), 75),
        (TimeLimitExceeded("run x", 1), 124),
        (WarehouseUnavailable("duckdb", "x"), 3),
        (AuthenticationFailed("duckdb", "x"), 3),
        (QuotaExceeded("duckdb", "x"), 3),
        (BadRows("s", 1, 0, ["x"]), 1),
        (OSError(28, "No space left on device"), 1),
        (KeyError("x"), 70),
    ],
)
def test_exit_code_of_an_error_that_ends_a_command(error: Exception, code: int) -> None:
    assert exit_code(error) == code


def test_a_failing_job_is_1_and_names_step_category_and_line_of_code(loaded: DemoProject) -> None:
    loaded.add_job("failing", FAILING)

    done = loaded.run("failing")

    assert done.returncode == 1
    assert " failing: failure in " in done.stdout
    assert (
        "error in failing: step apply: function: demo_jobs.failing:apply raised RuntimeError: no such luck"
        in done.stderr
    )
    assert "demo_jobs/failing.py:3, in apply" in done.stderr


def test_a_broken_configuration_is_2_and_runs_nothing(project: DemoProject) -> None:
    project.write("configs/jobs/broken.yaml", "job_id: broken\nsteps: [{step_id: a, op: raed}]\n")

    done = project.run("broken")

    assert done.returncode == 2
    assert done.stdout == ""
    assert "configs/jobs/broken.yaml:2:" in done.stderr
    assert "nothing was run" in done.stderr
    assert not (project.folder / "var" / "runs").exists()


def test_a_held_lock_is_75_and_says_who_has_it(loaded: DemoProject) -> None:
    loaded.add_job(
        "waiting", "import time\n\ndef apply(row):\n    print('working', flush=True)\n    time.sleep(30)\n"
    )
    holder = loaded.start("waiting")
    assert holder.stderr is not None
    for line in holder.stderr:
        if line == "working\n":
            break

    done = loaded.run("hello")

    assert done.returncode == 75
    assert f"{holder.pid}" in done.stderr
    assert "safe to try again later" in done.stderr


def test_a_run_over_its_time_limit_is_124(loaded: DemoProject) -> None:
    loaded.add_job("slow", "import time\n\ndef apply(row):\n    time.sleep(0.05)\n    return None\n")
    people = "person_id,name\n" + "".join(f"p{number},n\n" for number in range(200))
    loaded.write("configs/samples/people.csv", people)
    assert loaded.run("load_people").returncode == 0

    done = loaded.run("slow", RUN_PIPELINE_TIMEOUTS__RUN="1s")

    assert done.returncode == 124
    assert "time limit of 1 s" in done.stderr


def test_a_bug_is_70_with_its_traceback_on_demand(
    project: DemoProject, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from runner import loader
    from runner.cli import main

    def broken(_settings: object) -> None:
        raise ZeroDivisionError("by design")

    monkeypatch.chdir(project.folder)
    monkeypatch.setattr(loader, "open_project", broken)

    assert main(["list"]) == 70
    short = capsys.readouterr().err
    assert main(["list", "-v"]) == 70
    long = capsys.readouterr().err

    assert "this is a bug in run-pipeline: ZeroDivisionError: by design" in short
    assert "Traceback" not in short
    assert "Traceback" in long
