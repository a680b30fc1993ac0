"""The recorder: events reach the disk in groups, nothing waits for it, and nothing it was given is lost."""

from __future__ import annotations

import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from runner.errors import DiskFull
from runner.events import Event, JobFinished, Noticed, RunFinished, RunStarted, StepProgress
from runner.fold import fold_run
from runner.ids import new_ulid
from runner.ports import RunWriter
from runner.recorder import Recorder, redacted
from runner.records import ErrorInfo, PipelineRun, RunRecord, Status
from runner.run_store import FileRunStore
from runner.testing.memory_run_store import MemoryRunStore, MemoryRunWriter
from runner.testing.run_history import run_history

pytestmark = pytest.mark.anyio

new_ulid()  # not first on the event loop: python-ulid reads its own metadata when it is imported


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Both backends, for every async test here."""
    return str(request.param)


@pytest.fixture
def memory() -> MemoryRunStore:
    """An empty store in memory."""
    return MemoryRunStore()


def begin(store: MemoryRunStore, events: Sequence[Event]) -> MemoryRunWriter:
    """Make the place of a run."""
    return store.create(events[0].run_id, "daily", events[0].timestamp)


async def record(writer: RunWriter, events: Sequence[Event], **options: object) -> PipelineRun:
    """Record a whole run: all events but its end, which is `finish`'s."""
    async with Recorder(writer, run_id=events[0].run_id, **options) as recorder:  # type: ignore[arg-type]
        for event in events:
            if not isinstance(event, RunFinished):
                recorder.emit(event)
        return await recorder.finish(duration_ms=2000)


async def test_a_run_is_on_disk_when_it_is_finished(tmp_path: Path) -> None:
    """Events in order, a record a job, and the run that `finish` returned."""
    store = FileRunStore(tmp_path / "runs")
    events = run_history(failing=["scores"])
    run_id = events[0].run_id
    writer = await anyio.to_thread.run_sync(store.create, run_id, "daily", events[0].timestamp)
    run = await record(writer, events)

    def check() -> None:
        stored = store.events(run_id)
        assert list(stored[:-1]) == events[:-1]
        assert isinstance(stored[-1], RunFinished)
        assert store.load(run_id) == run == fold_run(stored, run_id=run_id)
        assert sorted(path.name for path in (store.path(run_id) / "jobs").iterdir()) == [
            "intake.json",
            "scores.json",
        ]
        assert not store.is_alive(run_id)

    await anyio.to_thread.run_sync(check)
    assert (run.status, run.duration_ms, run.max_workers) == (Status.PARTIAL, 2000, 1)


async def test_events_reach_the_disk_while_the_run_goes_on(memory: MemoryRunStore) -> None:
    """Without anyone asking, and with the summary of a running run."""
    events = run_history()
    writer = begin(memory, events)
    async with Recorder(writer, run_id=events[0].run_id) as recorder:
        for event in events[:3]:
            recorder.emit(event)
        with anyio.fail_after(5):
            while len(writer.stored) < 3 or writer.summary is None:  # noqa: ASYNC110 - a thread sets them
                await anyio.sleep(0.001)
        assert writer.summary.status is Status.RUNNING
        assert memory.load(events[0].run_id).status is Status.RUNNING
        await recorder.finish(duration_ms=1)


async def test_flush_waits_for_the_disk(memory: MemoryRunStore) -> None:
    """What was emitted before it is written after it."""
    events = run_history()
    writer = begin(memory, events)
    async with Recorder(writer, run_id=events[0].run_id) as recorder:
        for number, event in enumerate(events[:-1], 1):
            recorder.emit(event)
            await recorder.flush()
            assert len(writer.stored) == number
        await recorder.finish(duration_ms=1)


