"""The worker processes of one run: as many as there is work for, up to a limit, in the order in which work comes."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from functools import partial
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

    At most `workers` processes work at a time. One that waits until its step takes what there is does not work: a
    batch that a step waits for is then given to another, if need be to one more than `workers`. Without that a step
    that makes many rows would wait for the next step, and that one for a process.
    """

    def __init__(self, *, project: Path, package: str, workers: int) -> None:
        self.workers = workers
        self.peak_memory_bytes = 0
        self._place = (project, package)
        self._limiter = anyio.CapacityLimiter(WAITING_STEPS)
        self._changed = threading.Condition()
        self._queue: deque[Task] = deque()
        self._serving: dict[WorkerProcess, Task | None] = {}
        self._stalled: set[WorkerProcess] = set()
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._numbers = count(1)
        # By identity; each call is kept, so that no other gets its place in memory.
        self._calls: dict[int, tuple[int, ProcessCall]] = {}

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
            self._find_process()
        return Submitted(self, task, self._limiter)

    def take(self, task: Task) -> Piece | None:
        """Wait for the next piece of a task, which now goes before those that nobody waits for yet. Blocks.

        Raises what ended the work.
        """
        if not task.wanted:
            with self._changed:
                task.wanted = True
                self._find_process()
        return task.take()

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

    def _find_process(self) -> None:
        """Wake or start a process for what is queued. With the lock held."""
        free = sum(at_work is None for at_work in self._serving.values())
        stuck = not free and self._may_work() and any(task.wanted for task in self._queue)
        if stuck or (free < len(self._queue) and len(self._serving) < self.workers):
            self._serve_more()
        self._changed.notify()

    def _may_work(self) -> bool:
        """Tell whether one more process may work. With the lock held."""
        at_work = sum(task is not None for task in self._serving.values())
        return at_work - len(self._stalled) < self.workers

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
                    self._hand_on(process, task, piece)
            except BaseException as problem:  # noqa: BLE001 - the step raises it
                error = problem
            with self._changed:
                self._serving[process] = None
            task.end(error)
        process.stop()

    def _hand_on(self, process: WorkerProcess, task: Task, piece: Piece) -> None:
        """Give a piece to its step. While that waits, the process does not count as working."""
        if piece.peak_memory_bytes > self.peak_memory_bytes:
            with self._changed:
                self.peak_memory_bytes = max(self.peak_memory_bytes, piece.peak_memory_bytes)
        if not task.crowded:
            task.put(piece)
            return
        with self._changed:
            self._stalled.add(process)
            self._find_process()
        task.put(piece)
        with self._changed:
            self._stalled.discard(process)

    def _next(self, process: WorkerProcess) -> Task | None:
        with self._changed:
            while True:
                while self._queue and not self._closing and self._may_work():
                    task = next((task for task in self._queue if task.wanted), self._queue[0])
                    self._queue.remove(task)
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
            partial(self._pool.take, self._task),
            self.abandon,
            limiter=self._limiter,
            subject=f"function {self._task.call.function}",
        )

    def abandon(self) -> None:
        """Give the batch up: what it was to become is not wanted any more."""
        self._pool.abandon(self._task)
