"""`daily` of the reference project on every engine, from the same YAML: only `[warehouse]` differs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from runner.ports import Release
from runner.records import PipelineRun, Status
from runner.specs import Filter
from tests.engines import DuckDBEngine, Engine, Rows, content, digests, new_engine
from tests.integration.test_reference_project import add_news
from tests.projects import PROCESSING, ReferenceProject

JOBS = 13
RESCORED, OBSERVATIONS = "form_obs_intake_01", "derived.observations"

READING = {
    "postgres": ("SELECT ", "WITH ", "COPY (SELECT ", "BEGIN TRANSACTION READ ONLY", "COMMIT"),
    "bigquery": ("SELECT ", "WITH "),
}
"""How statements begin that change nothing."""

ASKING = {"postgres": ("WITH ", "COPY (SELECT s."), "bigquery": ("SELECT s.", "WITH ")}
"""How those of them begin that ask for a job's new rows."""

FLUSH = {
    "postgres": [
        "BEGIN", 'CREATE TEMP TABLE "incoming_events" ', 'COPY pg_temp."incoming_events" ',
        'INSERT INTO "ops"."event_log" ',
    ],
    "bigquery": ["INSERT INTO `ops`.`event_log` "],
}  # fmt: skip
"""How those begin that bring the events of finished runs to their table."""


class Samples:
    """The samples in one place for all engines, so that paths and times are the same."""

    def __init__(self, folder: Path) -> None:
        self.folder = ReferenceProject(folder).samples
        self._aside = folder
        self._news = [Path("eml/late.eml"), Path("forms/later.csv")]
        add_news(self.folder)
        self._move(self.folder, self._aside)

    @contextmanager
    def news(self) -> Iterator[None]:
        """Have one message and ten responses more for a while."""
        self._move(self._aside, self.folder)
        try:
            yield
        finally:
            self._move(self.folder, self._aside)

    def _move(self, source: Path, target: Path) -> None:
        for file in self._news:
            (target / file).parent.mkdir(exist_ok=True)
            (source / file).rename(target / file)


@dataclass
class Moment:
    """A run, what it sent, and what the engine held after it."""

    run: PipelineRun
    sent: list[str]
    held: dict[str, Rows]

    @property
    def digests(self) -> dict[str, str]:
        """Digests of all tables, without times of processing and ids of runs."""
        return digests(content(self.held, without=PROCESSING))

    @property
    def counts(self) -> dict[str, tuple[str, int, int]]:
        """Status, rows read and rows written of each job."""
        return {job.job_id: (job.status.value, job.rows_read, job.rows_written) for job in self.run.jobs}


class Story:
    """`daily` on one engine: everything, nothing, and with `go_on` what is new, and one binding scored again."""

    third: Moment
    rescored: Moment
    last: Moment

    def __init__(self, engine: Engine, folder: Path, samples: Samples) -> None:
        self.engine = engine
        self._samples = samples
        self.project = ReferenceProject(folder, samples.folder)
        # One message stands in both mailboxes, and the first to land writes it: one after the other.
        self.first = self._run(max_workers=1)
        self.second = self._run()

    def go_on(self) -> Self:
        """Run with news, and rescore."""
        with self._samples.news():
            self.third = self._run()
            binding = Filter(column="binding_id", value="intake_01")
            self.rescored = self._run(RESCORED, releases={RESCORED: Release(filters=(binding,))})
            self.last = self._run(RESCORED)
        return self

    def _run(self, name: str = "daily", **options: Any) -> Moment:
        before = len(self.engine.sent())
        run = self.project.run(name, warehouse=self.engine.warehouse, **options)
        return Moment(run, self.engine.sent()[before:], self.engine.tables())


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return Samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="module")
def on_duckdb(samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("duckdb")
    return Story(DuckDBEngine(folder / "warehouse.duckdb"), folder, samples).go_on()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("postgres-15", True), ("postgres-18", True), ("bigquery", False),
        pytest.param("bigquery", True, marks=pytest.mark.chaos),
    ],
)  # fmt: skip
def test_daily_does_the_same_as_on_duckdb(
    name: str, whole: bool, request: pytest.FixtureRequest, on_duckdb: Story, samples: Samples, tmp_path: Path
) -> None:
    with new_engine(name, request, tmp_path) as engine:
        story = Story(engine, tmp_path, samples)
        assert story.first.counts == on_duckdb.first.counts
        assert story.first.digests == on_duckdb.first.digests
        assert set(story.first.held) == set(on_duckdb.first.held), "no staging is left"
        assert_nothing_was_done(story.second, after=story.first)
        assert_only_read(story.second, name.partition("-")[0])
        if whole:
            story.go_on()
            assert story.third.counts == on_duckdb.third.counts
            assert story.third.digests == on_duckdb.third.digests
            assert_one_binding_was_scored_again(story)
            assert story.rescored.digests == on_duckdb.rescored.digests


def test_daily_is_right_on_duckdb(on_duckdb: Story) -> None:
    """What the others are compared with; more of it in test_reference_project.py."""
    assert on_duckdb.first.counts["form_obs_intake_01"] == ("partial", 20, 131)
    assert on_duckdb.third.counts["form_obs_followup"][:2] == ("success", 10)
    assert_nothing_was_done(on_duckdb.second, after=on_duckdb.first)
    assert_one_binding_was_scored_again(on_duckdb)


def assert_nothing_was_done(second: Moment, after: Moment) -> None:
    """Nothing was read, nothing was written: not even times of processing differ."""
    assert second.run.status is Status.SUCCESS
    assert set(second.counts.values()) == {("success", 0, 0)}
    assert len(second.counts) == JOBS
    assert content(second.held) == content(after.held)
    assert second.held["ops.landings"] == after.held["ops.landings"]
    assert set(second.held) == set(after.held)


def assert_only_read(second: Moment, kind: str) -> None:
    """One question a job, metadata, and the flush of the run's events: the server was sent nothing else."""
    others = [statement for statement in second.sent if not statement.startswith(READING[kind])]
    assert len(others) == len(FLUSH[kind]), others
    assert all(map(str.startswith, others, FLUSH[kind])), others
    asking = [statement for statement in second.sent if statement.startswith(ASKING[kind])]
    assert len(asking) == JOBS, asking


def assert_one_binding_was_scored_again(story: Story) -> None:
    """The same rows, with new times of processing; the others are as they were; the next run has nothing to do."""
    scored = [row for row in story.third.held[OBSERVATIONS] if row["binding_id"] == "intake_01"]
    events = {row["measurement_event_id"] for row in scored}
    assert story.rescored.counts == {RESCORED: ("success", len(events), len(scored))}
    assert lines(story.rescored, PROCESSING) == lines(story.third, PROCESSING)
    changed = set(lines(story.rescored)) - set(lines(story.third))
    assert len(changed) == len(scored)
    assert all("binding_id: 'intake_01'" in line for line in changed)
    assert story.last.counts == {RESCORED: ("success", 0, 0)}


def lines(moment: Moment, without: tuple[str, ...] = ()) -> list[str]:
    """Return the observations as lines."""
    return content(moment.held, without=without)[OBSERVATIONS]
