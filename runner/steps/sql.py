"""`op: sql`: a statement of the project's own. A query's rows go on; a change of tables waits for the landing."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from runner.ports import Batch, StepContext, StepCounts
from runner.specs import SqlSpec


class SqlStep:
    """Streams the rows of a query. Of a statement with `writes` there is nothing to do before the job lands."""

    def __init__(self, spec: SqlSpec, context: StepContext, *, batch_rows: int) -> None:
        if context.statement is None:
            raise ValueError(f"sql {spec.step_id} has no statement")
        self._statement = context.statement
        self._lands = bool(spec.writes)
        self._warehouse = context.warehouse
        self._batch_rows = batch_rows
        self.counts = StepCounts(rows_read=None if self._lands else 0)

    async def flow(self, batch: Batch) -> AsyncGenerator[Batch, None]:
        """Yield the query's rows as Arrow batches, typed by the engine. Raises `WarehouseError` and
        `TimeLimitExceeded`.
        """
        del batch
        if self._lands:
            return
        counts = self.counts
        async with self._warehouse.query(self._statement, batch_rows=self._batch_rows) as batches:
            async for arrow in batches:
                counts.batches += 1
                counts.rows_out += arrow.num_rows
                counts.rows_read = (counts.rows_read or 0) + arrow.num_rows
                yield Batch(arrow.num_rows, arrow=arrow)
