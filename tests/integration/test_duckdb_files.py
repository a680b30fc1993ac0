"""The DuckDB file: private, locked, sandboxed, spilling, and whole after a kill."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import duckdb
import pytest

from runner.errors import HeldByAnother, WarehouseError
from runner.ports import ReadQuery, WriteTarget
from runner.settings import DuckDBSettings
from runner.warehouses.duckdb import DuckDBWarehouse
from tests.warehouse_lab import EVENTS, Lab, batch_of, landing_of

pytestmark = pytest.mark.asyncio

TARGET = WriteTarget(step_id="write", table=EVENTS, mode="upsert", key=("id",))
ROOT = Path(__file__).resolve().parents[2]


def modes(folder: Path) -> dict[str, str]:
    """Return the permissions of everything below a folder."""
    return {
        str(path.relative_to(folder)): f"{stat.S_IMODE(path.stat().st_mode):o}"
        for path in sorted(folder.rglob("*"))
    }


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Set the umask for a while."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


async def test_files_are_private_under_any_umask(tmp_path: Path) -> None:
    rows = [(f"k{n}", "x", n, None) for n in range(300_000)]
    with umask(0):
        async with DuckDBWarehouse(tmp_path / "state" / "w.duckdb", stage_bytes=1) as warehouse:
            lab = Lab(warehouse, "duckdb")
            await lab.prepare(EVENTS)
            await lab.fill(EVENTS, *rows)  # large enough for a checkpoint, after which the log is made anew
            async with warehouse.writer(landing_of(TARGET)) as writer:
                await writer.stage(0, batch_of(EVENTS, EVENTS.column_names, rows[:100]))
                staged = modes(tmp_path)
                await writer.land()
            after = modes(tmp_path)
        assert os.umask(0) == 0, "the umask is as it was"
    assert any(name.endswith(".staged") for name in staged)
    assert "state/w.duckdb.wal" in after
    assert not any(name.endswith(".staged") for name in after)
    for name, mode in (staged | after).items():
        assert mode == ("700" if name in ("state", "state/tmp") else "600"), name


async def test_a_file_that_another_process_has_says_who(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    code = (
        f"import duckdb, sys; c = duckdb.connect({str(path)!r}); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(  # noqa: ASYNC220 - starting it blocks for a moment, which no one here minds
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        await anyio.to_thread.run_sync(holder.stdout.readline)
        with pytest.raises(HeldByAnother) as caught:
            async with DuckDBWarehouse(path):
                raise AssertionError
        holder.communicate()
    assert caught.value.resource == str(path)
    assert str(holder.pid) in caught.value.holder
    async with DuckDBWarehouse(path) as warehouse:
        assert await warehouse.inspect([EVENTS.ref]) == {}


async def test_a_file_that_is_no_database_is_an_error_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    path.write_text("not a database, but long enough to be looked at " * 100)
    with pytest.raises(WarehouseError, match=r"w\.duckdb"):
        async with DuckDBWarehouse(path):
            raise AssertionError


async def test_sql_reaches_no_files_and_no_setting_but_spilling_works(tmp_path: Path) -> None:
    settings = DuckDBSettings(memory_limit="50MB", threads=1)
    async with DuckDBWarehouse(tmp_path / "w.duckdb", settings) as warehouse:
        cursor = warehouse._database.take()
        for text in (
            "SELECT * FROM read_text('/etc/hostname')",
            f"COPY (SELECT 1) TO '{tmp_path}/out.csv'",
            f"ATTACH '{tmp_path}/other.duckdb' AS other",
            "SET enable_external_access = true",
            "SET memory_limit = '10GB'",
            "INSTALL httpfs",
        ):
            with pytest.raises(duckdb.Error):
                cursor.execute(text)
        assert cursor.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
        cursor.execute(
            "CREATE TEMP TABLE big AS SELECT repeat(md5(i::VARCHAR), 6) AS text FROM range(400000) AS r(i)"
        )
        assert list((tmp_path / "tmp").iterdir()), "more than 50 MB went to the folder for temporary files"
        assert cursor.execute("SELECT count(*) FROM (FROM big ORDER BY text)").fetchall() == [(400_000,)]
        warehouse._database.give(cursor)


async def test_two_warehouses_in_one_process(tmp_path: Path) -> None:
    async with (
        DuckDBWarehouse(tmp_path / "a" / "w.duckdb") as one,
        DuckDBWarehouse(tmp_path / "b" / "w.duckdb") as two,
    ):
        await Lab(one, "duckdb").prepare(EVENTS)
        assert await two.inspect([EVENTS.ref]) == {}


async def test_an_invalidated_instance_is_opened_again(tmp_path: Path) -> None:
    async with DuckDBWarehouse(tmp_path / "w.duckdb") as warehouse:
        lab = Lab(warehouse, "duckdb")
        await lab.prepare(EVENTS)
        await lab.fill(EVENTS, ("a", "x", 1, None))

        def fail() -> None:
            raise duckdb.FatalException(
                "FATAL Error: database has been invalidated because of a previous fatal error"
            )

        with pytest.raises(WarehouseError, match="invalidated"):
            await warehouse._calls.once(lambda cursor: fail())
        assert await lab.rows(EVENTS, "id") == [("a",)]


async def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    leftover = tmp_path / "tmp" / "staged_0-01.staged"
    leftover.write_bytes(b"rows")
    async with DuckDBWarehouse(tmp_path / "w.duckdb"):
        assert not leftover.exists()


CHILD = textwrap.dedent("""
    import sys
    import anyio
    from runner.warehouses.duckdb import DuckDBWarehouse
    from tests.integration.test_duckdb_files import TARGET
    from tests.warehouse_lab import EVENTS, Lab, batch_of, landing_of
    from pathlib import Path

    async def main():
        async with DuckDBWarehouse(Path(sys.argv[1]), stage_bytes=1) as warehouse:
            lab = Lab(warehouse, "duckdb")
            await lab.prepare(EVENTS)
            print("ready", flush=True)
            for number in range(1_000_000):
                rows = [(f"{sys.argv[2]}:{number}:{n}", "x", n, None) for n in range(2000)]
                async with warehouse.writer(landing_of(TARGET, job_run_id=f"{sys.argv[2]}:{number}")) as writer:
                    await writer.stage(0, batch_of(EVENTS, EVENTS.column_names, rows))
                    await writer.land()
                print(number, flush=True)

    anyio.run(main)
