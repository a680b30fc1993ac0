"""The worker processes of one run: as many as there is work for, up to a limit, in the order in which work comes."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from itertools import count
from pathlib import Path

import anyio
import anyio.to_thread

from runner.cancellation import run_in_thread
from runner.ports import Batch
from runner.ports.processes import Piece, ProcessCall
from runner.processes.process import WorkerProcess
from runner.processes.tasks import Task

WAITING_STEPS = 64
"""Steps that wait for their processes at the same time, at most; each needs a thread for it."""


class ProcessPool:
    """Implements `runner.ports.FunctionProcesses`. Starts what there is work for, or all with `start`; `aclose` ends
    everything.
    """

    def __init__(self, *, project: Path, package: str, workers: int) -> None:
        self.workers = workers
        self._place = (project, package)
        self._limiter = anyio.CapacityLimiter(WAITING_STEPS)
        self._changed = threading.Condition()
        self._queue: deque[Task] = deque()
        self._serving: dict[WorkerProcess, Task | None] = {}
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._numbers = count(1)
        self._calls: dict[
            int, tuple[int, ProcessCall]
        ] = {}  # by identity; kept, so that no other gets its place

    def start(self) -> None:
        """Start all processes, without waiting for them."""
        with self._changed:
            while len(self._serving) < self.workers:
                self._serve_more()

    def submit(self, call: ProcessCall, batch: Batch) -> Submitted:
        """Queue a batch and return at once. The same `call` object stands for the same call."""
        number, _ = self._calls.setdefault(id(call), (next(self._numbers), call))
        task = Task(call, number, batch)
        with self._changed:
            self._queue.append(task)
            free = sum(at_work is None for at_work in self._serving.values())
            if free < len(self._queue) and len(self._serving) < self.workers:
                self._serve_more()
            self._changed.notify()
        return Submitted(self, task, self._limiter)

    def abandon(self, task: Task) -> None:
        """Drop a task; the process that works on it is killed. Does not block."""
        task.drop()
        with self._changed:
            for process, at_work in self._serving.items():
                if at_work is task:
                    process.kill()

    async def aclose(self) -> None:
        """End all processes and threads. Work that is left is dropped."""
        if self._threads:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._close, limiter=anyio.CapacityLimiter(1))

    def _close(self) -> None:
        with self._changed:
            self._closing = True
            left = [*self._queue, *(task for task in self._serving.values() if task)]
            self._queue.clear()
            self._changed.notify_all()
        for task in left:
            self.abandon(task)
        for thread in self._threads:
            thread.join()

    def _serve_more(self) -> None:
        process = WorkerProcess(*self._place)
        self._serving[process] = None
        thread = threading.Thread(
            target=self._serve, args=(process,), name="runner worker process", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _serve(self, process: WorkerProcess) -> None:
        """Give tasks to one process until the pool is closed, in a thread of its own."""
        with suppress(OSError):  # one that cannot be started is tried again for its first task, which is told
            process.start()
        while (task := self._next(process)) is not None:
            error: BaseException | None = None
            try:
                for piece in process.work(task):
                    task.put(piece)
            except BaseException as problem:  # noqa: BLE001 - the step raises it
                error = problem
            with self._changed:
                self._serving[process] = None
            task.end(error)
        process.stop()

    def _next(self, process: WorkerProcess) -> Task | None:
        with self._changed:
            while True:
                while self._queue and not self._closing:
                    task = self._queue.popleft()
                    if not task.abandoned:
                        self._serving[process] = task
                        return task
                if self._closing:
                    return None
                self._changed.wait()


class Submitted:
    """A batch that has been given to the processes: what became of it is taken piece by piece."""

    def __init__(self, pool: ProcessPool, task: Task, limiter: anyio.CapacityLimiter) -> None:
        self._pool = pool
        self._task = task
        self._limiter = limiter

    async def take(self) -> Piece | None:
        """Wait for the next piece; None when there are no more. When cancelled, the process is killed.

        Raises what the function raised, as in a thread, and `WorkerFailed`.
        """
        return await run_in_thread(
            self._task.take,
            self.abandon,
            limiter=self._limiter,
            subject=f"function {self._task.call.function}",
        )

    def abandon(self) -> None:
        """Give the batch up: what it was to become is not wanted any more."""
        self._pool.abandon(self._task)
