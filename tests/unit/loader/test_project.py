"""A project as a whole: lists, plans, parameters, and files that change between two questions."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner.errors import ConfigurationError, UsageError
from runner.loader import Project, open_project
from runner.settings import Settings
from runner.specs import ReadSpec, TableRef

NOW = datetime(2026, 2, 12, 6, tzinfo=UTC)
PACKAGE = "loader_test_jobs"
STEPS = """
from __future__ import annotations

def rows(*, folder: str, day: object = None):
    return []

def same(row):
    return row
"""


class Files:
    """A project that tests write file by file; declarations are written as JSON, which is YAML."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.text("configs/runner.toml", f'package = "{PACKAGE}"\n')
        self.text(f"{PACKAGE}/steps.py", STEPS)
        self.text(f"{PACKAGE}/__init__.py", "")
        columns = [("id", "string"), ("number", "int64"), ("at", "timestamp"), ("day", "date")]
        self.write("tables/d", dataset="d", tables=[
            {"table": table, "columns": [{"name": name, "type": kind} for name, kind in columns], "key": ["id"]}
            for table in ("a", "b", "unused")
        ])  # fmt: skip

    def text(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def write(self, name: str, **data: Any) -> Path:
        return self.text(f"configs/{name}.yaml", json.dumps(data, ensure_ascii=False))

    def job(self, job_id: str, *steps: dict[str, Any], folder: str = "", **more: Any) -> Path:
        steps = steps or (read("a"),)
        numbered = [{"step_id": f"s{number}", **step} for number, step in enumerate(steps)]
        return self.write(f"jobs/{folder}{job_id}", job_id=job_id, steps=numbered, **more)

    def open(self, **settings: Any) -> Project:
        return open_project(Settings.load(self.root, **settings))


def read(table: str | dict[str, str], **more: Any) -> dict[str, Any]:
    return {"op": "read", "dataset": "d", "table": table, **more}


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    yield Files(tmp_path / "project")
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def problems(caught: pytest.ExceptionInfo[ConfigurationError]) -> list[str]:
    return [str(problem) for problem in caught.value.problems]


def test_lists_import_no_functions(files: Files) -> None:
    files.job("one", folder="mail/in/", description="first", params={"n": {"type": "int64"}})
    files.job("two", {"op": "extract", "function": "not_there:rows"})
    files.write("pipelines/all", pipeline_id="all", stages=[{"name": "s", "jobs": ["one", "two"]}])
    project = files.open()
    assert [(job.job_id, job.folder, job.params) for job in project.jobs()] == [
        ("one", "mail/in", ("n",)),
        ("two", "", ()),
    ]
    assert [(each.pipeline_id, each.members) for each in project.pipelines()] == [("all", ("one", "two"))]
    assert PACKAGE not in sys.modules


def test_an_unknown_name(files: Files) -> None:
    files.job("ingest_mail")
    with pytest.raises(UsageError) as caught:
        files.open().plan("ingest_mial", as_of=NOW)
    assert str(caught.value) == "there is no pipeline or job 'ingest_mial' (did you mean 'ingest_mail'?)"


@pytest.mark.parametrize("name", ["", "../x", "x/../y", "ä", "a\x00b", "/etc/passwd", "one\n", "." * 300])
def test_names_reach_no_file(files: Files, name: str) -> None:
    files.job("one")
    files.text("configs/x.yaml", "job_id: x\n")
    with pytest.raises(UsageError):
        files.open().plan(name, as_of=NOW)


def test_a_plan_of_a_job(files: Files) -> None:
    file = files.job("one", read("a"), {"op": "write", "dataset": "d", "table": "b"})
    plan = files.open(max_workers=3).plan("one", as_of=NOW)
    assert (plan.kind, plan.name, plan.as_of, plan.max_workers) == ("job", "one", NOW, 3)
    assert [(job.job_id, job.group, job.file) for job in plan.jobs] == [("one", "", file)]
    assert set(plan.tables) == {TableRef("d", "a"), TableRef("d", "b")}


def test_only_the_files_of_the_run_are_read(files: Files) -> None:
    files.job("one")
    files.text("configs/jobs/broken.yaml", "[")
    files.text("configs/tables/other.yaml", "[")
    files.text("configs/jobs/two.yml", "")
    project = files.open()
    assert len(project.plan("one", as_of=NOW).jobs) == 1
    assert len(project.check()) == 3
    with pytest.raises(ConfigurationError):
        project.plan("broken", as_of=NOW)


def test_files_are_read_anew_for_every_question(files: Files) -> None:
    files.job("one", description="old")
    project = files.open()
    assert project.jobs()[0].description == "old"
    files.job("one", description="new")
    files.job("two")
    assert [job.description for job in project.jobs()] == ["new", ""]


def test_the_engines_tables_can_be_read(files: Files) -> None:
    files.job("one", {"op": "read", "dataset": "ops", "table": "event_log", "columns": ["event_id"]})
    assert list(files.open().plan("one", as_of=NOW).tables) == [TableRef("ops", "event_log")]


def test_filters_have_the_type_of_their_column(files: Files) -> None:
    filters = [
        {"column": "at", "op": ">=", "value": "2026-02-12T06:00:00+01:00"},
        {"column": "number", "op": "in", "value": [1, 2]},
    ]
    files.job("one", read("a", filters=filters))
    step = files.open().plan("one", as_of=NOW).jobs[0].spec.steps[0]
    assert isinstance(step, ReadSpec)
    assert [item.value for item in step.filters] == [datetime(2026, 2, 12, 5, tzinfo=UTC), [1, 2]]


# --- parameters ---

PARAMS = {
    "number": {"type": "int64", "default": 3},
    "name": {"default": "ann"},
    "since": {"type": "timestamp", "default": "2026-01-01T00:00:00Z"},
    "folder": {"type": "path", "default": "in box"},
}


def with_params(files: Files, params: dict[str, Any] | None = None) -> Project:
    steps = (
        read("a", limit={"param": "number"}, filters={"id": {"param": "name"}, "at": {"param": "since"}}),
        {"op": "extract", "function": f"{PACKAGE}.steps:rows", "with": {"folder": {"param": "folder"}}},
    )
    files.job("one", *steps, params=PARAMS if params is None else params)
    return files.open()


def test_parameters_are_typed_and_stand_where_they_are_named(files: Files) -> None:
    job = with_params(files).plan("one", as_of=NOW, given_params={"number": "7", "name": "1"}).jobs[0]
    first, second = job.spec.steps
    assert isinstance(first, ReadSpec)
    assert first.limit == 7
    assert [item.value for item in first.filters] == ["1", datetime(2026, 1, 1, tzinfo=UTC)]
    assert second.model_dump()["with_"] == {"folder": str(files.root / "in box")}
    assert job.params["number"] == 7


def test_a_plan_with_parameters_changes_nothing_for_the_next(files: Files) -> None:
    """A limited run must not limit later ones (REQUIREMENTS T13)."""
    project = with_params(files)
    project.plan("one", as_of=NOW, given_params={"number": "1"})
    step = project.plan("one", as_of=NOW).jobs[0].spec.steps[0]
    assert isinstance(step, ReadSpec)
    assert step.limit == 3


def test_an_error_about_a_parameter_is_where_it_is_used(files: Files) -> None:
    path = files.text(
        "configs/jobs/one.yaml",
        "job_id: one\nparams:\n  rows: {type: int64, default: 0}\nsteps:\n"
        "  - {step_id: s, op: read, dataset: d, table: a, limit: {param: rows}}\n",
    )
    with pytest.raises(ConfigurationError) as caught:
        files.open().plan("one", as_of=NOW)
    column = path.read_text().splitlines()[4].index("{param") + 1
    assert problems(caught) == [
        f"configs/jobs/one.yaml:5:{column}: steps[0].limit: 0 is too small; expected at least 1"
    ]


def test_values_that_do_not_fit_and_names_that_do_not_exist(files: Files) -> None:
    project = with_params(files)
    with pytest.raises(ConfigurationError) as caught:
        project.plan("one", as_of=NOW, given_params={"number": "many"})
    assert problems(caught)[0].startswith("configs/jobs/one.yaml:1:")
    assert "params.number: --set number: 'many'" in problems(caught)[0]
    with pytest.raises(UsageError) as unknown:
        project.plan("one", as_of=NOW, given_params={"nmber": "1"})
    assert str(unknown.value) == "no job of 'one' has a parameter 'nmber' (did you mean 'number'?)"
    # Also when the one that was meant has no value now.
    needing = with_params(files, PARAMS | {"number": {"type": "int64"}})
    with pytest.raises(UsageError, match="'nmber'"):
        needing.plan("one", as_of=NOW, given_params={"nmber": "1"})


def test_a_parameter_without_a_value(files: Files) -> None:
    project = with_params(files, {**PARAMS, "number": {"type": "int64"}})
    assert project.check() == []
    assert [job.params for job in project.jobs()] == [("number", "name", "since", "folder")]
    with pytest.raises(ConfigurationError) as caught:
        project.plan("one", as_of=NOW)
    assert (
        "params.number: parameter 'number' has no value; expected --set number=VALUE" in problems(caught)[0]
    )
    assert len(caught.value.problems) == 1


def test_a_given_value_goes_to_every_job_that_declares_the_name(files: Files) -> None:
    for name in ("one", "two"):
        files.job(name, read("a", limit={"param": "n"}), params={"n": {"type": "int64", "default": 1}})
    files.job("three")
    files.write("pipelines/all", pipeline_id="all", jobs={"one": {}, "two": {}, "three": {}})
    plan = files.open().plan("all", as_of=NOW, given_params={"n": "5"})
    assert [dict(job.params) for job in plan.jobs] == [{"n": 5}, {"n": 5}, {}]


def test_a_parameter_may_stand_for_any_value_but_not_for_a_key(files: Files) -> None:
    files.job(
        "one",
        read({"param": "t"}),
        queue={"param": "q"},
        params={"t": {"default": "b"}, "q": {"default": "default"}},
    )
    assert list(files.open().plan("one", as_of=NOW).tables) == [TableRef("d", "b")]
    files.job("two", read("a", filters={"param": 3}))
    with pytest.raises(ConfigurationError) as caught:
        files.open().plan("two", as_of=NOW)
    assert (
        "steps[0].filters: {param: …} got 3 (a number); expected the name of a parameter"
        in problems(caught)[0]
    )


def test_arguments_that_cannot_be_meant(files: Files) -> None:
    files.job("one")
    with pytest.raises(UsageError, match="max_workers is 0"):
        files.open().plan("one", as_of=NOW, max_workers=0)
    with pytest.raises(UsageError, match="has no offset"):
        files.open().plan("one", as_of=NOW.replace(tzinfo=None))


# --- what the file system can do ---


def test_what_is_no_file_or_not_followed(files: Files, tmp_path: Path) -> None:
    files.job("one")
    jobs = files.root / "configs" / "jobs"
    os.mkfifo(jobs / "pipe.yaml")
    (jobs / "dangling.yaml").symlink_to("nowhere")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "two.yaml").write_text("job_id: two\n")
    (jobs / "linked").symlink_to(tmp_path / "elsewhere")
    (jobs / "loop").symlink_to(jobs)
    (jobs / ".hidden.yaml").write_text("[")
    (jobs / "one.yaml~").write_text("[")
    assert [str(problem) for problem in files.open().check()] == [
        "configs/jobs/dangling.yaml: not a regular file",
        "configs/jobs/linked: a link to a folder is not followed, and it holds .yaml files",
        "configs/jobs/loop: a link to a folder is not followed, and it holds .yaml files",
        "configs/jobs/pipe.yaml: not a regular file",
    ]