""")


@pytest.mark.parametrize("kills", [2, pytest.param(6, marks=pytest.mark.chaos)])
async def test_kills_lose_nothing_that_was_acknowledged_and_leave_no_half_landing(
    tmp_path: Path, kills: int
) -> None:
    path = tmp_path / "w.duckdb"
    acknowledged: set[str] = set()
    for kill in range(kills):
        with subprocess.Popen(  # noqa: ASYNC220 - starting it blocks for a moment, which no one here minds
            [sys.executable, "-c", CHILD, str(path), str(kill)], stdout=subprocess.PIPE, cwd=ROOT, text=True
        ) as child:
            assert child.stdout is not None
            assert (await anyio.to_thread.run_sync(child.stdout.readline)) == "ready\n"
            for _ in range(3 + kill):
                await anyio.to_thread.run_sync(child.stdout.readline)
            await anyio.sleep(0.013 * (kill + 1))  # where in a landing the kill falls; none is waited for
            child.send_signal(signal.SIGKILL)
            lines, _ = await anyio.to_thread.run_sync(child.communicate)
        acknowledged |= {f"{kill}:{number}" for number in range(2 + kill)}
        acknowledged |= {f"{kill}:{line}" for line in lines.split() if line.isdigit()}
    async with DuckDBWarehouse(path) as warehouse:
        lab = Lab(warehouse, "duckdb")
        found = await lab.read(ReadQuery(source=EVENTS, columns=("id",)))
        cursor = warehouse._database.take()
        marked = {row[0] for row in cursor.execute("SELECT job_run_id FROM ops.landings").fetchall()}
        warehouse._database.give(cursor)
    counts: dict[str, int] = {}
    for row in found:
        landing = row["id"].rpartition(":")[0]
        counts[landing] = counts.get(landing, 0) + 1
    assert set(counts) == marked
    assert set(counts.values()) == {2000}
    assert acknowledged <= marked
