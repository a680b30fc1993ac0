"""The event sink of one run."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from runner.errors import DiskFull, category_of
from runner.events import Event, RunFinished
from runner.fold import RunFold
from runner.logs import get_logger
from runner.recorder.disk import SYNC_EVERY, Disk
from runner.recorder.texts import Redact, redacted
from runner.records import ErrorInfo, PipelineRun, RunRecord, Status, run_status

if TYPE_CHECKING:
    from runner.ports import RunWriter

Observer = Callable[[Event], None]
"""Is told of each event at once, on the event loop; must not block. What it raises is logged, once."""

Closing = Callable[[PipelineRun], Awaitable[Sequence[Event]]]
"""Looks at a run that is about to end, and says what else there is to tell of it. Must not raise."""

logger = get_logger("recorder")


class Recorder:
    """The event sink of one run. For the event loop's thread only; not reusable."""

    def __init__(
        self,
        writer: RunWriter,
        *,
        run_id: str,
        observers: Sequence[Observer] = (),
        redact: Redact | None = None,
        on_failure: Callable[[], object] | None = None,
    ) -> None:
        """Prepare. The recorder closes `writer` when its context is left.

        `redact` is applied to every text of an event before anyone sees it: observers, files, the event log
        and the run that `finish` returns. `on_failure` is called once, on the event loop, when the disk
        refuses the run's records; it should end the run (cancel its scope). `finish` then names the reason.
        """
        self.error: Exception | None = None
        self._run_id = run_id
        self._observers = list(observers)
        self._silenced: set[int] = set()
        self._redact = redact
        self._on_failure = on_failure
        self._queue: deque[Event] = deque()
        self._disk = Disk(writer, self._queue, RunFold(run_id))
        self._wake = anyio.Event()
        self._writing = anyio.Lock()
        self._thread = anyio.CapacityLimiter(1)
        self._draining = anyio.CancelScope(shield=True)
        self._tasks: TaskGroup

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._drain, name=f"recorder of run {self._run_id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write what is left, also when cancelled, and close. A body's exception goes on as it is."""
        try:
            with anyio.CancelScope(shield=True):
                self._draining.cancel()
                await self._write()
                await self._in_thread(self._disk.close)
        finally:
            # Its only task is ending by itself: the group must not cancel it, nor wrap the body's exception.
            await self._tasks.__aexit__(None, None, None)

    def emit(self, event: Event) -> None:
        """Queue one event for the disk and tell the observers. Takes microseconds and never raises.

        Events that are not durable only reach the observers.
        """
        if self._redact is not None:
            event = redacted(event, self._redact)
        if event.durable:
            self._queue.append(event)
            self._wake.set()
        for number, observer in enumerate(self._observers):
            try:
                observer(event)
            except Exception:
                if number not in self._silenced:
                    self._silenced.add(number)
                    logger.exception("observer %r failed; its further failures are not logged", observer)

    async def flush(self) -> None:
        """Wait until every event emitted so far is on disk. Raises what the disk said, if it refuses them."""
        await self._write()
        if self.error is not None:
            raise self.error

    async def finish(
        self,
        *,
        duration_ms: float,
        status: Status | None = None,
        errors: Sequence[ErrorInfo] = (),
        peak_memory_bytes: int | None = None,
        closing: Closing | None = None,
    ) -> PipelineRun:
        """End the run: emit `RunFinished`, write everything and the summary, and return the run.

        `closing` is given the run as it is going to be recorded, and returns what is to be emitted before the end.

        `status` None: a failure (or partial) if there are `errors`, else what the jobs make of it. The run is
        folded from the events: `RunStore.load` will return the same. Shielded from cancellation.

        When the disk has refused records, writing is tried once more (something may have been freed). The
        run's errors name the reason in any case, its status is a failure, and if it still cannot be written,
        the run returned is the only one that says so.
        """
        with anyio.CancelScope(shield=True):
            await self._write()

            def end() -> RunFinished:
                jobs = self._disk.fold.run().jobs
                problems = (*errors, *self._problem())
                return RunFinished(
                    run_id=self._run_id,
                    status=_status(status if self.error is None else None, jobs, problems),
                    duration_ms=duration_ms,
                    peak_memory_bytes=peak_memory_bytes,
                    errors=problems,
                )

            if closing is not None:
                for event in await closing(self._disk.fold.run_ending_with(end())):
                    self.emit(event)
            self.emit(end())
            await self._write(final=True)
        run = self._disk.fold.run()
        if self.error is None or run.errors[-1:] == self._problem():
            return run
        problems = (*run.errors, *self._problem())
        return replace(run, errors=problems, status=_status(None, run.jobs, problems))

    async def _drain(self) -> None:
        """Write group after group, until stopped or the disk refuses one."""
        with self._draining:
            while self.error is None:
                with anyio.move_on_after(SYNC_EVERY if self._disk.unsynced else None):
                    await self._wake.wait()
                await self._write()

    async def _write(self, *, final: bool = False) -> None:
        """Bring what is queued to disk in one thread call. A failure ends up in `self.error`."""
        async with self._writing:
            self._wake = anyio.Event()
            try:
                await self._in_thread(self._disk.finish if final else self._disk.write)
            except Exception as error:  # noqa: BLE001 - it belongs to the run, which is told below
                self._failed(error)

    async def _in_thread(self, work: Callable[[], None]) -> None:
        await anyio.to_thread.run_sync(work, limiter=self._thread)

    def _failed(self, error: Exception) -> None:
        """Keep the first failure: those that follow on a full disk are its echo."""
        logger.error("the records of run %s cannot be written: %s", self._run_id, error)
        if self.error is None:
            self.error = _named(error)
            if self._on_failure is not None:
                self._on_failure()

    def _problem(self) -> tuple[ErrorInfo, ...]:
        if self.error is None:
            return ()
        kind = type(self.error).__name__
        return (ErrorInfo(category=category_of(self.error), message=str(self.error), type=kind),)


def _status(status: Status | None, jobs: Sequence[RunRecord], problems: Sequence[ErrorInfo]) -> Status:
    if status is not None:
        return status
    if not problems:
        return run_status(jobs)
    landed = any(job.status in (Status.SUCCESS, Status.PARTIAL) for job in jobs)
    return Status.PARTIAL if landed else Status.FAILURE


def _named(error: Exception) -> Exception:
    """Return the error of a full disk as such; others as they are."""
    if isinstance(error, OSError) and category_of(error) == "disk_full":
        full = DiskFull("run store", str(error))
        full.__cause__ = error
        return full
    return error