class SlowWriter(MemoryRunWriter):
    """A disk that takes as long as the test says, and counts how often it is asked."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id, "daily", run_history()[0].timestamp)
        self.go_on = threading.Event()
        self.groups: list[int] = []

    def append(self, events: Sequence[Event]) -> None:
        """Wait, then keep the events."""
        assert self.go_on.wait(10)
        self.groups.append(len(events))
        super().append(events)


async def test_what_comes_in_while_a_group_is_written_is_the_next_group() -> None:
    """1,000 events during one slow write are two writes, and emitting them did not wait."""
    writer = SlowWriter(new_ulid())
    async with Recorder(writer, run_id=writer.run_id) as recorder:
        recorder.emit(notice(writer.run_id, "first"))
        await anyio.sleep(0.05)
        for number in range(1000):
            recorder.emit(notice(writer.run_id, str(number)))
        assert writer.groups == []
        writer.go_on.set()
        await recorder.flush()
        assert writer.groups == [1, 1000]
        await recorder.finish(duration_ms=1)


def notice(run_id: str, message: str) -> Noticed:
    """A small event."""
    return Noticed(run_id=run_id, level="info", code="test.notice", message=message)


async def test_observers_see_everything_at_once_and_in_order(memory: MemoryRunStore) -> None:
    """Also progress, which is not written; and before the disk has it."""
    events = run_history()
    progress = StepProgress(
        run_id=events[0].run_id, job_run_id="J", job_id="intake", step_id="read_me", rows=7
    )
    seen: list[Event] = []
    writer = begin(memory, events)
    async with Recorder(writer, run_id=events[0].run_id, observers=[seen.append]) as recorder:
        for event in (*events[:2], progress, *events[2:-1]):
            recorder.emit(event)
            assert seen[-1] is event
        await recorder.finish(duration_ms=1)
    assert seen == [*events[:2], progress, *events[2:-1], writer.stored[-1]]
    assert progress not in writer.stored


async def test_an_observer_that_fails_is_logged_once(
    memory: MemoryRunStore, caplog: pytest.LogCaptureFixture
) -> None:
    """It neither reaches the run nor keeps the other observers from seeing."""
    events = run_history()
    seen: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError(f"cannot show {event.event_type}")

    with caplog.at_level(logging.ERROR, "runner"):
        run = await record(begin(memory, events), events, observers=[broken, seen.append])
    assert run.status is Status.SUCCESS
    assert len(seen) == len(events)
    assert caplog.text.count("RuntimeError: cannot show") == 1
    assert "RuntimeError: cannot show run.started" in caplog.text


async def test_secrets_are_removed_before_anyone_sees_them(memory: MemoryRunStore) -> None:
    """From events, records, observers and the run that is returned; ids stay as they are."""
    events = run_history(jobs=["hunter2"], failing=["hunter2"])
    events.insert(1, notice(events[0].run_id, "said hunter2"))
    events.insert(
        2, Noticed(run_id="R", level="info", code="c", message="", details={"hunter2": ["x", "hunter2"]})
    )
    seen: list[Event] = []
    writer = begin(memory, events)
    run = await record(
        writer, events, redact=lambda text: text.replace("hunter2", "***"), observers=[seen.append]
    )
    for shown in (repr(seen), repr(writer.stored), repr(writer.records), repr(run), repr(writer.summary)):
        assert "hunter2 was" not in shown
        assert "said hunter2" not in shown
    assert run.jobs[0].errors[0].message == "*** was told to fail"
    assert writer.records["hunter2"].job_id == "hunter2"
    assert seen[2].details == {"***": ["x", "***"]}  # type: ignore[attr-defined]


def test_redaction_leaves_what_has_no_secret_alone() -> None:
    """The same object, so that nothing is copied for nothing."""
    for event in run_history(failing=["scores"]):
        assert redacted(event, lambda text: text) is event


async def test_a_cancelled_run_is_recorded_to_its_end(memory: MemoryRunStore) -> None:
    """Finishing and closing are shielded, and the cancellation goes on."""
    events = run_history()
    writer = begin(memory, events)
    with anyio.CancelScope() as scope:
        async with Recorder(writer, run_id=events[0].run_id) as recorder:
            for event in events[:-1]:
                recorder.emit(event)
            try:
                scope.cancel()
                await anyio.sleep(10)
            finally:
                run = await recorder.finish(duration_ms=1, status=Status.CANCELLED)
        pytest.fail("the cancellation was swallowed")
    assert scope.cancelled_caught
    assert memory.load(events[0].run_id) == run
    assert run.status is Status.CANCELLED
    assert not writer.alive


async def test_events_are_written_while_the_run_is_being_cancelled(memory: MemoryRunStore) -> None:
    """Cleaning up can take long; a kill in the middle of it must not lose what was already emitted."""
    events = run_history()
    writer = begin(memory, events)
    with anyio.CancelScope() as scope:
        async with Recorder(writer, run_id=events[0].run_id) as recorder:
            scope.cancel()
            with anyio.CancelScope(shield=True), anyio.fail_after(5):
                recorder.emit(events[0])
                while not writer.stored:  # noqa: ASYNC110 - a thread fills it
                    await anyio.sleep(0.001)
            await recorder.finish(duration_ms=1)


async def test_a_failure_of_the_run_goes_on_as_it_is(memory: MemoryRunStore) -> None:
    """Not in a group; what was emitted is written, and the run, which has no end, reads as crashed."""
    events = run_history()
    writer = begin(memory, events)

    async def fail() -> None:
        async with Recorder(writer, run_id=events[0].run_id) as recorder:
            for event in events[:4]:
                recorder.emit(event)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert writer.stored == events[:4]
    assert memory.load(events[0].run_id).status is Status.CRASHED


ERROR = ErrorInfo(category="timeout", message="run stopped")


@pytest.mark.parametrize(
    ("failing", "errors", "given", "expected"),
    [
        ([], [], None, Status.SUCCESS),
        (["intake"], [], None, Status.PARTIAL),
        (["intake", "scores"], [], None, Status.FAILURE),
        ([], [ERROR], None, Status.PARTIAL),
        (["intake", "scores"], [ERROR], None, Status.FAILURE),
        ([], [], Status.CANCELLED, Status.CANCELLED),
        ([], [ERROR], Status.FAILURE, Status.FAILURE),
    ],
)
async def test_the_status_of_a_run(
    memory: MemoryRunStore,
    failing: list[str],
    errors: list[ErrorInfo],
    given: Status | None,
    expected: Status,
) -> None:
    """What the caller says, else what the errors of the run and its jobs make of it."""
    events = run_history(failing=failing)
    async with Recorder(begin(memory, events), run_id=events[0].run_id) as recorder:
        for event in events[:-1]:
            recorder.emit(event)
        run = await recorder.finish(duration_ms=1, status=given, errors=errors)
    assert (run.status, list(run.errors)) == (expected, errors)


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes, as a full disk would."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


async def run_until_refused(
    store: FileRunStore, events: Sequence[Event], limit: int, *, freed: bool
) -> PipelineRun:
    """A run that emits and waits for ever, on a disk that fills up, and is ended by the recorder.

    `freed`: there is room again when it finishes.
    """
    writer = await anyio.to_thread.run_sync(store.create, events[0].run_id, "daily", events[0].timestamp)
    scope = anyio.CancelScope()
    with ExitStack() as disk, anyio.fail_after(5):
        disk.enter_context(files_no_longer_than(limit))
        async with Recorder(writer, run_id=events[0].run_id, on_failure=scope.cancel) as recorder:
            with scope:
                for event in events:
                    recorder.emit(event)
                await anyio.sleep_forever()
            if freed:
                disk.close()
            return await recorder.finish(duration_ms=1)
    raise AssertionError("the run did not end")


@pytest.mark.parametrize("limit", [0, 1, 500, 2000, 2600])
async def test_a_full_disk_ends_the_run(tmp_path: Path, limit: int) -> None:
    """It does not hang, its category is disk_full, and what is on disk is whole and readable."""
    store = FileRunStore(tmp_path / "runs")
    events = run_history()[:-1]
    run = await run_until_refused(store, events, limit, freed=False)
    assert [error.category for error in run.errors] == ["disk_full"]
    assert run.status is Status.PARTIAL
    assert len(run.jobs) == 2

    def check() -> None:
        stored = store.read_events(events[0].run_id)
        assert (list(stored.events), stored.torn) == (events[: len(stored.events)], 0)
        assert [listed.status for listed in store.latest()] in ([Status.CRASHED], [])
        assert not list(tmp_path.rglob("*.tmp"))

    await anyio.to_thread.run_sync(check)


async def test_a_disk_that_has_room_again_gets_the_whole_story(tmp_path: Path) -> None:
    """Nothing that was refused is forgotten, nothing is there twice, and the reason is recorded."""
    store = FileRunStore(tmp_path / "runs")
    events = run_history()[:-1]
    run = await run_until_refused(store, events, 500, freed=True)

    def check() -> None:
        stored = store.events(events[0].run_id)
        assert list(stored[:-1]) == events
        assert store.load(events[0].run_id) == run
        assert len(list((store.path(events[0].run_id) / "jobs").iterdir())) == 2

    await anyio.to_thread.run_sync(check)
    assert [error.category for error in run.errors] == ["disk_full"]


class RefusingWriter(MemoryRunWriter):
    """A disk on which the n-th operation fails, and all after it, with an error of its own."""

    def __init__(self, run_id: str, after: int) -> None:
        super().__init__(run_id, "daily", run_history()[0].timestamp)
        self.left = after
        self.error = OSError(5, "Input/output error", "events.jsonl")

    def count(self) -> None:
        """Fail when it is time to."""
        self.left -= 1
        if self.left < 0:
            raise self.error

    def append(self, events: Sequence[Event]) -> None:
        """Keep the events, or fail."""
        self.count()
        super().append(events)

    def sync(self) -> None:
        """Fail when it is time to."""
        self.count()

    def write_job(self, record: RunRecord) -> None:
        """Keep the record, or fail."""
        self.count()
        super().write_job(record)

    def write_run(self, run: PipelineRun) -> None:
        """Keep the summary, or fail."""
        self.count()
        super().write_run(run)


@pytest.mark.parametrize("after", range(12))
async def test_whatever_operation_fails_the_run_ends_and_says_so(after: int) -> None:
    """The n-th write, sync or record: told once, in the run's errors, and never waited for."""
    events = run_history()[:-1]
    writer = RefusingWriter(events[0].run_id, after)
    told: list[bool] = []
    with anyio.fail_after(5):
        async with Recorder(
            writer, run_id=events[0].run_id, on_failure=lambda: told.append(True)
        ) as recorder:
            for event in events:
                recorder.emit(event)
                await anyio.lowlevel.checkpoint()
            run = await recorder.finish(duration_ms=1)
    if writer.left >= 0:
        assert (run.errors, told) == ((), [])
    else:
        assert [error.message for error in run.errors] == [str(writer.error)]
        assert (run.status, told) == (Status.PARTIAL, [True])
        assert len(run.jobs) == 2
    assert not writer.alive


