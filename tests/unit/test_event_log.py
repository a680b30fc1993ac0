"""The event log: every event of a run in `ops.event_log`, once, whatever happens on the way."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.to_thread
import pytest

from runner.errors import DamagedRecord, WarehouseUnavailable
from runner.event_log import (
    BATCH_ROWS,
    FlushResult,
    add_to_outbox,
    events_to_rows,
    flush_outbox,
    pending_runs,
)
from runner.events import (
    Event,
    JobFinished,
    JobRetrying,
    JobStarted,
    Landed,
    Noticed,
    RunFinished,
    RunStarted,
    StepFinished,
    StepProgress,
)
from runner.ids import new_ulid
from runner.ports import RunStore, RunWriter, Warehouse
from runner.records import ErrorInfo, RunRecord, Status, StepTiming
from runner.run_store import FileRunStore
from runner.testing.run_history import run_history

if TYPE_CHECKING:
    from runner.ports import Row

AT = datetime(2026, 2, 12, 6, tzinfo=UTC)


class Table:
    """`ops.event_log` in memory, with a say in when it answers and when it is away."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.batches: list[int] = []
        self.away_after: int | None = None
        self.before: Callable[[], Any] | None = None

    async def merge_events(self, rows: Sequence[Row]) -> int:
        """Keep the rows whose ids are new."""
        if self.before is not None:
            await self.before()
        if self.away_after is not None and len(self.batches) >= self.away_after:
            raise WarehouseUnavailable("memory", "away")
        self.batches.append(len(rows))
        known = len(self.rows)
        for row in rows:
            self.rows.setdefault(row["event_id"], row)
        return len(self.rows) - known


@pytest.fixture
def store(tmp_path: Path) -> FileRunStore:
    """An empty store."""
    return FileRunStore(tmp_path / "runs")


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    """Where the outbox will be."""
    return tmp_path / "outbox"


def begin(store: RunStore, outbox: Path, events: Sequence[Event]) -> RunWriter:
    """Begin a run as the composition root does, and write these events."""
    started = events[0]
    assert isinstance(started, RunStarted)
    writer = store.create(started.run_id, started.name, started.timestamp)
    add_to_outbox(outbox, started.run_id)
    writer.append(events)
    return writer


def keep(store: RunStore, outbox: Path, events: Sequence[Event]) -> str:
    """A run that is over, its events not sent yet."""
    begin(store, outbox, events).close()
    return events[0].run_id


def flush(store: RunStore, table: Table, outbox: Path) -> FlushResult:
    """Flush on an event loop of its own."""
    return anyio.run(flush_outbox, store, cast(Warehouse, table), outbox)


def test_rows_of_a_run() -> None:
    """Who, what, which run, how it went; everything else is payload."""
    job: dict[str, Any] = {"run_id": "R", "timestamp": AT, "job_run_id": "J", "job_id": "form_obs"}
    gone = ErrorInfo(category="unavailable", message="gone", step_id="read_me")
    record = RunRecord(
        run_id="J", job_id="form_obs", status=Status.FAILURE, rows_read=60, errors=(gone, gone)
    )
    events: list[Event] = [
        RunStarted(
            run_id="R",
            timestamp=AT,
            name="daily",
            jobs=(("form_obs", "daily"),),
            max_workers=4,
            as_of=AT,
            trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        ),
        JobStarted(**job, group="daily", queue_ms=2),
        StepProgress(**job, step_id="read_me", rows=5),
        StepFinished(**job, timing=StepTiming(step_id="read_me", op="read", status=Status.FAILURE)),
        JobRetrying(**job, attempt=1, delay_ms=500, error=gone),
        Landed(**job, batch=0, rows={"derived.observations": 429}),
        Noticed(**job, level="warning", code="rows.quarantined", message="2 rows", details={"count": 2}),
        Noticed(run_id="R", timestamp=AT, level="error", code="table.dropped", message="ouch"),
        JobFinished(**job, record=record),
        RunFinished(run_id="R", timestamp=AT, status=Status.CANCELLED, duration_ms=5, errors=(gone,)),
    ]
    rows = events_to_rows(events)
    told = [
        (r["event_type"], r["producer_component"], r["run_id"], r["status"], r["error_message"]) for r in rows
    ]
    assert told == [
        ("run.started", "pipeline.daily", "R", "running", None),
        ("job.started", "form_obs", "J", "running", None),
        ("step.finished", "form_obs", "J", "failure", None),
        ("job.retrying", "form_obs", "J", "failure", "gone"),
        ("job.landed", "form_obs", "J", "success", None),
        ("rows.quarantined", "form_obs", "J", None, None),
        ("table.dropped", "pipeline.daily", "R", None, "ouch"),
        ("job.finished", "form_obs", "J", "failure", "gone\ngone"),
        ("run.finished", "pipeline.daily", "R", "cancelled", "gone"),
    ]
    durable = [event for event in events if event.durable]
    assert [row["event_id"] for row in rows] == [event.event_id for event in durable]
    assert {row["timestamp"] for row in rows} == {AT}
    assert {row["correlation_id"] for row in rows} == {"R"}
    assert {row["trace_id"] for row in rows} == {"4bf92f3577b34da6a3ce929d0e0e4736"}
    assert {row["trace_id"] for row in events_to_rows(events[1:])} == {None}
    payloads = [json.loads(row["payload"]) for row in rows]
    assert payloads[1] == {"group": "daily", "queue_ms": 2}
    assert payloads[4] == {"batch": 0, "rows": {"derived.observations": 429}}
    assert payloads[5] == {"level": "warning", "message": "2 rows", "step_id": "", "details": {"count": 2}}
    assert payloads[7] == {"record": record.to_dict()}


