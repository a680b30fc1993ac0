"""The SQL of docs/how-to/dashboards.md: on every engine it gives the same, and what the records say."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import pytest

from runner.ddl import ENGINE_TABLES, plan_changes
from runner.event_log import events_to_rows
from runner.events import Event, JobFinished, Noticed
from runner.pipeline_runner.warehouse import build_warehouse
from runner.records import PipelineRun, RunRecord, Status
from runner.run_store import FileRunStore
from runner.sql import DIALECTS
from tests.documents import blocks
from tests.engines import BigQueryEngine, DuckDBEngine, Engine, PostgresEngine, new_engine
from tests.projects import (
    REPOSITORY,
    ThrowAwayProject,
    call,
    extract,
    not_exists,
    open_file,
    read,
    rows_of,
    write,
)

DOCUMENT = REPOSITORY / "docs" / "how-to" / "dashboards.md"
SQL = {block.info[1]: block.text for block in blocks(DOCUMENT) if block.kind == "sql"}
QUESTIONS = [Path(path).stem for path in SQL if "/views." not in path]

FUNCTIONS = """
    import time

    def numbers(count, first):
        for n in range(count):
            yield {"n": first + n}

    def double(row, pause):
        time.sleep(pause)
        return {"n": row["n"], "double": row["n"] * 2}

    def other_key(row):
        return {"n": -1 - row["n"]}

    def fail(row, really):
        if really:
            raise ValueError("a wrong answer")
        return row
"""
FAST, SLOW = 0.002, 0.03
RUNS, FAILED, SLOW_FROM = 17, (1, 2, 3), 13
BILLED = 10_485_760


@dataclass(frozen=True)
class History:
    """What is asked about: runs of a small project, and their events."""

    runs: list[PipelineRun]
    events: list[list[Event]]

    def jobs(self) -> Iterator[RunRecord]:
        """Every job that ran."""
        return (job for run in self.runs for job in run.jobs if job.status is not Status.SKIPPED)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    """Some runs: a narrow queue, a step that gets slower, a job that fails now and then, an ineffective read."""
    project = ThrowAwayProject(tmp_path_factory.mktemp("dashboards") / "project", "project_of_dashboards")
    settings = project.root / "configs" / "runner.toml"
    settings.write_text(f'package = "{project.package}"\n[queues]\nnarrow = 1\n', encoding="utf-8")
    project.functions(FUNCTIONS)
    project.table("raw.a", "n int64!", key=["n"])
    project.table("raw.b", "n int64!", key=["n"])
    project.table("out.doubles", "n int64!, double int64!", key=["n"])
    project.table("out.never", "n int64!", key=["n"])
    for name in ("a", "b"):
        arguments = {"count": 5, "first": {"param": "first"}}
        project.job(
            f"load_{name}", extract("numbers", arguments=arguments), write(f"raw.{name}"),
            queue="narrow", params={"first": {"type": "int64"}},
        )  # fmt: skip
    project.job(
        "doubles", read("raw.a", incremental=not_exists("out.doubles", "n")),
        call("double", arguments={"pause": {"param": "pause"}}), write("out.doubles"),
        params={"pause": {"type": "float64"}},
    )  # fmt: skip
    project.job(
        "never",
        read("raw.a", incremental=not_exists("out.never", "n")),
        call("other_key"),
        write("out.never"),
    )
    project.job(
        "checked", read("raw.b"), call("fail", arguments={"really": {"param": "fails"}}), write("raw.b"),
        params={"fails": {"type": "bool"}},
    )  # fmt: skip
    project.pipeline(
        "shop",
        max_workers=2,
        stages=[
            {"name": "load", "jobs": ["load_a", "load_b"], "event": "shop.loaded"},
            {"name": "work", "jobs": ["doubles", "never", "checked"]},
        ],
    )
    runs = [
        project.run(
            "shop",
            params={
                "first": str(number * 5),
                "pause": str(SLOW if number >= SLOW_FROM else FAST),
                "fails": "true" if number in FAILED else "false",
            },
        )
        for number in range(RUNS)
    ]
    store = FileRunStore(project.settings().runs_dir)
    events = [list(store.events(run.pipeline_run_id)) for run in runs]
    project.forget()
    return History([billed(run) for run in runs], [[cost(event) for event in each] for each in events])


def cost(event: Event) -> Event:
    """Let the warehouse have told what one job has cost, as BigQuery does and DuckDB does not."""
    if isinstance(event, JobFinished) and event.job_id == "doubles":
        return replace(event, record=with_cost(event.record))
    return event


def with_cost(record: RunRecord) -> RunRecord:
    usage = {"queries": 2, "bytes_processed": 1000, "bytes_billed": BILLED, "slot_ms": 40}
    return replace(record, warehouse=usage) if record.job_id == "doubles" else record


def billed(run: PipelineRun) -> PipelineRun:
    """The same, in the record."""
    return replace(run, jobs=tuple(with_cost(job) for job in run.jobs))


# --- asking ---

Answers = dict[str, list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def answers(history: History, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What DuckDB answers to each question, as plain values."""
    folder = tmp_path_factory.mktemp("engine")
    return answers_of(DuckDBEngine(folder / "warehouse.duckdb"), history, folder)