async def test_flush_raises_what_the_disk_said() -> None:
    """For those who must know before they go on."""
    writer = RefusingWriter(new_ulid(), 0)
    writer.error = OSError(28, "No space left on device", "events.jsonl")
    async with Recorder(writer, run_id=writer.run_id) as recorder:
        recorder.emit(notice(writer.run_id, "x"))
        with pytest.raises(DiskFull, match="No space left"):
            await recorder.flush()
        writer.left = 100
        await recorder.finish(duration_ms=1)
    assert len(writer.stored) == 2


async def test_nothing_is_left_open(tmp_path: Path) -> None:
    """Ten runs leave as many descriptors and threads as one."""
    store = FileRunStore(tmp_path / "runs")

    async def one() -> tuple[int, int]:
        events = run_history()
        writer = await anyio.to_thread.run_sync(store.create, events[0].run_id, "daily", events[0].timestamp)
        await record(writer, events)
        fds = await anyio.to_thread.run_sync(os.listdir, "/dev/fd")
        return len(fds), threading.active_count()

    first = await one()
    assert [await one() for _ in range(10)] == [first] * 10


KILLED = """
import os, sys
from pathlib import Path
import anyio
from runner.recorder import Recorder
from runner.run_store import FileRunStore
from runner.testing.run_history import run_history
async def main():
    store = FileRunStore(Path(sys.argv[1]))
    while True:
        events = run_history(jobs=[f"j{n}" for n in range(40)])
        writer = store.create(events[0].run_id, "daily", events[0].timestamp)
        async with Recorder(writer, run_id=events[0].run_id) as recorder:
            for number, event in enumerate(events[:-1], 1):
                recorder.emit(event)
                if number % 7 == 0:
                    await recorder.flush()
                    os.write(1, f"{event.run_id} {number}\\n".encode())
            await recorder.finish(duration_ms=1)
anyio.run(main)
"""


