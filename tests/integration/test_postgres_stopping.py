"""Stopping work in PostgreSQL: it is gone at the server within a second, the warehouse goes on, nothing leaks."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import psutil
import psycopg
import pytest

from runner.errors import TimeLimitExceeded, WarehouseUnavailable
from runner.ports import ReadQuery, Statement, TableCheck
from runner.specs import CheckSpec
from runner.warehouses.postgres.interrupts import CANCEL_SECONDS
from tests.postgres_lab import ENDLESS, eventually, make_endless, open_lab, warehouse_at
from tests.servers.postgres import PostgresDatabase, PostgresProcess
from tests.warehouse_lab import EVENTS, STAMP, Lab

pytestmark = pytest.mark.asyncio

Work = Callable[[Lab], Coroutine[Any, Any, object]]


async def read(lab: Lab) -> None:
    """Read from the endless view; it gives no row."""
    await lab.read(ReadQuery(source=ENDLESS, columns=("x",)))


async def query(lab: Lab) -> None:
    """Stream a query of the project's own that gives rows for ever, and read some each time."""
    statement = Statement(text="SELECT x FROM generate_series(1, 1000000000000) AS a(x)")
    async with lab.warehouse.query(statement) as batches:
        async for _ in batches:
            await anyio.sleep(0.001)


async def land(lab: Lab) -> None:
    """Land into a table whose trigger never comes to an end."""
    await lab.fill(EVENTS, ("a", "x", 1, None))


async def check(lab: Lab) -> None:
    """Check the endless view."""
    step = CheckSpec.model_validate(
        {"step_id": "fit", "op": "check", "dataset": "lab", "table": "endless", "expect": [{"not_null": "x"}]}
    )
    await lab.warehouse.check(
        TableCheck(step_id="fit", table=ENDLESS, expectations=step.expectations, as_of=STAMP)
    )


async def count(lab: Lab) -> None:
    """Count the endless view."""
    await lab.warehouse.count_matching(ENDLESS, ())


def prepare(database: PostgresDatabase) -> None:
    """Make what never ends."""
    make_endless(database)
    database.fetch(
        "CREATE FUNCTION lab.wait() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM count(*) FROM lab.endless; RETURN NEW; END $$"
    )
    database.fetch("CREATE TRIGGER wait BEFORE INSERT ON lab.events FOR EACH ROW EXECUTE FUNCTION lab.wait()")


def sockets_and_threads() -> tuple[int, set[threading.Thread]]:
    """Return how many files and sockets are open, and the threads but for those that anyio keeps for later."""
    threads = {thread for thread in threading.enumerate() if "AnyIO" not in thread.name}
    return len(os.listdir("/proc/self/fd")) if Path(
        "/proc/self/fd"
    ).exists() else psutil.Process().num_fds(), threads


WORKS = [read, query, land, check, count]


@pytest.mark.parametrize("postgres_server", [15, 18], indirect=True)
@pytest.mark.parametrize("work", WORKS)
async def test_cancelled_work_is_gone_at_the_server_within_a_second(
    tmp_path: Path, postgres_database: PostgresDatabase, work: Work
) -> None:
    async with open_lab(postgres_database.uri, tmp_path, EVENTS) as lab:
        await anyio.to_thread.run_sync(prepare, postgres_database)
        for delay in (0.0, 0.003, 0.02, 0.1, 0.3):
            started = time.monotonic()
            with anyio.move_on_after(delay) as scope:
                await work(lab)
            assert scope.cancelled_caught
            # A connection that was on its way is let go of, and may be setting itself up for a moment longer.
            await anyio.to_thread.run_sync(eventually, lambda: postgres_database.running() == [], 1)
            assert time.monotonic() - started < delay + 1
        await lab.rows(EVENTS)
        assert await lab.warehouse.count_matching(EVENTS, ()) == 0


@pytest.mark.parametrize("work", WORKS)
async def test_work_over_its_time_limit_is_gone_at_the_server(
    tmp_path: Path, postgres_database: PostgresDatabase, work: Work
) -> None:
    async with open_lab(postgres_database.uri, tmp_path, EVENTS, query_timeout=0.3) as lab:
        await anyio.to_thread.run_sync(prepare, postgres_database)
        started = time.monotonic()
        with pytest.raises(TimeLimitExceeded, match=r"query.*0\.3"):
            await work(lab)
        assert time.monotonic() - started < (10 if work is query else 1.5)  # only the query's own time counts
        assert postgres_database.running() == []
        assert await lab.warehouse.count_matching(EVENTS, ()) == 0


async def test_nothing_leaks(tmp_path: Path, postgres_database: PostgresDatabase) -> None:
    async with open_lab(postgres_database.uri, tmp_path, EVENTS) as lab:
        await anyio.to_thread.run_sync(prepare, postgres_database)

        async def round_of_stops() -> None:
            async with anyio.create_task_group() as tasks:
                for work in WORKS:
                    tasks.start_soon(stopped, work, lab, 0.05)

        await round_of_stops()
        before = sockets_and_threads()
        for _ in range(6):
            await round_of_stops()
        after = sockets_and_threads()
    assert after[0] <= before[0] + 4  # idle connections, which may be more than before
    assert after[1] <= before[1]
    await anyio.to_thread.run_sync(eventually, lambda: not connections(postgres_database), 1)


