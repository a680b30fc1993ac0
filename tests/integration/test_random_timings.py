"""Timings of random pipelines and of a job with known shares, by the real clock and on a real DuckDB file."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pyarrow as pa
import pytest

from runner.analysis.performance import job_performance
from runner.pipeline_runner import PipelineRunner
from runner.ports import LandingResult, LandingSpec, ReadQuery, Writer
from runner.records import PipelineRun, RunRecord, Status
from runner.warehouses.duckdb import DuckDBWarehouse
from tests.projects import Step, ThrowAwayProject, call, extract, job_of, read, write

PIPELINES, MANY_PIPELINES = 25, 200
"""By default, and with --thorough."""

TRIES = 4
"""The machine may be busy with something else in all but one of them."""

FUNCTIONS = """
    import asyncio
    import time

    def numbers(count, ms):
        for n in range(count):
            time.sleep(ms / 1000 / count)
            yield {"n": n, "name": "a"}

    def wait(row, ms):
        time.sleep(ms / 1000)
        return row

    def work(row, ms):
        until = time.perf_counter() + ms / 1000
        while time.perf_counter() < until:
            pass
        return row

    async def rest(row, ms):
        await asyncio.sleep(ms / 1000)
        return row

    def twice(row):
        yield row
        yield {**row, "name": "b"}

    def odd(row):
        return row if row["n"] % 2 else None