@pytest.mark.parametrize("delay", [0.01, 0.06, 0.13])
def test_kill_9_keeps_what_was_flushed(tmp_path: Path, delay: float) -> None:
    """And leaves no run in between: each is finished or crashed, with all its jobs."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        said = [child.stdout.readline()]
        time.sleep(delay)
        child.kill()
        said += child.stdout.readlines()
    store = FileRunStore(tmp_path)
    flushed = {run_id: int(number) for run_id, number in (line.split() for line in said)}
    for run_id, number in flushed.items():
        assert len(store.events(run_id)) >= number
        run = store.load(run_id)
        assert run.status in (Status.SUCCESS, Status.CRASHED)
        assert len(run.jobs) == 40


@pytest.mark.perf
def test_a_thousand_jobs_cost_little(tmp_path: Path) -> None:
    """4 events and a record each: at most 0.25 ms a job, until everything is on disk."""
    store = FileRunStore(tmp_path / "runs")
    jobs = [f"job_{number}" for number in range(1000)]

    async def run() -> float:
        events = [event for event in run_history(jobs=jobs) if event.event_type != "job.landed"][:-1]
        writer = store.create(events[0].run_id, "daily", events[0].timestamp)
        start = time.perf_counter()
        async with Recorder(writer, run_id=events[0].run_id) as recorder:
            for event in events:
                recorder.emit(event)
                if isinstance(event, JobFinished | RunStarted):
                    await anyio.lowlevel.checkpoint()
            await recorder.finish(duration_ms=1)
        return time.perf_counter() - start

    seconds = min(anyio.run(run) for _ in range(5))
    print(f"{seconds:.3f} ms a job")
    assert seconds < 0.25
