"""The files of the run store: what crashes, damage and other processes do to them, and that nothing else is lost."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from runner.errors import DamagedRecord, RunNotFound
from runner.events import Event, JobFinished, RunFinished, RunStarted
from runner.fold import fold_run
from runner.ids import new_ulid
from runner.records import PipelineRun, Status
from runner.run_store import FileRunStore
from runner.testing.run_history import run_history

AT = datetime(2026, 2, 12, 6, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> FileRunStore:
    """An empty store."""
    return FileRunStore(tmp_path / "runs")


def keep(store: FileRunStore, events: list[Event], *, running: bool = False) -> Path:
    """Write a run, its summary as at its end or, with `running`, as at its start. Return its folder."""
    writer = store.create(events[0].run_id, "daily", events[0].timestamp)
    writer.append(events)
    for event in events:
        if isinstance(event, JobFinished):
            writer.write_job(event.record)
    writer.write_run(fold(events[:1] if running else events))
    writer.close()
    return store.path(events[0].run_id)


def fold(events: list[Event], *, alive: bool = True) -> PipelineRun:
    """The run that these events tell of."""
    return fold_run(events, run_id=events[0].run_id, alive=alive)


def test_the_tree_is_as_designed_and_private(store: FileRunStore, tmp_path: Path) -> None:
    """DESIGN.md, What a run leaves behind."""
    events = run_history(started_at=AT)
    keep(store, events)
    folder = f"runs/2026-02-12/{events[0].run_id}-daily"
    made = {
        path.relative_to(tmp_path).as_posix(): oct(stat.S_IMODE(path.stat().st_mode))
        for path in tmp_path.rglob("*")
    }
    assert made == {
        "runs": "0o700",
        "runs/2026-02-12": "0o700",
        folder: "0o700",
        f"{folder}/events.jsonl": "0o600",
        f"{folder}/run.json": "0o600",
        f"{folder}/jobs": "0o700",
        f"{folder}/jobs/intake.json": "0o600",
        f"{folder}/jobs/scores.json": "0o600",
    }


def test_the_files_are_plain_json(store: FileRunStore) -> None:
    """For people with a pager and for any other tool."""
    events = run_history(started_at=AT)
    folder = keep(store, events)
    run = fold(events)
    assert json.loads((folder / "run.json").read_text()) == run.to_dict()
    assert json.loads((folder / "jobs" / "intake.json").read_text()) == run.jobs[0].to_dict()
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [line["event_type"] for line in lines] == [event.event_type for event in events]


def test_every_prefix_of_the_events_is_readable(store: FileRunStore) -> None:
    """Cut at every byte: the whole lines count, what is torn is counted, the run is crashed or finished."""
    events = run_history(jobs=["a"], started_at=AT)
    folder = keep(store, events, running=True)
    content = (folder / "events.jsonl").read_bytes()
    run_id = events[0].run_id
    for length in range(len(content), -1, -1):
        os.truncate(folder / "events.jsonl", length)
        lines = content[:length].split(b"\n")
        whole = len(lines) - 1
        if lines[-1] and lines[-1] + b"\n" in content:
            whole += 1  # only the newline is missing
        stored = store.read_events(run_id)
        assert list(stored.events) == events[:whole]
        assert stored.torn == (1 if lines[-1] and whole == len(lines) - 1 else 0)
        if length % 7 and lines[-1]:
            continue
        run = store.load(run_id)
        assert run.jobs == (fold(events[:whole], alive=False).jobs if whole else ())
        assert run.status is (Status.SUCCESS if whole == len(events) else Status.CRASHED)
        assert (run.pipeline_id, store.latest()[0]) == ("daily", run.without_jobs())


def test_a_tail_of_zeros_is_a_torn_line(store: FileRunStore) -> None:
    """What some file systems leave after a power failure."""
    events = run_history(started_at=AT)[:5]
    folder = keep(store, events, running=True)
    with (folder / "events.jsonl").open("ab") as file:
        file.write(b"\0" * 4096)
    assert store.read_events(events[0].run_id).torn == 1
    assert list(store.events(events[0].run_id)) == events


def test_damage_is_named_and_stays_where_it_is(store: FileRunStore) -> None:
    """A flipped byte anywhere in the events: file and line, the file untouched, and the other runs readable."""
    before = keep(store, run_history(started_at=AT))
    events = run_history(jobs=["a"], started_at=AT + timedelta(days=1))
    path = keep(store, events, running=True) / "events.jsonl"
    after = keep(store, run_history(started_at=AT + timedelta(days=2)))
    content = path.read_bytes()
    last = content.rindex(b"\n", 0, -1) + 1
    for at in range(0, last, 7):
        broken = bytearray(content)
        broken[at] ^= 0x01
        path.write_bytes(broken)
        line = content.count(b"\n", 0, at) + 1
        try:
            read = list(store.events(events[0].run_id))
        except DamagedRecord as error:
            said = (error.file, error.line)
        else:  # it hit the word "crc", without which a line is taken as it is
            assert read == events
            continue
        assert said in [(str(path), line), (str(path), line + 1)]
        assert path.read_bytes() == broken
    path.write_bytes(content[:10] + content[11:])
    with pytest.raises(DamagedRecord, match=f"{path}:1: "):
        store.load(events[0].run_id)
    listed = store.latest()
    assert [run.status for run in listed] == [Status.SUCCESS, Status.CRASHED, Status.SUCCESS]
    assert (listed[1].errors[0].category, listed[1].pipeline_id) == ("damaged", "daily")
    assert f"{path}:1:" in listed[1].errors[0].message
    assert [run.pipeline_run_id for run in listed] == [after.name[:26], events[0].run_id, before.name[:26]]
    assert store.resolve("last-failed") == events[0].run_id


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"status": "success"}', b"\xff", b'{"jobs": 1}'])
def test_a_summary_that_cannot_be_read_is_rebuilt(
    store: FileRunStore, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is only a copy; the log says so. A list does the same."""
    events = run_history(started_at=AT)
    folder = keep(store, events)
    (folder / "run.json").write_bytes(content)
    with caplog.at_level(logging.WARNING, "runner"):
        assert store.load(events[0].run_id) == fold(events)
        assert store.latest()[0] == fold(events).without_jobs()
    assert "run.json" in caplog.text
    assert (folder / "run.json").read_bytes() == content