def test_columns_are_those_of_the_table() -> None:
    """As the engine declares it."""
    from runner.ddl import EVENT_LOG

    (row,) = events_to_rows(run_history(jobs=[])[:1])
    assert tuple(row) == EVENT_LOG.column_names


def test_a_run_that_is_over_is_sent_and_forgotten(store: FileRunStore, outbox: Path) -> None:
    """Its entry is private and empty while it waits, and gone afterwards."""
    events = run_history()
    run_id = keep(store, outbox, events)
    entry = (outbox / run_id).stat()
    assert (stat.S_IMODE(entry.st_mode), entry.st_size) == (0o600, 0)
    assert stat.S_IMODE(outbox.stat().st_mode) == 0o700
    table = Table()
    assert flush(store, table, outbox) == FlushResult((run_id,), len(events))
    assert list(table.rows) == [event.event_id for event in events]
    assert pending_runs(outbox) == []
    assert flush(store, table, outbox) == FlushResult()


def test_nothing_to_do_asks_the_warehouse_nothing(store: FileRunStore, outbox: Path) -> None:
    """Nor does it make the folder."""
    table = Table()
    assert flush(store, table, outbox) == FlushResult()
    assert (table.batches, outbox.exists()) == ([], False)


def test_what_earlier_runs_left_is_sent_too(store: FileRunStore, outbox: Path) -> None:
    """A crashed run's events are as true as those of others; the oldest first."""
    crashed = keep(store, outbox, run_history()[:3])
    finished = keep(store, outbox, run_history())
    table = Table()
    result = flush(store, table, outbox)
    assert (result.runs, result.events, len(table.rows)) == ((crashed, finished), 15, 15)


def test_a_living_run_is_left_alone(store: FileRunStore, outbox: Path) -> None:
    """It will send its own events, when all of them are there."""
    writer = begin(store, outbox, run_history()[:3])
    table = Table()
    assert flush(store, table, outbox) == FlushResult()
    (waiting,) = pending_runs(outbox)
    writer.close()
    assert flush(store, table, outbox).runs == (waiting,)


def test_rows_go_in_bounded_batches(store: FileRunStore, outbox: Path) -> None:
    """A long run does not become one statement of any size."""
    events = run_history(jobs=[f"j{number}" for number in range(500)])
    keep(store, outbox, events)
    table = Table()
    assert flush(store, table, outbox).events == len(events)
    assert table.batches == [BATCH_ROWS, BATCH_ROWS, len(events) - 2 * BATCH_ROWS]


def test_a_warehouse_that_is_away_gets_the_events_later_once(store: FileRunStore, outbox: Path) -> None:
    """Also when it went away between two batches of one run; the flush ends there and says why."""
    long = keep(store, outbox, run_history(jobs=[f"j{number}" for number in range(500)]))
    short = keep(store, outbox, run_history())
    table = Table()
    table.away_after = 2
    result = flush(store, table, outbox)
    assert (result.runs, len(table.rows)) == ((), 2 * BATCH_ROWS)
    (problem,) = result.problems
    assert (problem.run_id, type(problem.error)) == (long, WarehouseUnavailable)
    assert str(problem) == f"events of run {long} are not in ops.event_log yet: memory: away"
    assert pending_runs(outbox) == [long, short]
    table.away_after = None
    assert flush(store, table, outbox).runs == (long, short)
    assert set(table.rows) == {event.event_id for run_id in (long, short) for event in store.events(run_id)}


