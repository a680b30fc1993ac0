"""`op: call`: rows through a project function, in a worker thread, or on the event loop if it is a coroutine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from runner.functions import Drained, Function, call_batch, call_batch_async, drain_rows, drain_rows_async
from runner.ports import BadRow, Batch, FunctionThreads, Row, StepContext, StepCounts
from runner.quarantine import BadRowGate, bad_row
from runner.specs import CallSpec
from runner.types.shapes import arrow_of, row_at, rows_of

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")


class CallStep:
    """Calls the function batch by batch. Bad rows fail the step or go to the quarantine, see `on_bad_row`."""

    def __init__(
        self,
        spec: CallSpec,
        context: StepContext,
        *,
        function: Function,
        threads: FunctionThreads,
        connection: object,
        batch_rows: int,
    ) -> None:
        self.counts = StepCounts()
        self._function = function
        self._arguments = function.arguments(spec.with_, connection=connection, as_of=context.plan.as_of)
        self._drain_options: dict[str, Any] = {
            "stop": context.stop,
            "names": context.wanted,
            "chunk_rows": batch_rows,
        }
        self._context = context
        self._threads = threads
        self._step_id = spec.step_id
        self._gate = BadRowGate(spec.step_id, spec.on_bad_row, spec.max_bad_rows, context.writer)

    async def flow(self, batch: Batch) -> AsyncGenerator[Batch, None]:
        """Yield what the function makes of one batch, in pieces of bounded size.

        Raises `FunctionFailed`, `BadRows`, and `UncleanCancel` when the function does not stop.
        """
        self.counts.batches += 1
        self.counts.rows_in += batch.length
        if self._function.shape == "batch":
            result = await self._call_batch(batch)
            self.counts.rows_out += result.num_rows
            yield Batch(result.num_rows, arrow=result)
            return
        async with aclosing(self._drained(batch)) as pieces:
            async for drained in pieces:
                await self._refuse(batch, drained)
                if drained.length:
                    self.counts.rows_out += drained.length
                    yield Batch(drained.length, rows=drained.rows, columns=drained.columns)

    async def _drained(self, batch: Batch) -> AsyncGenerator[Drained, None]:
        """Yield what the function makes of the batch's rows, piece by piece.

        Each piece of a plain function is one trip to a thread, and the first one includes making the rows.
        """
        if self._function.is_async:
            rows = await self._in_thread(partial(rows_of, batch, self._context.input_columns))
            async with aclosing(
                drain_rows_async(self._function, rows, self._arguments, **self._drain_options)
            ) as drained:
                async for piece in drained:
                    yield piece
            return
        pieces = self._pieces(batch)
        while (found := await self._in_thread(lambda: next(pieces, None))) is not None:
            yield found

    def _pieces(self, batch: Batch) -> Iterator[Drained]:
        yield from drain_rows(
            self._function,
            rows_of(batch, self._context.input_columns),
            self._arguments,
            **self._drain_options,
        )

    async def _call_batch(self, batch: Batch) -> pa.RecordBatch:
        arrow = await self._in_thread(partial(arrow_of, batch))
        if self._function.is_async:
            return await call_batch_async(self._function, arrow, self._arguments)
        return await self._in_thread(partial(call_batch, self._function, arrow, self._arguments))

    async def _refuse(self, batch: Batch, drained: Drained) -> None:
        """Hand on the rows that failed, as they came in: the function may have changed the ones it got."""
        if drained.failures:
            failures = drained.failures
            await self._gate.take(
                [
                    self._bad_row(row_at(batch, bad.index, self._context.input_columns), bad.reason)
                    for bad in failures
                ]
            )

    def _bad_row(self, row: Row, reason: str) -> BadRow:
        return bad_row(self._step_id, row, key=self._context.key_of(row), reason=reason)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work for this step in a thread that stops with it."""
        return await self._threads.run(work, self._context.stop, f"function {self._function.name}")