"""


class RandomPipelines:
    """Declares pipelines of random jobs in one project, and runs them."""

    def __init__(self, project: ThrowAwayProject, seed: int) -> None:
        self._project = project
        self._random = random.Random(seed)
        for number in range(4):
            project.table(f"lab.t{number}", "n int64!, name string!", key=["n", "name"])
        project.functions(FUNCTIONS)
        project.fill("lab.t0", [{"n": n, "name": name} for n in range(12) for name in "ab"])

    def declare(self, name: str) -> None:
        """Declare a pipeline of one to four jobs, in one or two stages."""
        jobs = [f"{name}_{number}" for number in range(self._random.randint(1, 4))]
        for job_id in jobs:
            self._project.job(job_id, *self._steps())
        cut = self._random.randint(0, len(jobs) - 1)
        stages = [
            {"name": f"s{number}", "jobs": part, "max_workers": self._random.randint(1, 3)}
            for number, part in enumerate((jobs[:cut], jobs[cut:]))
            if part
        ]
        self._project.pipeline(name, stages=stages)

    def _steps(self) -> list[Step]:
        """Rows from somewhere, through up to four steps, to a table or nowhere."""
        source = self._random.choice((self._extract, lambda: read("lab.t0")))()
        steps = [source, *(self._through(number) for number in range(self._random.randint(0, 4)))]
        if len(steps) == 1 or self._random.random() < 0.8:
            target = f"lab.t{self._random.randint(1, 3)}"
            steps.append(write(target, mode=self._random.choice(("upsert", "insert_missing", "replace"))))
        return steps

    def _extract(self) -> Step:
        return extract(
            "numbers", arguments={"count": self._random.randint(1, 20), "ms": self._random.randint(0, 30)}
        )

    def _through(self, number: int) -> Step:
        step_id = f"step_{number}"
        function = self._random.choice(("wait", "work", "rest", "twice", "odd", "check"))
        if function == "check":
            return {"step_id": step_id, "op": "check", "expect": [{"not_null": ["n"]}]}
        arguments: dict[str, Any] = {}
        if function in ("wait", "work", "rest"):
            arguments = {"ms": self._random.choice((0, 0.1, 1, 2))}
        return call(function, step_id=step_id, arguments=arguments)


def gap_ms(record: RunRecord) -> float:
    """Return by how much the steps' durations and the job's differ beyond 2 % or 5 ms."""
    steps = sum(timing.duration_ms for timing in record.step_timings)
    return abs(record.duration_ms - steps) - max(0.02 * record.duration_ms, 5)


async def best_of_tries(pipelines: PipelineRunner, name: str) -> tuple[PipelineRun, list[str]]:
    """Run until no job is off, or there are no more tries; return the last run, and what is off in it."""
    for left in reversed(range(TRIES)):
        run = await pipelines.run(name)
        assert run.status is Status.SUCCESS, run.jobs
        off = [f"{job.job_id} by {gap_ms(job):.1f} ms" for job in run.jobs if gap_ms(job) > 0]
        if not off or not left:
            return run, off
    raise AssertionError("there is a last try")


@pytest.mark.timeout(300)
def test_the_steps_of_random_pipelines_add_up_to_their_jobs(
    project: ThrowAwayProject, request: pytest.FixtureRequest
) -> None:
    """Each job of each pipeline within 2 % or 5 ms: what steps wait for each other is counted once."""
    count = MANY_PIPELINES if request.config.getoption("thorough") else PIPELINES
    made = RandomPipelines(project, seed=5)
    names = [f"p{number}" for number in range(count)]
    for name in names:
        made.declare(name)

    async def execute() -> tuple[list[str], int]:
        wrong, jobs = [], 0
        async with PipelineRunner.open(project.settings(batch_rows=5)) as pipelines:
            for name in names:
                run, off = await best_of_tries(pipelines, name)
                jobs += len(run.jobs)
                wrong += off
        return wrong, jobs

    wrong, jobs = anyio.run(execute)

    assert wrong == []
    assert jobs > 2 * count


READ_S, WRITE_S, ROWS, ROW_S = 0.2, 0.1, 20, 0.035


class Slowed(DuckDBWarehouse):
    """A DuckDB that takes 0.2 s to answer a read, and 0.1 s to land."""

    @asynccontextmanager
    async def read(self, query: ReadQuery) -> AsyncIterator[AsyncIterator[pa.RecordBatch]]:
        """Think about it first."""
        await anyio.sleep(READ_S)
        async with super().read(query) as batches:
            yield batches

    @asynccontextmanager
    async def writer(self, landing: LandingSpec) -> AsyncIterator[Writer]:
        """Open a staging area that lands slowly."""
        async with super().writer(landing) as writer:
            land = writer.land

            async def slowly(batch: int = 0) -> LandingResult:
                await anyio.sleep(WRITE_S)
                return await land(batch)

            writer.land = slowly  # type: ignore[method-assign]
            yield writer


@pytest.mark.parametrize("function", ["wait", "work", "rest"])
def test_a_job_with_known_shares_is_described_within_5_points(
    project: ThrowAwayProject, function: str
) -> None:
    """70 % in the transform, 20 % in the read, 10 % in the write; asleep in a thread, at work, and on the loop."""
    project.table("src.numbers", "n int64!", key=["n"])
    project.table("out.numbers", "n int64!", key=["n"])
    project.functions(FUNCTIONS)
    project.fill("src.numbers", [{"n": n} for n in range(ROWS)])
    project.job(
        "job", read("src.numbers"), call(function, arguments={"ms": 1000 * ROW_S}), write("out.numbers")
    )
    settings = project.settings(batch_rows=5)

    async def execute() -> PipelineRun:
        warehouse = Slowed(settings.warehouse_path, settings.warehouse)  # type: ignore[arg-type]
        async with PipelineRunner.open(settings, warehouse=warehouse) as pipelines:
            return await pipelines.run("job")

    found = []
    for _ in range(TRIES):
        figures = job_performance(job_of(anyio.run(execute)))
        parts = (figures.query_ms, figures.transform_ms, figures.write_ms)
        found.append([round(100 * part / figures.duration_ms, 1) for part in parts])
        if all(abs(share - true) <= 5 for share, true in zip(found[-1], (20, 70, 10), strict=True)):
            return
    pytest.fail(f"shares of read, transform and write: {found}")
