"""`op: call` with `runs_in: process`: batches in worker processes, several at once, their results in order.

While the processes work, the step takes further batches: reading, the function and staging overlap. The step's own
time is what the job has waited for the processes; their work is its `busy_ms`, which may be longer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Iterator

from runner.functions import Function
from runner.ports import (
    Batch,
    FunctionProcesses,
    FunctionThreads,
    Piece,
    ProcessCall,
    StepContext,
    StepCounts,
    SubmittedBatch,
)
from runner.quarantine import BadRowGate, bad_row
from runner.specs import CallSpec
from runner.types.shapes import part_of, row_at

SHARE = 2_500
"""Rows of a row function that go to a process at once: with whole batches one would work on the last of them alone."""

AHEAD = {"row": 4, "batch": 1}
"""Shares (of batch functions: batches) that wait for a process while all are at work: none is idle while a batch
is read or staged.
"""


class CallInProcessesStep:
    """Gives each batch to a process and hands on what comes of it. Bad rows as in `CallStep`."""

    def __init__(
        self,
        spec: CallSpec,
        context: StepContext,
        *,
        function: Function,
        processes: FunctionProcesses,
        threads: FunctionThreads,
        connection: object,
        batch_rows: int,
    ) -> None:
        self.counts = StepCounts(busy_ns=0)
        self._context = context
        self._processes = processes
        self._threads = threads
        self._step_id = spec.step_id
        self._gate = BadRowGate(spec.step_id, spec.on_bad_row, spec.max_bad_rows, context.writer)
        self._call = process_call(spec, context, function, connection=connection, batch_rows=batch_rows)
        self._submitted: deque[tuple[Batch, SubmittedBatch]] = deque()

    @property
    def holds(self) -> bool:
        """Whether batches are under way."""
        return bool(self._submitted)

    async def flow(self, batch: Batch) -> AsyncGenerator[Batch, None]:
        """Take a batch, and yield what has come of the first ones once enough are under way.

        Raises `FunctionFailed`, `BadRows` and `WorkerFailed`.
        """
        self.counts.batches += 1
        self.counts.rows_in += batch.length
        for share in self._shares(batch):
            self._submitted.append((share, self._processes.submit(self._call, share)))
            while len(self._submitted) > self._processes.workers + AHEAD[self._call.shape]:
                async for output in self._first():
                    yield output

    def _shares(self, batch: Batch) -> Iterator[Batch]:
        """Part a batch. A batch function is given it whole, as in a thread."""
        if self._call.shape == "batch" or batch.length <= SHARE:
            yield batch
            return
        for start in range(0, batch.length, SHARE):
            yield part_of(batch, start, SHARE)

    async def flush(self) -> AsyncGenerator[Batch, None]:
        """Yield what comes of all that is under way."""
        while self._submitted:
            async for output in self._first():
                yield output

    async def drop(self) -> None:
        """Give up what is under way; the processes that work on it are killed."""
        for _, submitted in reversed(
            self._submitted
        ):  # else a process that is free now takes up one of the next
            submitted.abandon()
        self._submitted.clear()

    async def _first(self) -> AsyncGenerator[Batch, None]:
        """Yield what comes of the batch that came first. Until its end it counts as under way."""
        batch, submitted = self._submitted[0]
        while (piece := await submitted.take()) is not None:
            self.counts.busy_ns = (self.counts.busy_ns or 0) + piece.busy_ns
            if piece.failures:
                await self._refuse(batch, piece)
            if piece.batch is not None and piece.batch.length:
                self.counts.rows_out += piece.batch.length
                yield piece.batch
        self._submitted.popleft()

    async def _refuse(self, batch: Batch, piece: Piece) -> None:
        """Hand on the rows that failed, as they came in."""
        declared = self._context.input_columns
        rows = await self._threads.run(
            lambda: [row_at(batch, index, declared) for index, _ in piece.failures],
            self._context.stop,
            f"function {self._call.function}",
        )
        await self._gate.take(
            [
                bad_row(self._step_id, row, key=self._context.key_of(row), reason=reason)
                for row, (_, reason) in zip(rows, piece.failures, strict=True)
            ]
        )


def process_call(
    spec: CallSpec, context: StepContext, function: Function, *, connection: object, batch_rows: int
) -> ProcessCall:
    """Describe the call for a process. What comes back is converted there for the write that takes it all, if any."""
    target = context.consumer
    given = set(target.given) if target else set()
    return ProcessCall(
        function=function.name,
        shape=function.shape,
        arguments=function.arguments(spec.with_, connection=connection, as_of=context.plan.as_of),
        names=context.wanted if function.shape == "row" else None,
        columns=tuple(column for column in target.table.columns if column.name in given) if target else (),
        key=target.key if target else (),
        declared=context.input_columns,
        chunk_rows=batch_rows,
    )
