"""`report`: one file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from runner.events import JobFinished
from runner.fold import fold_run
from runner.records import Status, StepRegression
from runner.run_store import FileRunStore
from runner.testing.timed_history import TimedJob, timed_history
from tests.browser.scenes import HOSTILE, START, hostile, jobs, put, retries, series
from tests.cli.demo_project import DemoProject

InProject = Callable[..., int]
Captured = pytest.CaptureFixture[str]

ADDRESSES = {"src", "href", "srcset", "action", "formaction", "poster", "data", "background", "cite", "ping"}


class Elements(HTMLParser):
    """All elements of a page with their attributes, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((name, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.said.append(data)


@pytest.fixture
def runs_dir(project: DemoProject) -> Path:
    """The run store of the project."""
    return project.folder / "var" / "runs"


def written(project: DemoProject, name: str = "report.html") -> str:
    return (project.folder / name).read_text(encoding="utf-8")


def test_the_last_run_is_written_and_said(
    project: DemoProject, runs_dir: Path, in_project: InProject, capsys: Captured
) -> None:
    *_, last = series(runs_dir, "daily", 3)

    assert in_project("report") == 0

    assert capsys.readouterr().err.startswith("wrote report.html (")
    page = written(project)
    assert page.startswith("<!doctype html>")
    assert last in page
    assert "<title>daily: success, 2026-02-12 08:00:00Z</title>" in page
    assert "Of the last 3 runs, none went wrong" in page


@pytest.mark.parametrize("by", ["name", "id", "beginning", "last-failed"])
def test_a_run_is_named_in_any_way(
    by: str, project: DemoProject, runs_dir: Path, in_project: InProject
) -> None:
    *_, failed = series(runs_dir, "broken", 3, failing=(2,))
    series(runs_dir, "later", 1)
    reference = {"name": "broken", "id": failed, "beginning": failed[:25], "last-failed": by}[by]

    assert in_project("report", reference, "-o", "of.html") == 0

    page = written(project, "of.html")
    assert f"run <code>{failed}</code>" in page
    assert "KeyError: &#x27;item_7&#x27;" in page


def test_runs_after_it_are_not_told_of(project: DemoProject, runs_dir: Path, in_project: InProject) -> None:
    first, second, third = series(runs_dir, "daily", 3)

    assert in_project("report", second) == 0

    page = written(project)
    assert first in page
    assert third not in page


def test_runs_limits_how_many(project: DemoProject, runs_dir: Path, in_project: InProject) -> None:
    ids = series(runs_dir, "daily", 4)

    assert in_project("report", "--runs", "2") == 0

    page = written(project)
    assert [run_id in page for run_id in ids] == [False, False, True, True]


def test_a_dash_is_stdout(runs_dir: Path, project: DemoProject) -> None:
    series(runs_dir, "daily", 1)

    done = project.run("report", "-o", "-")

    assert done.returncode == 0
    assert done.stdout.startswith("<!doctype html>")
    assert done.stderr == ""


def test_what_is_not_there_is_an_error_and_no_file(
    project: DemoProject, in_project: InProject, capsys: Captured
) -> None:
    assert in_project("report") == 2
    assert "nothing has run yet" in capsys.readouterr().err
    assert in_project("report", "nobody") == 2
    assert not (project.folder / "report.html").exists()


def test_a_form_of_data_is_no_file(
    project: DemoProject, runs_dir: Path, in_project: InProject, capsys: Captured
) -> None:
    """`-o json` is that of other commands: a page in a file named json was what nobody meant."""
    series(runs_dir, "daily", 1)
    assert in_project("report", "-o", "json") == 2
    assert (
        "report writes a page: -o FILE.html; ./json would be a file of that name" in capsys.readouterr().err
    )
    assert not (project.folder / "json").exists()
    assert in_project("report", "-o", "./json") == 0


@pytest.mark.parametrize("file", ["missing/report.html", "/dev/full"])
def test_a_file_that_cannot_be_written_is_an_error(
    file: str, runs_dir: Path, in_project: InProject, capsys: Captured
) -> None:
    series(runs_dir, "daily", 1)

    assert in_project("report", "-o", file) == 1
    assert file in capsys.readouterr().err


def test_the_page_names_no_address_and_its_policy_lets_nothing_in(
    project: DemoProject, runs_dir: Path, in_project: InProject
) -> None:
    series(runs_dir, "daily", 14, failing=(3,), usage=True)
    assert in_project("report") == 0

    page = written(project)
    elements = Elements(page).found
    named = [value for _, attributes in elements for key, value in attributes.items() if key in ADDRESSES]
    assert [value.partition(",")[0] for value in named if value] == ["data:image/svg+xml"]
    assert not {name for name, _ in elements} & {"script", "iframe", "img", "object", "embed", "form", "base"}
    assert not [
        key for _, attributes in elements for key in attributes if key.startswith("on") or key == "style"
    ]
    assert "url(" not in page
    assert "@import" not in page
    style = re.search(r"<style>(.*)</style>", page, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = next(
        each["content"] for _, each in elements if each.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def test_hostile_names_are_text(project: DemoProject, runs_dir: Path, in_project: InProject) -> None:
    hostile(runs_dir)
    assert in_project("report", "hostile") == 0
    friendly = put(runs_dir, timed_history("friendly", list(jobs(6)), started_at=START))
    assert in_project("report", friendly, "-o", "friendly.html") == 0

    parsed = Elements(written(project))
    said = "".join(parsed.said)
    for text in HOSTILE[:-1]:
        assert text in said
    assert "\\u202egnp.exe\\u2066 \\x1b[31m\\x00\\x07\\u2028 end" in said
    assert not set(HOSTILE[-1]) & {"\u202e", "\x1b", "\x00"} & set(written(project))
    known = {name for name, _ in Elements(written(project, "friendly.html")).found}
    known |= {"pre", "strong", "figure", "figcaption", "circle", "polyline"}
    assert {name for name, _ in parsed.found} <= known


def test_a_retry_is_not_what_is_usual(project: DemoProject, runs_dir: Path, in_project: InProject) -> None:
    series(runs_dir, "daily", 2)
    retries(runs_dir, 5)
    last = timed_history("daily", list(jobs(9)), started_at=START + timedelta(days=2), max_workers=2)
    put(runs_dir, last)

    assert in_project("report") == 0
    assert "±0 % against the usual 4.3 s" in written(project)
    assert "one that succeeds usually takes 4.3 s (dashed)" in written(project)


def test_a_retry_is_not_compared_with_what_is_usual(
    project: DemoProject, runs_dir: Path, in_project: InProject
) -> None:
    """It is no 90 % quicker: it had less to do."""
    series(runs_dir, "daily", 2)
    retries(runs_dir, 1)

    assert in_project("report") == 0
    assert "a part of the work, which usually takes 4.3 s" in written(project)
    assert "against the usual 4.3 s" not in written(project)


def test_what_the_run_found_slower_is_told(
    project: DemoProject, runs_dir: Path, in_project: InProject
) -> None:
    told = timed_history("daily", list(jobs(3)), started_at=START)
    run = fold_run(told, run_id=told[0].run_id, alive=False)
    slower = StepRegression(
        job_id="form_obs_01", step_id="<score>", was_ms=400, is_ms=720, ratio=1.8, runs=20
    )
    with closing(FileRunStore(runs_dir).create(run.pipeline_run_id, "daily", START)) as writer:
        writer.append(told)
        writer.write_run(replace(run, regressions=(slower,)))

    assert in_project("report") == 0
    cells = re.findall(
        "<td[^>]*>([^<]*)<", written(project).partition('id="slower"')[2].partition("</section>")[0]
    )
    assert [cell for cell in cells if cell] == ["720 ms", "400 ms", "1.8", "20"]
    assert "&lt;score&gt;" in written(project)


def test_a_crashed_run_and_a_damaged_one(
    project: DemoProject, runs_dir: Path, in_project: InProject, capsys: Captured
) -> None:
    put(runs_dir, timed_history("daily", list(jobs(3)), started_at=START), over=False)
    assert in_project("report") == 0
    assert "the runner ended without recording the end of this run" in written(project)

    damaged = put(runs_dir, timed_history("daily", list(jobs(3)), started_at=START), over=False)
    folder = next(runs_dir.glob(f"*/{damaged}-*"))
    (folder / "events.jsonl").write_bytes(b"no json\n" + (folder / "events.jsonl").read_bytes())
    assert in_project("report", damaged, "-o", "damaged.html") == 1
    assert "events.jsonl" in capsys.readouterr().err
    series(runs_dir, "daily", 1)
    assert in_project("report", "daily", "-o", "after.html") == 0
    assert "! crashed" in re.sub("<[^>]*>", "", written(project, "after.html")).replace("!</span>", "!")


def test_a_job_that_was_skipped_is_not_told_to_come_while_the_run_goes_on(
    project: DemoProject, runs_dir: Path, in_project: InProject
) -> None:
    told = timed_history("daily", list(jobs(3)), started_at=START)
    first = next(at for at, event in enumerate(told) if isinstance(event, JobFinished))
    last = next(event for event in reversed(told) if isinstance(event, JobFinished))
    record = replace(last.record, status=Status.SKIPPED, started_at=None, duration_ms=0, step_timings=())
    with closing(FileRunStore(runs_dir).create(told[0].run_id, "daily", START)) as writer:
        writer.append([*told[: first + 1], replace(last, record=record)])
        assert in_project("report") == 0

    assert "1 job skipped." in written(project)
    assert "not begun" not in written(project)


def test_short_jobs_among_many_are_folded_away_and_it_is_said(
    project: DemoProject, runs_dir: Path, in_project: InProject
) -> None:
    long = [TimedJob(job_id="long", steps={"read": 60_000.0})]
    short = [TimedJob(job_id=f"short_{number}", steps={"read": 5.0}) for number in range(40)]
    put(runs_dir, timed_history("daily", [*long, *short], started_at=START, max_workers=41))

    assert in_project("report") == 0
    assert "40 jobs more, each below 0.5 % of the run" in "".join(Elements(written(project)).said)
