"""`op: read`: rows of a warehouse table, perhaps only the new ones, streamed."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from runner.ports import Batch, IncrementalRead, ReadQuery, StepContext, StepCounts
from runner.specs import ReadSpec, RunPlan


def read_query(
    spec: ReadSpec, plan: RunPlan, incremental: IncrementalRead | None, *, batch_rows: int = 10_000
) -> ReadQuery:
    """Turn a declared read into the query that a warehouse understands.

    Without `columns` all declared ones are read. The columns of an incremental read's key are always among them:
    the landing needs them to tell which rows gave something, the quarantine to name a bad row.
    """
    table = plan.tables[spec.ref]
    columns = spec.columns or table.column_names
    if incremental:
        stamps = (incremental.spec.source_ts,) if incremental.spec.source_ts else ()
        missing = (name for name in (*incremental.spec.source_key, *stamps) if name not in columns)
        columns = (*columns, *dict.fromkeys(missing))
    return ReadQuery(
        source=table,
        columns=columns,
        filters=spec.filters,
        incremental=incremental,
        order_by=spec.order_by,
        limit=spec.limit,
        batch_rows=batch_rows,
    )


class ReadStep:
    """Streams the query's batches and tells the landing which keys were read."""

    def __init__(self, spec: ReadSpec, context: StepContext, *, batch_rows: int) -> None:
        self._query = read_query(spec, context.plan, context.incremental, batch_rows=batch_rows)
        self._context = context
        self.counts = StepCounts(rows_read=0)

    async def flow(self, batch: Batch) -> AsyncGenerator[Batch, None]:
        """Yield the table's rows as Arrow batches. Raises `WarehouseError` and `TimeLimitExceeded`."""
        del batch
        context, counts = self._context, self.counts
        keys = self._key_columns()
        async with context.warehouse.read(self._query) as batches:
            async for arrow in batches:
                if context.writer is not None and context.tracked is not None:
                    await context.writer.stage_keys(context.tracked, arrow.select(keys))
                counts.batches += 1
                counts.rows_out += arrow.num_rows
                counts.rows_read = (counts.rows_read or 0) + arrow.num_rows
                yield Batch(arrow.num_rows, arrow=arrow)

    def _key_columns(self) -> list[str]:
        if self._context.incremental is None:
            return []
        spec = self._context.incremental.spec
        return [*spec.source_key, *([spec.source_ts] if spec.source_ts else [])]
