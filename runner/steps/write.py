"""`op: write`: rows become Arrow of the declared table, strictly, and are staged for the job's landing."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial

from runner.ports import BadRow, Batch, FunctionThreads, StepContext, StepCounts
from runner.quarantine import BadRowGate, bad_row
from runner.specs import WriteSpec
from runner.sql import DIALECTS
from runner.types import BadCell, RowEncoder


class WriteStep:
    """Stages rows; the executor lands them. A row that does not fit its table is a bad row, see `on_bad_row`."""

    def __init__(self, spec: WriteSpec, context: StepContext, *, threads: FunctionThreads) -> None:
        if context.writer is None or context.target is None:
            raise ValueError(f"write {spec.step_id} has no landing to stage for")
        table = context.plan.tables[spec.ref]
        self._unfit_texts = DIALECTS[context.warehouse.engine].unfit_texts
        stamped = {*spec.set_on_insert, *spec.set_on_write}
        self._encoder = RowEncoder(
            [column for column in table.columns if column.name not in stamped],
            key=spec.key or table.key,
            unfit_texts=self._unfit_texts,
        )
        self._context = context
        self._threads = threads
        self._step_id = spec.step_id
        self._gate = BadRowGate(spec.step_id, spec.on_bad_row, spec.max_bad_rows, context.writer)
        self._target = context.target
        self._writer = context.writer
        self.counts = StepCounts(rows_written=0)

    async def flow(self, batch: Batch) -> AsyncGenerator[Batch, None]:
        """Stage one batch; yields nothing. Raises `BadRows`, `SchemaMismatch` and what the warehouse raises."""
        counts = self.counts
        counts.batches += 1
        counts.rows_in += batch.length
        if batch.checked and batch.arrow is not None and not self._unfit_texts:
            await self._writer.stage(self._target, batch.arrow)
            return
        encoded = await self._threads.run(
            partial(self._encoder.encode, batch), self._context.stop, f"write {self._step_id}"
        )
        if encoded.bad:
            await self._gate.take([self._bad_row(cell) for cell in encoded.bad])
        if encoded.batch.num_rows:
            await self._writer.stage(self._target, encoded.batch)
        return
        yield  # a flow that yields nothing

    def _bad_row(self, cell: BadCell) -> BadRow:
        key = self._context.key_of(cell.row) or cell.key or None
        return bad_row(self._step_id, cell.row, key=key, column=cell.column, reason=cell.reason)
