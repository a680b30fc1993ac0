"""Two runners in one application: they neither disturb each other nor their host, and leave nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from runner.errors import ConfigurationError, RunFailed, UsageError
from runner.events import Event, RunFinished, RunStarted
from runner.pipeline_runner import PipelineRunner, run_job, run_pipeline
from runner.records import Status
from runner.run_store import FileRunStore
from runner.settings import Settings
from tests.projects import REPOSITORY, ThrowAwayProject, call, not_exists, read, write

HOST = Path(__file__).with_name("embedding_host.py")


def copying(project: ThrowAwayProject) -> ThrowAwayProject:
    """Declare a job that copies 40 rows in about 0.1 s."""
    project.table("src.numbers", "n int64!", key=["n"])
    project.table("out.numbers", "n int64!", key=["n"])
    project.functions("""
        import time

        def copy(row):
            time.sleep(0.002)
            return row

        def fail(row):
            raise RuntimeError("on purpose")
    """)
    project.job("job", read("src.numbers"), call("copy"), write("out.numbers"))
    project.job("failing", read("src.numbers"), call("fail"), write("out.numbers"))
    project.fill("src.numbers", [{"n": n} for n in range(40)])
    return project


@pytest.mark.parametrize("rounds", [12, pytest.param(40, marks=pytest.mark.chaos)])
def test_an_application_goes_on_undisturbed(
    make_project: Callable[[], ThrowAwayProject], rounds: int
) -> None:
    one, two = copying(make_project()), copying(make_project())

    host = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", str(HOST), str(one.root), str(two.root), str(rounds)],
        capture_output=True, text=True, timeout=50, check=False, cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip

    assert (host.returncode, host.stderr) == (0, "")
    assert host.stdout.count("\n") == 1, "nothing but the host's own line"
    report = json.loads(host.stdout)
    assert report["after"] == report["before"]
    assert report["before"]["ours"] == ["NullHandler"]
    assert not report["structlog"]
    assert not report["cli"]
    last = report["censuses"][-1]
    assert (last["tasks"], last["children"]) == (1, 0)
    assert last["files"] == report["censuses"][0]["files"]
    assert last["threads"] < 10, "idle threads are used again"
    assert report["threads_left"] == 1
    outcomes = [tuple(found) for found in report["outcomes"]]
    assert all(found[1 - number % 2] == "success" for number, found in enumerate(outcomes))
    assert Counter(found[number % 2] for number, found in enumerate(outcomes))["cancelled"] >= 3
    for project in (one, two):
        for run in FileRunStore(project.settings().runs_dir).latest():
            assert run.status in (Status.SUCCESS, Status.CANCELLED)
        assert project.rows("SELECT count(*) AS n FROM out.numbers") == [{"n": 40}]
        doubled = "SELECT event_id FROM ops.event_log GROUP BY ALL HAVING count(*) > 1"
        assert project.rows(doubled) == []


def test_observers_see_every_event_in_order(project: ThrowAwayProject) -> None:
    seen: list[Event] = []
    run = copying(project).run("job", on_event=seen.append)

    assert isinstance(seen[0], RunStarted)
    assert isinstance(seen[-1], RunFinished)
    assert {event.run_id for event in seen} == {run.pipeline_run_id}
    stored = FileRunStore(project.settings().runs_dir).events(run.pipeline_run_id)
    assert list(stored) == [event for event in seen if event.durable]


def test_an_observer_that_fails_does_not_fail_the_run(
    project: ThrowAwayProject, caplog: pytest.LogCaptureFixture
) -> None:
    def observer(event: Event) -> None:
        raise RuntimeError("observer")

    assert copying(project).run("job", on_event=observer).status is Status.SUCCESS
    assert [record.levelname for record in caplog.records] == ["ERROR"], "said once"


def test_failures_are_data_until_they_are_asked_for(project: ThrowAwayProject) -> None:
    run = copying(project).run("failing")

    assert run.status is Status.FAILURE
    with pytest.raises(RunFailed, match=r"failing: .*RuntimeError: on purpose"):
        run.raise_for_status()


def test_one_runner_runs_several_times_and_several_at_once(project: ThrowAwayProject) -> None:
    copying(project)
    project.table("out.other", "n int64!", key=["n"])
    project.job("other", read("src.numbers"), write("out.other"))
    settings = project.settings()
    statuses: list[Status] = []

    async def execute() -> None:
        async with PipelineRunner.open(settings) as pipelines:

            async def once(name: str) -> None:
                statuses.append((await pipelines.run(name)).status)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(once, "job")
                tasks.start_soon(once, "other")
            await once("job")

    anyio.run(execute)

    assert statuses == [Status.SUCCESS] * 3
    assert project.rows("SELECT count(DISTINCT correlation_id) AS runs FROM ops.event_log") == [{"runs": 3}]


@pytest.mark.parametrize("run", [run_pipeline, run_job])
def test_scripts_run_synchronously(project: ThrowAwayProject, run: Callable[..., object]) -> None:
    copying(project)
    found = run("job", project=project.root, batch_rows=7)
    assert getattr(found, "status", None) is Status.SUCCESS
    assert getattr(found, "rows_written", None) == 40


def test_it_runs_on_trio(project: ThrowAwayProject) -> None:
    copying(project)
    project.job(
        "job",
        read("src.numbers", incremental=not_exists("out.numbers", "n")),
        call("copy"),
        write("out.numbers"),
    )
    assert project.run("job", backend="trio").rows_written == 40
    assert project.run("job", backend="trio").rows_read == 0


def test_two_projects_whose_packages_have_one_name_are_told(tmp_path: Path) -> None:
    one, two = (ThrowAwayProject(tmp_path / name, "same_name") for name in ("one", "two"))
    try:
        copying(one).run("job")
        with pytest.raises(ConfigurationError, match="same_name") as told:
            copying(two).run("job")
        assert str(one.root) in str(told.value)
        assert str(two.root) in str(told.value)
    finally:
        one.forget()


def test_an_unknown_project_or_name_is_a_usage_error(project: ThrowAwayProject, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a project"):
        run_pipeline("job", project=tmp_path)
    with pytest.raises(UsageError, match="did you mean 'job'"):
        copying(project).run("jobb")
    assert Settings.load(project.root).runs_dir.exists() is False, "nothing was recorded"
