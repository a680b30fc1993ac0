"""One landing on PostgreSQL, and what comes between: a connection that is cut, another who writes, a limit."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import psutil
import psycopg
import pytest

from runner.errors import DiskFull, TimeLimitExceeded, WarehouseUnavailable, WriteConflict
from runner.ports import LandingResult, ReadQuery, WriteTarget
from tests.postgres_lab import eventually, open_lab
from tests.servers.fixtures import ProxyTo
from tests.servers.postgres import PostgresDatabase
from tests.servers.tcp_proxy import Break, Direction, Fault, TcpProxy
from tests.warehouse_lab import EVENTS, Lab, batch_of, landing_of, table

pytestmark = pytest.mark.asyncio

ROWS = 20_000
FEW = 10
"""So few that they come in one packet: then every landing has equally many."""
BATCH = batch_of(EVENTS, EVENTS.column_names, [(f"e{n}", "x" * 50, n, None) for n in range(ROWS)])
COPIES = table("copies", id="string", binding="string", n="int64", ts="timestamp")
APPEND = WriteTarget(step_id="write", table=EVENTS, mode="append", key=())


class CutLandings:
    """Landings of the same rows into an empty table, through a proxy."""

    def __init__(self, lab: Lab, database: PostgresDatabase, proxy: TcpProxy, rows: int = ROWS) -> None:
        self.lab = lab
        self.batch = BATCH.slice(0, rows)
        self.database = database
        self.proxy = proxy

    async def land(self, *, again: bool = False) -> tuple[LandingResult | None, tuple[int, int]]:
        """Land; return the result, None for a lost connection, and how many rows and markers there are then. `again`:
        land what is still staged once more after that.
        """
        await anyio.to_thread.run_sync(self.database.fetch, "TRUNCATE lab.events, ops.landings")
        async with self.lab.warehouse.writer(landing_of(APPEND)) as writer:
            await writer.stage(0, self.batch)
            result = None
            try:
                result = await writer.land()
            except WarehouseUnavailable:
                self.proxy.heal()
                if again:
                    result = await writer.land()
            self.proxy.heal()
        query = "SELECT (SELECT count(*) FROM lab.events), (SELECT count(*) FROM ops.landings)"
        (found,) = await anyio.to_thread.run_sync(self.database.fetch, query)
        return result, found

    async def passed(self) -> Mapping[Direction, tuple[int, int]]:
        """Return bytes and packets of a landing, by direction."""
        await self.land()  # the connection is there from now on
        self.proxy.reset_counts()
        await self.land()
        return self.proxy.passed.copy()


@pytest.mark.parametrize("how", [Break.CUT, Break.RESET])
async def test_when_the_answer_to_commit_is_lost_the_marker_tells(
    tmp_path: Path, postgres_database: PostgresDatabase, proxy_to: ProxyTo, how: Break
) -> None:
    proxy = proxy_to(postgres_database.server.port)
    uri = postgres_database.uri.replace(str(postgres_database.server.port), str(proxy.port))
    async with open_lab(uri, tmp_path, EVENTS) as lab:
        landings = CutLandings(lab, postgres_database, proxy, FEW)
        packets = (await landings.passed())["to_client"][1]
        proxy.fail(Fault(how, "to_client", packets=packets - 1))

        result, found = await landings.land()

        assert proxy.broken == 1
        assert found == (FEW, 1)
        assert result is not None
        assert (result.targets[0].written, dict(result.details)) == (FEW, {})


@pytest.mark.parametrize("how", [Break.CUT, Break.RESET])
async def test_commit_that_never_arrives_writes_nothing_and_the_landing_can_be_repeated(
    tmp_path: Path, postgres_database: PostgresDatabase, proxy_to: ProxyTo, how: Break
) -> None:
    proxy = proxy_to(postgres_database.server.port)
    uri = postgres_database.uri.replace(str(postgres_database.server.port), str(proxy.port))
    async with open_lab(uri, tmp_path, EVENTS) as lab:
        landings = CutLandings(lab, postgres_database, proxy, FEW)
        packets = (await landings.passed())["to_server"][1]
        for again, expected in ((False, (0, 0)), (True, (FEW, 1))):
            await landings.land()  # opens a connection again
            proxy.fail(Fault(how, "to_server", packets=packets - 1))
            assert (await landings.land(again=again))[1] == expected
            assert proxy.broken == 1


@pytest.mark.parametrize(
    "cuts", [8, pytest.param(300, marks=[pytest.mark.chaos, pytest.mark.timeout(600)])], ids=["few", "many"]
)
async def test_a_landing_that_is_cut_among_its_rows_lands_once_or_not_at_all(
    tmp_path: Path, postgres_database: PostgresDatabase, proxy_to: ProxyTo, cuts: int
) -> None:
    proxy = proxy_to(postgres_database.server.port)
    uri = postgres_database.uri.replace(str(postgres_database.server.port), str(proxy.port))
    async with open_lab(uri, tmp_path, EVENTS) as lab:
        landings = CutLandings(lab, postgres_database, proxy)
        size = (await landings.passed())["to_server"][0]
        assert size > 1_000_000
        for number in range(cuts):
            await landings.land()
            proxy.fail(Fault(Break.RESET, "to_server", bytes=size * number // cuts))
            result, found = await landings.land(again=number % 2 == 0)
            assert found == ((0, 0) if result is None else (ROWS, 1))
            await anyio.to_thread.run_sync(eventually, lambda: not postgres_database.running(), 2)


async def test_a_deadlock_is_a_conflict_and_the_same_landing_can_be_sent_again(
    tmp_path: Path, postgres_database: PostgresDatabase
) -> None:
    """Another client holds the second table and asks for the first, which the landing holds."""
    uri = postgres_database.server.uri(postgres_database.name, options="-c deadlock_timeout=300")
    async with open_lab(uri, tmp_path) as lab:
        second = WriteTarget(step_id="second", table=EVENTS, mode="append", key=())
        with closing(psycopg.connect(postgres_database.uri)) as other:
            other.execute("SET deadlock_timeout = '1min'")  # so that the landing is the one to be stopped
            other.execute("LOCK TABLE ops.landings IN SHARE MODE")
            async with lab.warehouse.writer(landing_of(second)) as writer:
                await writer.stage(0, BATCH.slice(0, 10))
                crossing = threading.Thread(target=cross, args=(postgres_database, other))
                crossing.start()
                with pytest.raises(WriteConflict) as raised:
                    await writer.land()
                await anyio.to_thread.run_sync(crossing.join)
                other.rollback()
                assert (raised.value.category, raised.value.retryable) == ("conflict", True)
                await writer.land()
        assert await lab.warehouse.count_matching(EVENTS, ()) == 10


def cross(database: PostgresDatabase, other: psycopg.Connection) -> None:
    """Wait until the landing waits for `other`, and have it wait for the landing."""
    query = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
    eventually(lambda: bool(database.fetch(query, database.name)), 5)
    other.execute("LOCK TABLE lab.events IN ACCESS EXCLUSIVE MODE")


def refuses(database: PostgresDatabase, sqlstate: str) -> None:
    """Have the server refuse every row of `lab.events` with an error."""
    database.fetch(
        f"CREATE FUNCTION lab.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"RAISE EXCEPTION 'refused' USING ERRCODE = '{sqlstate}'; END $$"
    )
    database.fetch(
        "CREATE TRIGGER refuse BEFORE INSERT ON lab.events FOR EACH ROW EXECUTE FUNCTION lab.refuse()"
    )


@pytest.mark.parametrize(
    ("sqlstate", "kind", "category"),
    [
        ("40001", WriteConflict, "conflict"),
        ("40P01", WriteConflict, "conflict"),
        ("53100", DiskFull, "disk_full"),
        ("57P01", WarehouseUnavailable, "unavailable"),
    ],
)
async def test_what_the_server_answers_a_landing_has_its_category(
    tmp_path: Path, postgres_database: PostgresDatabase, sqlstate: str, kind: type[Exception], category: str
) -> None:
    async with open_lab(postgres_database.uri, tmp_path, EVENTS) as lab:
        await anyio.to_thread.run_sync(refuses, postgres_database, sqlstate)
        with pytest.raises(kind, match="refused") as raised:
            await lab.fill(EVENTS, ("a", "x", 1, None))
        assert raised.value.category == category  # type: ignore[attr-defined]
        await anyio.to_thread.run_sync(postgres_database.fetch, "DROP FUNCTION lab.refuse CASCADE")
        await lab.fill(EVENTS, ("a", "x", 1, None))
        assert await lab.rows(EVENTS, "id") == [("a",)]


async def test_a_landing_over_its_time_limit_is_stopped_and_can_be_repeated(
    tmp_path: Path, postgres_database: PostgresDatabase
) -> None:
    async with open_lab(postgres_database.uri, tmp_path, EVENTS, query_timeout=0.4) as lab:
        with closing(psycopg.connect(postgres_database.uri)) as other:
            other.execute("LOCK TABLE lab.events IN ACCESS EXCLUSIVE MODE")
            async with lab.warehouse.writer(landing_of(APPEND)) as writer:
                await writer.stage(0, BATCH.slice(0, 10))
                with pytest.raises(TimeLimitExceeded):
                    await writer.land()
                assert postgres_database.running() == []
                other.rollback()
                await writer.land()
        assert await lab.warehouse.count_matching(EVENTS, ()) == 10


async def test_there_are_never_more_connections_than_there_may_be(
    tmp_path: Path, postgres_database: PostgresDatabase
) -> None:
    """Reads, counts and landings, all at once, with three connections, counted as this process has them open."""
    most, done = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.001):
            to_server = [
                connection
                for connection in psutil.Process().net_connections("tcp")
                if connection.status == psutil.CONN_ESTABLISHED
                and connection.raddr.port == postgres_database.server.port
            ]
            most = max(most, len(to_server))

    async with open_lab(postgres_database.uri, tmp_path, EVENTS, max_connections=3) as lab:
        await lab.fill(EVENTS, *[(f"e{n}", "x", n, None) for n in range(50)])
        watching = threading.Thread(target=watch)
        watching.start()
        try:
            async with anyio.create_task_group() as tasks:
                for number in range(8):
                    tasks.start_soon(partial(lab.rows, EVENTS, "id"))
                    tasks.start_soon(lab.warehouse.count_matching, EVENTS, ())
                    tasks.start_soon(lab.fill, EVENTS, (f"f{number}", "x", 1, None))
        finally:
            done.set()
            await anyio.to_thread.run_sync(watching.join)
        assert await lab.warehouse.count_matching(EVENTS, ()) == 58
    assert 1 < most <= 3


async def test_two_connections_are_enough_for_jobs_that_read_and_land_at_once(
    tmp_path: Path, postgres_database: PostgresDatabase
) -> None:
    async def copy(lab: Lab, name: str) -> None:
        async with (
            lab.warehouse.read(
                ReadQuery(source=EVENTS, columns=EVENTS.column_names, batch_rows=5)
            ) as batches,
            lab.warehouse.writer(
                landing_of(WriteTarget(step_id=name, table=COPIES, mode="append", key=()))
            ) as writer,
        ):
            number = 0
            async for batch in batches:
                await writer.stage(0, batch)
                await writer.land(number)
                number += 1

    async with open_lab(postgres_database.uri, tmp_path, EVENTS, COPIES, max_connections=2) as lab:
        await lab.fill(EVENTS, *[(f"e{n}", "x", n, None) for n in range(20)])
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for number in range(4):
                    tasks.start_soon(copy, lab, f"job{number}")
        assert await lab.warehouse.count_matching(COPIES, ()) == 80
