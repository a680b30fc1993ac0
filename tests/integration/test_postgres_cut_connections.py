"""A run whose connection to PostgreSQL is cut at many points: its rows land exactly once or not at all, the error names
the cause, nothing goes on at the server, and the next run makes it whole.

A healthy run is counted first, in packets of both directions; then one run a packet is cut there.
"""

from __future__ import annotations

from typing import Any

import pytest

from runner.errors import WarehouseUnavailable
from runner.records import PipelineRun, Status
from tests.postgres_lab import eventually
from tests.projects import ThrowAwayProject, call, job_of, make_project, not_exists, project, read, write
from tests.servers.fixtures import ProxyTo
from tests.servers.postgres import PostgresDatabase
from tests.servers.tcp_proxy import Break, Direction, Fault, TcpProxy

__all__ = ["make_project", "project"]

ROWS = 500
FUNCTIONS = """
    def double(row):
        return {"id": row["id"], "n": 2 * row["n"]}
"""
SOME = [3, 17, 31, 45]
"""Percent of a run, of the short version; another place in each case."""

WAYS: tuple[Direction, ...] = ("to_server", "to_client")
CASES = [(how, direction) for how in (Break.CUT, Break.RESET) for direction in WAYS]


class CutRuns:
    """One project, run again and again on one database through one proxy."""

    def __init__(self, project: ThrowAwayProject, database: PostgresDatabase, proxy: TcpProxy) -> None:
        self.project = project
        self.database = database
        self.proxy = proxy
        self.dsn = database.uri.replace(str(database.server.port), str(proxy.port))

    def declare(self, *, retries: int) -> None:
        """Declare a job that reads, calls, appends, counts by a statement of its own, and checks."""
        retrying: dict[str, Any] = {"retries": retries}
        self.project.table("app.events", "id string, n int64", key=["id"])
        self.project.table("out.copies", "id string, n int64", key=["id"])
        self.project.table("out.counts", "n int64")
        self.project.functions(FUNCTIONS)
        self.project.job(
            "job",
            read("app.events", incremental=not_exists("out.copies", "id"), **retrying),
            call("double"),
            write("out.copies", mode="append", **retrying),
            {
                "step_id": "count", "op": "sql", "writes": ["out.counts"], **retrying,
                "statement": "INSERT INTO out.counts SELECT count(*) FROM out.copies",
            },
            {
                "step_id": "check", "op": "check", "dataset": "out", "table": "copies",
                "expect": [{"unique": "id"}, {"not_null": ["id", "n"]}], **retrying,
            },
        )  # fmt: skip

    def prepare(self) -> None:
        """Have the tables made, without a row in the targets, and `ROWS` in the source."""
        self.run()
        self.database.fetch(
            "INSERT INTO app.events SELECT 'e' || x, x FROM generate_series(1, %s) AS a(x)", ROWS
        )

    def empty(self) -> None:
        """Take away what a run has landed."""
        self.database.fetch("TRUNCATE out.copies, out.counts, ops.landings")

    def run(self) -> PipelineRun | WarehouseUnavailable:
        """Run; a warehouse that is not there before the run has begun is an error that is raised."""
        try:
            return self.project.run("job", warehouse={"kind": "postgres", "dsn": self.dsn})
        except WarehouseUnavailable as error:
            return error

    def length(self, direction: Direction) -> int:
        """Return how many packets of a healthy run pass."""
        self.empty()
        self.proxy.reset_counts()
        self.run()
        return self.proxy.passed[direction][1]

    def cut(self, fault: Fault) -> PipelineRun | WarehouseUnavailable:
        """Run with a fault, and look at what must hold after each run."""
        self.empty()
        self.proxy.fail(fault)
        result = self.run()
        self.proxy.heal()
        eventually(lambda: not self.database.running(), 2)
        self.has_landed_once_or_not_at_all(result)
        return result

    def has_landed_once_or_not_at_all(self, result: PipelineRun | WarehouseUnavailable) -> None:
        """Compare the tables with the marker and with what the run says of itself."""
        (found,) = self.database.fetch(
            "SELECT (SELECT count(*) FROM out.copies), (SELECT count(DISTINCT id) FROM out.copies), "
            "(SELECT count(*) FROM out.counts), (SELECT sum(n) FROM out.counts), (SELECT count(*) FROM ops.landings)"
        )
        whole, nothing = (ROWS, ROWS, 1, ROWS, 1), (0, 0, 0, None, 0)
        assert found in (whole, nothing)
        if isinstance(result, PipelineRun) and job_of(result).status is Status.SUCCESS:
            assert found == whole
        elif isinstance(result, PipelineRun):
            errors = job_of(result).errors
            assert [error.category for error in errors] == ["unavailable"], errors

    def makes_whole(self) -> None:
        """Run once more, without a fault."""
        result = self.run()
        assert isinstance(result, PipelineRun)
        assert result.status is Status.SUCCESS
        counted = self.database.fetch("SELECT count(*), count(DISTINCT id), sum(n) FROM out.copies")
        assert counted == [(ROWS, ROWS, ROWS * (ROWS + 1))]
        events = self.database.fetch("SELECT count(*), count(DISTINCT event_id) FROM ops.event_log")
        assert events[0][0] == events[0][1]


@pytest.fixture
def runs(project: ThrowAwayProject, postgres_database: PostgresDatabase, proxy_to: ProxyTo) -> CutRuns:
    """The project, through a proxy."""
    return CutRuns(project, postgres_database, proxy_to(postgres_database.server.port))


def places(length: int, case: int, *, every: bool) -> list[int]:
    """Return the packets at which to cut: all of them, or some, others in each case."""
    if every:
        return list(range(length))
    return [min(length - 1, length * (percent + 4 * case) // 60) for percent in SOME]


@pytest.mark.parametrize("case", range(len(CASES)), ids=[f"{how.value} {way}" for how, way in CASES])
@pytest.mark.parametrize(
    "every",
    [False, pytest.param(True, marks=[pytest.mark.chaos, pytest.mark.timeout(900)])],
    ids=["some", "every"],
)
def test_a_run_that_is_cut_lands_once_or_not_at_all(runs: CutRuns, case: int, every: bool) -> None:
    how, direction = CASES[case]
    runs.declare(retries=0)
    runs.prepare()
    for packet in places(runs.length(direction), case, every=every):
        runs.cut(Fault(how, direction, packets=packet))
        runs.makes_whole()


@pytest.mark.parametrize("case", range(len(CASES)), ids=[f"{how.value} {way}" for how, way in CASES])
@pytest.mark.parametrize(
    "every",
    [False, pytest.param(True, marks=[pytest.mark.chaos, pytest.mark.timeout(900)])],
    ids=["some", "every"],
)
def test_retries_of_the_steps_make_up_for_a_cut(runs: CutRuns, case: int, every: bool) -> None:
    how, direction = CASES[case]
    runs.declare(retries=2)
    runs.prepare()
    succeeded = []
    for packet in places(runs.length(direction), case, every=every):
        result = runs.cut(Fault(how, direction, packets=packet))
        if isinstance(result, PipelineRun):  # it had begun
            assert result.status is Status.SUCCESS, (packet, result.jobs, result.errors)
            succeeded.append(packet)
    assert len(succeeded) >= 2