def test_a_file_that_is_a_link(files: Files, tmp_path: Path) -> None:
    """As Kubernetes mounts configuration."""
    target = files.job("one").rename(tmp_path / "mounted.yaml")
    (files.root / "configs" / "jobs" / "one.yaml").symlink_to(target)
    assert files.open().check() == []


def test_a_file_that_cannot_be_read(files: Files) -> None:
    file = files.job("one")
    if os.geteuid():
        file.chmod(0)
    else:  # root may read everything; this it may open, but not read
        file.unlink()
        file.symlink_to("/proc/self/mem")
    with pytest.raises(
        ConfigurationError, match=r"configs/jobs/one\.yaml: cannot be read: (Permission denied|Input/output)"
    ):
        files.open().plan("one", as_of=NOW)


def test_an_empty_project_is_sound(files: Files) -> None:
    project = files.open()
    assert (project.check(), project.jobs(), project.pipelines()) == ([], [], [])


def test_two_projects_with_one_package_name(files: Files, tmp_path: Path) -> None:
    step = {"op": "extract", "function": f"{PACKAGE}.steps:rows", "with": {"folder": "x"}}
    files.job("one", step)
    other = Files(tmp_path / "other")
    other.job("one", step)
    assert files.open().check() == []
    found = other.open().check()
    assert len(found) == 1
    assert str(files.root) in found[0].message
    assert str(other.root) in found[0].message
