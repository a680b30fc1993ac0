"""prune: what goes, what stays all the same, and that a kill leaves no half run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from runner.errors import HeldByAnother
from runner.events import RunStarted
from runner.records import ErrorInfo
from runner.run_store import FileRunStore
from runner.testing.timed_history import TimedJob, timed_history
from tests.cli.demo_project import DemoProject
from tests.cli.test_cli_stats import NOW, put

InProject = Callable[..., int]
Captured = pytest.CaptureFixture[str]


def run_of(project: DemoProject, name: str, days: float, *, failing: bool = False) -> str:
    """A run so many days ago; returns its id."""
    error = ErrorInfo(category="quota", message="too much") if failing else None
    jobs = [TimedJob(job_id="a", steps={"read": 1.0}, error=error)]
    return put(project, timed_history(name, jobs, started_at=NOW - timedelta(days=days)), name)


def pruned(in_project: InProject, capsys: Captured, *words: str) -> dict[str, Any]:
    """What prune says of itself."""
    assert in_project("prune", *words, "-o", "json") == 0
    return dict(json.loads(capsys.readouterr().out))


def ids(project: DemoProject) -> set[str]:
    """The runs that are there."""
    return {run_id for run_id, _ in FileRunStore(project.folder / "var" / "runs").ids()}


def test_old_runs_go_and_the_newest_and_what_is_compared_stay(
    project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    new = run_of(project, "daily", 1)
    compared = [run_of(project, "daily", 50), run_of(project, "daily", 51)]
    old = [run_of(project, "daily", 52), run_of(project, "daily", 53, failing=True)]
    latest = run_of(project, "weekly", 400, failing=True)
    older = run_of(project, "weekly", 401, failing=True)
    kept = {new, *compared, latest}

    dry = pruned(in_project, capsys, "--keep", "30d", "--keep-runs", "3", "--dry-run")
    assert dry["chosen"] == [*old, older]
    assert dry["removed"] == []
    assert ids(project) == kept | {*old, older}

    done = pruned(in_project, capsys, "--keep", "30d", "--keep-runs", "3", "--yes")
    assert done["removed"] == [older, *old[::-1]]
    assert done["bytes"] > 1000
    assert done["staying"] == {"newer": 1, "compared": 2, "latest": 1}
    assert ids(project) == kept
    days = os.listdir(project.folder / "var" / "runs")
    assert len(days) == len(kept)
    assert in_project("show", compared[1]) == 0


def test_a_run_that_was_killed_before_it_began_is_not_the_newest_of_its_name(
    project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    """Nobody can look at it: what stays is the newest that has something to tell."""
    latest = run_of(project, "weekly", 400, failing=True)
    empty = run_of(project, "weekly", 399)
    folder = FileRunStore(project.folder / "var" / "runs").path(empty)
    (folder / "run.json").unlink()
    (folder / "events.jsonl").write_bytes(b"")

    done = pruned(in_project, capsys, "--keep", "30d", "--keep-runs", "0", "--yes")
    assert (done["removed"], done["staying"]) == ([empty], {"latest": 1})
    assert ids(project) == {latest}


def test_what_is_alive_or_unsent_stays(project: DemoProject, in_project: InProject, capsys: Captured) -> None:
    run_of(project, "daily", 1)
    unsent, gone = run_of(project, "daily", 60), run_of(project, "daily", 62)
    (project.folder / "var" / "outbox").mkdir(parents=True)
    (project.folder / "var" / "outbox" / unsent).touch()
    history = timed_history("daily", [TimedJob(job_id="a", steps={})], started_at=NOW - timedelta(days=61))
    assert isinstance(history[0], RunStarted)
    store = FileRunStore(project.folder / "var" / "runs")
    writer = store.create(history[0].run_id, "daily", history[0].timestamp)
    writer.append(history[:1])

    done = pruned(in_project, capsys, "--keep", "30d", "--keep-runs", "0", "--yes")
    assert done["removed"] == [gone]
    assert done["staying"] == {"newer": 1, "unsent": 1, "alive": 1}
    with pytest.raises(HeldByAnother):
        store.remove(history[0].run_id)
    writer.close()
    assert pruned(in_project, capsys, "--keep", "30d", "--keep-runs", "0", "--yes")["removed"] == [
        history[0].run_id
    ]


def test_nothing_goes_without_a_yes(project: DemoProject, in_project: InProject, capsys: Captured) -> None:
    run_of(project, "daily", 1)
    old = run_of(project, "daily", 60)

    done = project.run("prune", "--keep", "30d", "--keep-runs", "0")
    assert done.returncode == 2
    assert "this would remove 1 run" in done.stderr
    assert in_project("prune") == 2
    assert in_project("prune", "--keep", "some time") == 2
    assert old in ids(project)


def test_a_removal_that_was_interrupted_is_no_half_run_and_is_finished_by_the_next(
    project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    new, old = run_of(project, "daily", 1), run_of(project, "daily", 60)
    path = FileRunStore(project.folder / "var" / "runs").path(old)
    # What a kill leaves behind: first comes the other name, then one file after another goes.
    hidden = path.rename(path.with_name(f".removed-{path.name}"))
    (hidden / "run.json").unlink()

    assert ids(project) == {new}
    assert in_project("show", old) == 2
    other = run_of(project, "daily", 70)
    capsys.readouterr()
    done = pruned(in_project, capsys, "--keep", "30d", "--keep-runs", "0", "--yes")
    assert done["removed"] == [other]
    assert len(os.listdir(project.folder / "var" / "runs")) == 1


def test_a_link_in_the_place_of_a_run_is_not_followed(
    project: DemoProject, in_project: InProject, capsys: Captured, tmp_path: Path
) -> None:
    run_of(project, "daily", 1)
    old = run_of(project, "daily", 60)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    (FileRunStore(project.folder / "var" / "runs").path(old) / "jobs" / "link").symlink_to(precious)

    assert pruned(in_project, capsys, "--keep", "30d", "--keep-runs", "0", "--yes")["removed"] == [old]
    assert (precious / "file").exists()


def test_two_that_prune_at_once_do_not_stand_in_each_others_way(tmp_path: Path) -> None:
    """What one has begun to remove, the other finds as a leftover of somebody who was killed."""
    days = [tmp_path / f"2026-02-{day:02}" for day in range(1, 11)]
    for day in days:
        for number in range(20):
            jobs = day / f".removed-{number}" / "jobs"
            jobs.mkdir(parents=True)
            for job in range(5):
                (jobs / f"{job}.json").touch()

    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(FileRunStore(tmp_path).remove_leftovers) for _ in range(4)]
    assert [each.exception() for each in done] == [None] * 4
    assert not list(tmp_path.iterdir())