def test_a_damaged_run_does_not_hold_up_the_others(store: FileRunStore, outbox: Path) -> None:
    """It stays in the outbox, for someone to look at."""
    damaged = keep(store, outbox, run_history())
    fine = keep(store, outbox, run_history())
    path = store.path(damaged) / "events.jsonl"
    path.write_bytes(b"{" + path.read_bytes())
    result = flush(store, Table(), outbox)
    assert result.runs == (fine,)
    assert [type(problem.error) for problem in result.problems] == [DamagedRecord]
    assert pending_runs(outbox) == [damaged]


def test_an_entry_without_a_run_goes_when_it_is_old(store: FileRunStore, outbox: Path) -> None:
    """A new one may be that of a run which is just being made."""
    add_to_outbox(outbox, new := new_ulid())
    add_to_outbox(outbox, old := "01KH4SATJ00000000000000000")
    assert flush(store, Table(), outbox) == FlushResult((old,), 0)
    assert pending_runs(outbox) == [new]


def test_entries_are_of_runs(outbox: Path) -> None:
    """Not any name, and each once; other files in the folder are not ours."""
    for wrong in ("", "../x", "x"):
        with pytest.raises(ValueError, match="is not a ULID"):
            add_to_outbox(outbox, wrong)
    add_to_outbox(outbox, run_id := new_ulid())
    with pytest.raises(FileExistsError, match=run_id):
        add_to_outbox(outbox, run_id)
    (outbox / "notes.txt").touch()
    assert pending_runs(outbox) == [run_id]


@pytest.mark.asyncio
async def test_two_flushers_do_not_meet(store: FileRunStore, outbox: Path) -> None:
    """While one sends a run, the other passes it over; a cancelled one gives it back."""
    run_id = await anyio.to_thread.run_sync(keep, store, outbox, run_history())
    table, other = Table(), Table()
    sending = anyio.Event()

    async def hold() -> None:
        sending.set()
        await anyio.sleep_forever()

    table.before = hold
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flush_outbox, store, cast(Warehouse, table), outbox)
        await sending.wait()
        assert await flush_outbox(store, cast(Warehouse, other), outbox) == FlushResult()
        tasks.cancel_scope.cancel()
    assert other.batches == []
    assert (await flush_outbox(store, cast(Warehouse, other), outbox)).runs == (run_id,)


FLUSHING = """
import os, signal, sys
from pathlib import Path
import anyio
from runner.ddl import EVENT_LOG
from runner.event_log import flush_outbox
from runner.ports import TableChange
from runner.run_store import FileRunStore
from runner.settings import DuckDBSettings
from runner.warehouses.duckdb import DuckDBWarehouse
class Killed:
    def __init__(self, warehouse): self.warehouse = warehouse
    async def merge_events(self, rows):
        await self.warehouse.merge_events(rows)
        if sys.argv[2] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return 0
async def main():
    state = Path(sys.argv[1])
    settings = DuckDBSettings()
    async with DuckDBWarehouse(state / "w.duckdb", settings) as warehouse:
        if not await warehouse.inspect([EVENT_LOG.ref]):
            await warehouse.apply([TableChange(kind="create", table=EVENT_LOG)])
        result = await flush_outbox(FileRunStore(state / "runs"), Killed(warehouse), state / "outbox")
        assert not result.problems, result.problems
anyio.run(main)
"""


def test_killed_between_commit_and_unlink_no_event_is_there_twice(
    store: FileRunStore, outbox: Path, tmp_path: Path
) -> None:
    """On DuckDB: the events were committed, the entry is still there, and the next flush adds none."""
    import duckdb

    events = run_history(started_at=datetime.now(UTC) - timedelta(days=1))
    keep(store, outbox, events)
    for how, code in (("kill", -signal.SIGKILL), ("let", 0)):
        child = subprocess.run(
            [sys.executable, "-c", FLUSHING, str(tmp_path), how], capture_output=True, text=True, check=False
        )
        assert child.returncode == code, child.stderr
        assert bool(pending_runs(outbox)) == (how == "kill")
        with duckdb.connect(str(tmp_path / "w.duckdb"), read_only=True) as connection:
            stored = connection.execute("SELECT event_id FROM ops.event_log ORDER BY event_id").fetchall()
        assert [event_id for (event_id,) in stored] == sorted(event.event_id for event in events)
