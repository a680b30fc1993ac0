"""A step that got slower is named by the run: in its record, its events, its last line, and if wanted by exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import pytest

from runner.analysis.regression import LATEST, RunTimes, regressions
from runner.cli.commands.show import run_lines
from runner.cli.exit_codes import ExitCode
from runner.records import PipelineRun
from runner.run_store import FileRunStore
from tests.past_runs import give_past, timed
from tests.projects import ThrowAwayProject, extract, job_of, write

QUICK_MS, SLOW_MS = 20.0, 60.0


@pytest.fixture
def loading(project: ThrowAwayProject) -> ThrowAwayProject:
    """A project whose one job takes at least 60 ms in its first step."""
    project.table("out.numbers", "n int64!", key=["n"])
    project.functions("import time\n\ndef numbers():\n    time.sleep(0.06)\n    yield {'n': 1}\n")
    project.job("job", extract("numbers", step_id="fetch"), write("out.numbers"))
    return project


def store_of(project: ThrowAwayProject) -> FileRunStore:
    return FileRunStore(project.settings().runs_dir)


def give_quick_past(project: ThrowAwayProject, *, slow: int) -> PipelineRun:
    """Run once, and put 20 runs before that in which the step took 20 ms, the last `slow` of all 60 ms."""
    run = project.run("job")
    store = store_of(project)
    give_past(
        store, run, [timed("fetch", QUICK_MS)] * (20 - slow + 1) + [timed("fetch", SLOW_MS)] * (slow - 1)
    )
    return run


def test_a_slower_step_is_in_the_record_and_in_the_events(loading: ThrowAwayProject) -> None:
    """Named with what it took and takes, in the run's files and in the warehouse."""
    give_quick_past(loading, slow=LATEST - 1)

    run = loading.run("job")

    (found,) = run.regressions
    assert (found.job_id, found.step_id, found.was_ms, found.runs) == ("job", "fetch", QUICK_MS, 19)
    timing = next(timing for timing in job_of(run).step_timings if timing.step_id == "fetch")
    assert (found.is_ms, found.ratio) == (timing.duration_ms, round(timing.duration_ms / QUICK_MS, 2))
    assert store_of(loading).load(run.pipeline_run_id) == run
    (row,) = loading.rows("SELECT * FROM ops.event_log WHERE event_type = 'performance.regression'")
    assert (row["producer_component"], row["run_id"]) == ("job", job_of(run).run_id)
    payload = json.loads(row["payload"])
    assert (payload["step_id"], payload["details"]) == ("fetch", found.to_dict())
    assert payload["message"].startswith(f"{found.ratio:g} times as slow as usual: ")
    kinds = [event.event_type for event in store_of(loading).events(run.pipeline_run_id)]
    assert kinds[-3:] == ["notice", "pipeline.finished", "run.finished"]


def test_a_first_slow_run_is_an_accident(loading: ThrowAwayProject) -> None:
    """And the second one, too: the runs before were quick."""
    give_quick_past(loading, slow=1)
    assert loading.run("job").regressions == ()


def test_a_history_that_cannot_be_read_is_no_reason_to_fail(loading: ThrowAwayProject) -> None:
    """Summaries of nonsense, of runs that have not ended, and folders without any are passed over."""
    run = give_quick_past(loading, slow=LATEST - 1)
    folders = sorted(path.parent for path in loading.settings().runs_dir.glob("*/*/run.json"))
    assert run.pipeline_run_id in folders[-1].name
    for folder, content in zip(
        folders, (b"", b"\xff{", b"[]", b'{"jobs": [1]}', b'{"jobs": null}', b"{}"), strict=False
    ):
        (folder / "run.json").write_bytes(content)
    (folders[6] / "run.json").unlink()

    (found,) = loading.run("job").regressions

    assert found.runs == 19 - 7


@pytest.mark.parametrize(
    ("options", "code"), [((), ExitCode.OK), (("--fail-on-regression",), ExitCode.SLOWER)]
)
def test_the_last_line_and_the_exit_code(
    loading: ThrowAwayProject, options: tuple[str, ...], code: ExitCode
) -> None:
    """Data and details stay what they are."""
    give_quick_past(loading, slow=LATEST - 1)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "runner", "job", *options, "--project", str(loading.root)],
        capture_output=True, text=True, check=False, cwd="/",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    (last,) = done.stdout.splitlines()
    assert "; slower: job.fetch " in last
    assert "else 20 ms)" in last
    assert "warning: job: step fetch: " in done.stderr
    run = store_of(loading).load(store_of(loading).resolve("last"))
    text = ["".join(part if isinstance(part, str) else part.text for part in line) for line in run_lines(run)]
    assert [line for line in text if line.startswith("slower    job.fetch ")]


@pytest.mark.perf
def test_looking_back_takes_little(loading: ThrowAwayProject) -> None:
    """More than 20 runs of 10 jobs in under 10 ms."""
    run = loading.run("job")
    (job,) = run.jobs
    wide = replace(run, jobs=tuple(replace(job, job_id=f"job_{number}") for number in range(10)))
    store = store_of(loading)
    give_past(store, wide, [timed("fetch", SLOW_MS)] * 25)
    times = RunTimes.from_dict(wide.to_dict())
    took: list[Any] = []
    for _ in range(5):
        began = time.perf_counter()
        regressions(times, store.step_times("job", before=run.pipeline_run_id, of=times.steps))
        took.append(time.perf_counter() - began)
    assert min(took) < 0.010