async def stopped(work: Work, lab: Lab, delay: float) -> None:
    """Do some work, and stop it."""
    with anyio.move_on_after(delay):
        await work(lab)


def connections(database: PostgresDatabase) -> list[tuple[str]]:
    """Return what the connections to a database are for, but for the test's own."""
    query = "SELECT application_name FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
    return database.fetch(query, database.name)


async def test_who_waits_for_a_lock_is_stopped_as_well(
    tmp_path: Path, postgres_database: PostgresDatabase
) -> None:
    async with open_lab(postgres_database.uri, tmp_path, EVENTS) as lab:
        with closing(psycopg.connect(postgres_database.uri)) as other:
            other.execute("LOCK TABLE lab.events IN ACCESS EXCLUSIVE MODE")
            for work in (land, lambda lab: lab.rows(EVENTS)):
                with anyio.move_on_after(0.2) as scope:
                    await work(lab)
                assert scope.cancelled_caught
                assert postgres_database.running() == []
        await land(lab)
        assert await lab.rows(EVENTS, "id") == [("a",)]


async def read_slowly(lab: Lab) -> None:
    """Read a table whose rows the server has sent at once, with half a second between two batches."""
    await lab.fill(EVENTS, *[(f"e{n}", "x", n, None) for n in range(100)])
    query = ReadQuery(source=EVENTS, columns=("id",), batch_rows=50)
    async with lab.warehouse.read(query) as batches:
        found = []
        async for batch in batches:
            found += batch.column(0).to_pylist()
            await anyio.sleep(0.5)
    assert len(found) == 100


async def test_rows_may_wait_for_slow_steps_longer_than_a_transaction_may_be_idle(
    tmp_path: Path, postgres_database: PostgresDatabase
) -> None:
    """A server that has sent all rows of a small result waits for the end of the transaction."""
    async with open_lab(postgres_database.uri, tmp_path, EVENTS, idle_in_transaction_timeout=0.2) as lab:
        await read_slowly(lab)


async def test_rows_may_wait_longer_than_the_server_lets_a_transaction_last(
    tmp_path: Path, postgres_database: PostgresDatabase
) -> None:
    """PostgreSQL 17 and later have a limit for that, which a database or a role may set."""
    name = postgres_database.name
    postgres_database.fetch(f"ALTER DATABASE {name} SET transaction_timeout = '300ms'")
    async with open_lab(postgres_database.uri, tmp_path, EVENTS) as lab:
        await read_slowly(lab)


async def test_a_server_that_does_not_answer_is_not_waited_for_when_it_is_cancelled(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connections are taken by the kernel
        uri = f"postgresql://127.0.0.1:{silent.getsockname()[1]}/x"
        async with warehouse_at(uri, tmp_path, connect_timeout=2) as warehouse:
            started = time.monotonic()
            with anyio.move_on_after(0.2) as scope:
                await warehouse.inspect([EVENTS.ref])
            assert scope.cancelled_caught
            assert time.monotonic() - started < 1
            with pytest.raises(WarehouseUnavailable, match="timeout"):
                await warehouse.inspect([EVENTS.ref])
            assert time.monotonic() - started < 5


def is_endless(database: PostgresDatabase) -> bool:
    """Whether the work itself is running, and not what comes before it, such as connecting."""
    return any("endless" in text or "events" in text for text in database.running())


async def test_connecting_to_a_server_that_freezes_is_let_go_of(
    tmp_path: Path, private_postgres: Callable[[int], PostgresProcess]
) -> None:
    """Of both drivers: each asks the server something before a connection is there."""
    process = private_postgres(18)
    database = process.server.create_database()
    for work in (read, count):
        async with warehouse_at(database.uri, tmp_path, query_timeout=30) as warehouse:
            process.freeze()
            try:
                started = time.monotonic()
                with anyio.move_on_after(0.5) as scope:
                    await work(Lab(warehouse, "postgres"))
                assert scope.cancelled_caught
                assert time.monotonic() - started < 2
            finally:
                process.thaw()


@pytest.mark.parametrize(
    "work", [read, pytest.param(land, marks=pytest.mark.chaos), pytest.param(count, marks=pytest.mark.chaos)]
)
async def test_a_server_that_is_frozen_is_not_waited_for(
    tmp_path: Path, private_postgres: Callable[[int], PostgresProcess], work: Work
) -> None:
    """It takes no cancel, so the connection is cut on our side, and the server finds that out when it goes on."""
    process = private_postgres(18)
    database = process.server.create_database()
    async with open_lab(database.uri, tmp_path, EVENTS, query_timeout=30) as lab:
        await anyio.to_thread.run_sync(prepare, database)
        with anyio.move_on_after(20) as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(work, lab)
                await anyio.to_thread.run_sync(eventually, lambda: is_endless(database), 5)
                process.freeze()
                started = time.monotonic()
                scope.cancel()
        assert time.monotonic() - started < CANCEL_SECONDS + 2
        process.thaw()
        await anyio.to_thread.run_sync(eventually, lambda: not database.running(), 5)
        assert await lab.warehouse.count_matching(EVENTS, ()) == 0