def test_a_summary_of_any_length_can_be_listed(store: FileRunStore) -> None:
    """Also when the run itself has errors longer than what a list reads first."""
    events = run_history(started_at=AT)
    long = RunFinished(
        run_id=events[0].run_id,
        status=Status.FAILURE,
        duration_ms=1,
        errors=fold(run_history(failing=["intake"])).jobs[0].errors * 200,
    )
    keep(store, [*events[:-1], long])
    assert store.latest()[0] == fold([*events[:-1], long]).without_jobs()


def test_an_event_of_a_newer_version_is_said_not_skipped(store: FileRunStore) -> None:
    """An older runner must not show half an account as a whole one."""
    events = run_history(started_at=AT)
    folder = keep(store, events, running=True)
    with (folder / "events.jsonl").open("ab") as file:
        file.write(b'{"event_type":"job.teleported"}\n')
    with pytest.raises(DamagedRecord, match=r"job\.teleported"):
        store.load(events[0].run_id)


def test_foreign_files_are_passed_over(store: FileRunStore, tmp_path: Path) -> None:
    """Links, notes, temporary files of a killed writer: no run, and no error."""
    events = run_history(started_at=AT)
    folder = keep(store, events)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "runs" / "2026-02-13").symlink_to(folder.parent)
    (tmp_path / "runs" / "README").write_text("mine")
    (folder.parent / "notes").mkdir()
    (folder / ".run.json.tmp").write_text("{")
    assert [run.pipeline_run_id for run in store.latest()] == [events[0].run_id]
    (folder.parent / f"{new_ulid()}-daily").symlink_to(elsewhere)
    assert {run.status for run in store.latest()} == {Status.SUCCESS, Status.CRASHED}
    assert "Not a directory" in store.latest()[0].errors[0].message


def test_a_name_cannot_lead_out_of_the_store(store: FileRunStore, tmp_path: Path) -> None:
    """Nor can a job's."""
    with pytest.raises(ValueError, match="is not a file name"):
        store.create(new_ulid(), "../../out", AT)
    writer = store.create(new_ulid(), "daily", AT)
    event = next(event for event in run_history(jobs=["../out"]) if isinstance(event, JobFinished))
    with pytest.raises(ValueError, match="is not a file name"):
        writer.write_job(event.record)
    writer.close()
    assert not list(tmp_path.rglob("*out*"))


