"""Reading only what is new against doing all again: the same job with and without its `incremental`."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import pytest

from tests.perf.commands import Done, run
from tests.perf.figures import Figure
from tests.projects import ThrowAwayProject, call, not_exists, read, write

pytestmark = [pytest.mark.perf, pytest.mark.timeout(240)]

EVENTS, SCALES = 100_000, 7
SOME, FIFTH = 10, EVENTS // 5
"""How many of the events are new, where there is news."""
ROUNDS = 3

FUNCTIONS = """
    SCALES = ("phq9", "gad7", "phq15", "auditc", "pcptsd5", "cesd", "sleep")

    def score(row):
        for number, scale in enumerate(SCALES):
            yield {
                "observation_id": f"{row['event_id']}:{scale}",
                "event_id": row["event_id"],
                "occurred_at": row["occurred_at"],
                "scale": scale,
                "value": float(sum(row["answers"]) + number),
            }
"""
FIRST = {
    "event_id": "e:first",
    "occurred_at": datetime(2026, 1, 1, tzinfo=UTC),
    "answers": [1, 2, 3, 0, 1, 2, 3, 0, 1],
}
FILL_OTHERS = f"""
INSERT INTO derived.events (event_id, occurred_at, answers)
SELECT 'e:' || md5(i::VARCHAR), TIMESTAMPTZ '2026-01-01 00:00:00+00' + to_seconds(i), '[1,2,3,0,1,2,3,0,1]'
FROM range(1, {EVENTS}) t(i)
"""


@dataclass(frozen=True, slots=True)
class Formation:
    """The project, and a warehouse file for each number of new events."""

    project: Path
    saved: dict[int, Path]

    def run(self, job: str, new: int, state: Path) -> Done:
        """Run a job on a fresh copy of the warehouse with so many new events."""
        state.mkdir(exist_ok=True)
        shutil.copyfile(self.saved[new], state / "warehouse.duckdb")
        return run(self.project, state, job)


@pytest.fixture(scope="module")
def formation(tmp_path_factory: pytest.TempPathFactory) -> Formation:
    """100,000 events whose 700,000 observations are there, but for those of the new events."""
    folder = tmp_path_factory.mktemp("formation")
    project = ThrowAwayProject(folder / "project", "formation_jobs")
    project.functions(FUNCTIONS)
    project.table("derived.events", "event_id string!, occurred_at timestamp, answers json", key=["event_id"])
    project.table(
        "derived.observations",
        "observation_id string!, event_id string, occurred_at timestamp, scale string, value float64",
        key=["observation_id"],
    )
    last = [call("score"), write("derived.observations")]
    incremental = not_exists("derived.observations", "event_id")
    project.job("only_new", read("derived.events", incremental=incremental), *last)
    project.job("all_again", read("derived.events"), *last)
    project.fill("derived.events", [FIRST])
    with project.database() as connection:
        connection.execute(FILL_OTHERS)
    file = project.settings().warehouse_path
    state = folder / "state"
    state.mkdir()
    shutil.move(file, state / "warehouse.duckdb")
    assert run(project.root, state, "all_again").run["rows_written"] == EVENTS * SCALES
    return Formation(project.root, {new: saved(project, state, folder, new) for new in (0, SOME, FIFTH)})


def saved(project: ThrowAwayProject, state: Path, folder: Path, new: int) -> Path:
    """Take the observations of `new` events out of a copy."""
    file = project.settings().warehouse_path
    shutil.copyfile(state / "warehouse.duckdb", file)
    with project.database() as connection:
        connection.execute(
            "DELETE FROM derived.observations WHERE event_id IN "
            f"(SELECT event_id FROM derived.events ORDER BY occurred_at DESC LIMIT {new})"
        )
    return Path(shutil.move(file, folder / f"{new}.duckdb"))


@pytest.fixture(scope="module")
def runs(formation: Formation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Done]]:
    """All kinds in turn: one kind's slow moments are then also the others'."""
    state = tmp_path_factory.mktemp("state")
    found: dict[str, list[Done]] = {}
    for _ in range(ROUNDS):
        for label, job, new in (
            ("all again", "all_again", 0), ("no news", "only_new", 0), (f"{SOME} new", "only_new", SOME),
            ("a fifth new", "only_new", FIFTH),
        ):  # fmt: skip
            found.setdefault(label, []).append(formation.run(job, new, state))
    return found


def of_all_again(runs: dict[str, list[Done]], label: str) -> float:
    """The time of a kind of runs as a part of doing all again: the median of the rounds."""
    return median(one.run_s / other.run_s for one, other in zip(runs[label], runs["all again"], strict=True))


class TestFormationQueryOptimization:
    """Ratios are of the runs' own times; whole processes start in the same time in both."""

    def test_without_news_95_percent_of_the_time_is_saved_and_nothing_is_read(
        self, runs: dict[str, list[Done]], figure: Figure
    ) -> None:
        self.tell(runs, "all again", figure)
        self.tell(runs, "no news", figure)
        assert [done.run["rows_read"] for done in runs["all again"]] == [EVENTS] * ROUNDS
        assert [done.run["rows_read"] for done in runs["no news"]] == [0] * ROUNDS
        assert max(done.wall_s for done in runs["no news"]) < 10
        assert of_all_again(runs, "no news") <= 0.05

    def test_10_new_events_are_read_alone_and_scored_in_less_than_10_s(
        self, runs: dict[str, list[Done]], figure: Figure
    ) -> None:
        self.tell(runs, f"{SOME} new", figure)
        assert [done.run["rows_read"] for done in runs[f"{SOME} new"]] == [SOME] * ROUNDS
        assert [done.run["rows_written"] for done in runs[f"{SOME} new"]] == [SOME * SCALES] * ROUNDS
        assert max(done.wall_s for done in runs[f"{SOME} new"]) < 10

    def test_with_a_fifth_of_the_events_new_60_percent_of_the_time_is_saved(
        self, runs: dict[str, list[Done]], figure: Figure
    ) -> None:
        self.tell(runs, "a fifth new", figure)
        assert [done.run["rows_read"] for done in runs["a fifth new"]] == [FIFTH] * ROUNDS
        assert of_all_again(runs, "a fifth new") <= 0.40

    def tell(self, runs: dict[str, list[Done]], label: str, figure: Figure) -> None:
        """Add the figures of a kind of runs."""
        own, process = (median(getattr(done, name) for done in runs[label]) for name in ("run_s", "wall_s"))
        part = 100 * of_all_again(runs, label)
        figure(
            f"{EVENTS:,} events, {label}",
            f"{own:.3f} s; process {process:.3f} s; {part:.1f} % of all again",
        )