def answers_of(engine: Engine, history: History, folder: Path) -> Answers:
    """Give an engine the events and the views, and ask it."""
    anyio.run(bring, engine, history, folder)
    ask = asking(engine)
    for statement in SQL[f"dashboards/views.{engine.warehouse['kind']}.sql"].split(";\n"):
        if statement.strip():
            ask(statement)
    return {question: plain(ask(SQL[f"dashboards/{question}.sql"])) for question in QUESTIONS}


async def bring(engine: Engine, history: History, folder: Path) -> None:
    """Bring the events to the engine, as the flush after a run does."""
    project = ThrowAwayProject(folder / "project", f"project_on_{engine.warehouse['kind']}")
    async with build_warehouse(project.settings(warehouse=engine.warehouse)) as warehouse:
        shapes = await warehouse.inspect([table.ref for table in ENGINE_TABLES])
        await warehouse.apply(plan_changes(ENGINE_TABLES, shapes, DIALECTS[warehouse.engine]))
        rows = [row for events in history.events for row in events_to_rows(events)]
        assert await warehouse.merge_events(rows) == len(rows)


def asking(engine: Engine) -> Callable[[str], list[tuple[Any, ...]]]:
    """Return what sends a statement by the engine's own client."""

    def ask(statement: str) -> list[tuple[Any, ...]]:
        match engine:
            case DuckDBEngine():
                with open_file(engine.file) as connection:
                    if statement.lstrip().startswith("CREATE"):
                        connection.execute(statement)
                        return []
                    return [tuple(row.values()) for row in rows_of(connection, statement)]
            case PostgresEngine():
                return engine.database.fetch(statement)
            case BigQueryEngine():
                with engine.project.client() as client:
                    return [tuple(row.values()) for row in client.query_and_wait(statement)]
            case _:
                raise AssertionError(engine)

    return ask