WRITING = """
import os, sys
from pathlib import Path
from runner.events import JobFinished, RunStarted
from runner.fold import fold_run
from runner.run_store import FileRunStore
from runner.testing.run_history import run_history
store = FileRunStore(Path(sys.argv[1]))
while True:
    events = run_history(jobs=[f"j{n}" for n in range(20)])
    writer = store.create(events[0].run_id, "daily", events[0].timestamp)
    for number, event in enumerate(events):
        writer.append([event])
        os.write(1, f"{event.run_id} {number}\\n".encode())     # acknowledged, in one piece: it must be there
        if isinstance(event, RunStarted):
            writer.write_run(fold_run([event], run_id=event.run_id))
        if isinstance(event, JobFinished):
            writer.write_job(event.record)
    writer.write_run(fold_run(events, run_id=events[0].run_id))
    writer.close()
"""


@pytest.mark.parametrize("seed", range(6))
def test_kill_9_loses_nothing_that_was_acknowledged(store: FileRunStore, tmp_path: Path, seed: int) -> None:
    """A writer killed at a random moment: every acknowledged event is there, every run is crashed or finished."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITING, str(tmp_path / "runs")], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        said = [child.stdout.readline()]
        time.sleep(random.Random(seed).uniform(0.001, 0.15))
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
    acknowledged: dict[str, int] = {}
    for line in said:
        run_id, number = line.split()
        acknowledged[run_id] = int(number) + 1
    for run_id, count in acknowledged.items():
        stored = store.read_events(run_id)
        assert len(stored.events) >= count
        assert stored.torn == 0
        run = store.load(run_id)
        assert run.status in (Status.SUCCESS, Status.CRASHED)
        assert len(run.jobs) == 20
        assert not store.is_alive(run_id)
    assert {run.pipeline_run_id for run in store.latest()} >= acknowledged.keys()


def test_a_run_of_another_process_is_alive_until_it_is_killed(store: FileRunStore, tmp_path: Path) -> None:
    """Its death is seen at once, not after some heartbeat."""
    waiting = WRITING.replace("# acknowledged", "; input()  # acknowledged")
    with subprocess.Popen(
        [sys.executable, "-c", waiting, str(tmp_path / "runs")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        run_id, _ = child.stdout.readline().split()
        assert store.is_alive(run_id)
        assert store.load(run_id).status is Status.RUNNING
        child.kill()
        child.wait()
        assert not store.is_alive(run_id)
        assert store.load(run_id).status is Status.CRASHED


@pytest.mark.asyncio
async def test_follow_ends_with_the_run(store: FileRunStore) -> None:
    """Events as they are written, the last of them too, and then the end."""
    events = run_history(started_at=AT)
    run_id = events[0].run_id
    writer = await anyio.to_thread.run_sync(store.create, run_id, "daily", AT)
    followed: list[Event] = []
    caught_up = anyio.Event()

    async def read() -> None:
        async for event in store.follow(run_id):
            followed.append(event)
            if len(followed) == 4:
                caught_up.set()

    async with anyio.create_task_group() as tasks:
        await anyio.to_thread.run_sync(writer.append, events[:4])
        tasks.start_soon(read)
        await caught_up.wait()
        await anyio.to_thread.run_sync(writer.append, events[4:])
        await anyio.to_thread.run_sync(writer.close)
    assert followed == events
    with pytest.raises(RunNotFound):
        await anext(store.follow(new_ulid()))


def test_reading_the_store_imports_little() -> None:
    """`runs` and `show` start fast: no pydantic, no event loop, no driver."""
    code = "import sys, runner.run_store; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = {"pydantic", "anyio", "asyncio", "aiofiles", "ulid", "duckdb", "pyarrow", "structlog", "yaml"}
    assert heavy.isdisjoint(name.partition(".")[0] for name in loaded.split())


@pytest.mark.perf
def test_ten_thousand_runs_are_listed_in_time(store: FileRunStore) -> None:
    """The last 20 of them at once, all of them in a moment."""
    for number in range(10_000):
        events = run_history(jobs=["a"], started_at=AT + timedelta(minutes=15 * number))
        started = events[0]
        assert isinstance(started, RunStarted)
        writer = store.create(started.run_id, "daily", started.timestamp)
        writer.append(events)
        writer.write_run(fold(events))
        writer.close()
    start = time.perf_counter()
    assert len(store.latest(limit=20)) == 20
    some = time.perf_counter() - start
    start = time.perf_counter()
    assert len(store.latest()) == 10_000
    everything = time.perf_counter() - start
    print(f"20 of 10,000: {some * 1000:.1f} ms; all: {everything * 1000:.0f} ms")
    assert some < 0.05
    assert everything < 2.0