def plain(rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    return [tuple(map(value_of, row)) for row in rows]


def value_of(value: Any) -> Any:
    match value:
        case datetime():
            return value.astimezone(UTC)
        case date() | str() | None:
            return value
        case int() | float() | Decimal():
            return float(f"{float(value):.9g}")
    raise AssertionError(value)


# --- what the records say ---


def test_where_the_time_went(answers: Answers, history: History) -> None:
    spent: dict[tuple[str, str], float] = defaultdict(float)
    for job in history.jobs():
        for timing in job.step_timings:
            if timing.status is not Status.SKIPPED:
                spent[job.job_id, timing.step_id] += timing.duration_ms

    rows = {(job, step): (total, percent) for job, step, _, _, total, percent in answers["steps"]}
    assert rows.keys() == spent.keys()
    for key, (total, percent) in rows.items():
        assert total == pytest.approx(spent[key], abs=0.51)
        assert percent == pytest.approx(100 * spent[key] / sum(spent.values()), abs=0.51)
    totals = [row[4] for row in answers["steps"]]
    assert totals == sorted(totals, reverse=True)


def test_what_got_slower(answers: Answers, history: History) -> None:
    times = [
        timing.duration_ms
        for run in history.runs
        for job in run.jobs
        for timing in job.step_timings
        if (job.job_id, timing.step_id) == ("doubles", "double")
    ]

    found = next(row for row in answers["slower"] if row[:2] == ("doubles", "double"))
    before, now = median(times[:-5]), median(times[-5:])
    assert found[2:4] == (pytest.approx(before, abs=0.51), pytest.approx(now, abs=0.51))
    assert found[4] == pytest.approx(now / before)
    assert found[4] > 3


def test_failures_by_cause(answers: Answers, history: History) -> None:
    counted = Counter(
        (error.category, job.job_id, error.step_id) for job in history.jobs() for error in job.errors
    )
    assert {row[:3]: row[3] for row in answers["failures"]} == counted == {("data", "checked", "fail"): 3}
    assert "a wrong answer" in answers["failures"][0][5]


def test_who_waits(answers: Answers, history: History) -> None:
    waited: dict[str, list[float]] = defaultdict(list)
    for job in history.jobs():
        waited[job.queue].append(job.queue_ms)

    rows = {row[0]: row[1:4] for row in answers["waits"]}
    assert rows.keys() == waited.keys() == {"narrow", "default"}
    for queue, values in waited.items():
        wanted = (len(values), pytest.approx(sum(values), abs=0.51), pytest.approx(max(values), abs=0.51))
        assert rows[queue] == wanted


def test_what_a_stage_gains(answers: Answers, history: History) -> None:
    """Also of a stage whose YAML gives its event another word."""
    rows = {row[0]: row for row in answers["stages"]}
    assert rows["shop/load"][1] == RUNS
    assert rows["shop/work"][1] == sum(run.status is Status.SUCCESS for run in history.runs) == 14
    assert rows["shop/load"][4] == 2
    assert 0 < rows["shop/load"][5] <= 1.5, "a narrow queue gains nothing"


def test_what_jobs_cost(answers: Answers, history: History) -> None:
    first = answers["cost"][0]
    assert (first[0], first[1], first[3], first[4]) == ("doubles", RUNS, RUNS * BILLED, RUNS * 40)
    assert first[5] == BILLED
    total = sum(job.duration_ms for job in history.jobs() if job.job_id == "doubles")
    assert first[2] == pytest.approx(total, abs=0.51)
    assert all(row[3] is None for row in answers["cost"][1:])


def test_rows_per_second(answers: Answers, history: History) -> None:
    jobs = [job for job in history.jobs() if job.job_id == "load_a"]
    row_count = sum(job.rows_written for job in jobs)
    write_ms = sum(t.duration_ms for job in jobs for t in job.step_timings if t.op == "write")

    found = next(row for row in answers["rates"] if row[0] == "load_a")
    assert found[1:3] == (RUNS, row_count)
    assert found[3] == pytest.approx(1000 * row_count / sum(job.duration_ms for job in jobs))
    assert found[4] == pytest.approx(1000 * row_count / write_ms)


def test_reads_that_have_become_ineffective(answers: Answers, history: History) -> None:
    noticed = Counter(
        event.job_id
        for events in history.events
        for event in events
        if isinstance(event, Noticed) and event.code == "incremental.ineffective"
    )
    assert {row[0]: row[2] for row in answers["ineffective"]} == noticed == {"never": RUNS}


def test_regressions_that_runs_found(answers: Answers, history: History) -> None:
    noticed = Counter(
        (event.job_id, event.step_id)
        for events in history.events
        for event in events
        if isinstance(event, Noticed) and event.code == "performance.regression"
    )
    assert {row[:2]: row[2] for row in answers["regressions"]} == noticed
    assert ("doubles", "double") in noticed


def test_day_by_day(answers: Answers, history: History) -> None:
    assert {row[1] for row in answers["trend"]} == {"shop"}
    assert sum(row[2] for row in answers["trend"]) == RUNS
    assert sum(row[3] for row in answers["trend"]) == 3
    assert sum(row[7] for row in answers["trend"]) == sum(run.rows_written for run in history.runs)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ["postgres-18", "bigquery"])
def test_engines_agree(
    name: str, answers: Answers, history: History, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """To nine digits."""
    with new_engine(name, request, tmp_path) as engine:
        found = answers_of(engine, history, tmp_path)

    assert len(QUESTIONS) >= 10
    for question in QUESTIONS:
        assert answers[question], f"{question}: nothing to compare"
        assert found[question] == answers[question], question
