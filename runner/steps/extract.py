"""`op: extract`: rows from outside, from a project function."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from runner.errors import FunctionFailed
from runner.functions import Function, chunks, chunks_async
from runner.ports import Batch, FunctionThreads, IncrementalRead, Row, StepContext, StepCounts
from runner.specs import ColumnSpec, ExtractSpec, Identify
from runner.types import Encoded, RowEncoder

if TYPE_CHECKING:
    import pyarrow as pa


class ExtractStep:
    """Pulls the function's rows in bounded chunks, completes them, and drops those the target already has.

    A plain function or generator runs in a worker thread, a coroutine or async generator on the event loop.
    """

    def __init__(
        self,
        spec: ExtractSpec,
        context: StepContext,
        *,
        function: Function,
        threads: FunctionThreads,
        connection: object,
        batch_rows: int,
    ) -> None:
        self._spec = spec
        self._context = context
        self._function = function
        self._threads = threads
        self._connection = connection
        self._batch_rows = batch_rows
        self.counts = StepCounts(rows_read=0)

    async def flow(self, batch: Batch) -> AsyncGenerator[Batch, None]:
        """Yield what is new, in batches. Raises `FunctionFailed` and `WarehouseError`."""
        del batch
        arguments = self._function.arguments(
            self._spec.with_,
            connection=self._connection,
            since=await self._since(),
            as_of=self._context.plan.as_of,
            stop=self._context.stop,
        )
        async with aclosing(self._chunks(arguments)) as found:
            async for chunk in found:
                if (given := await self._new(chunk)) is not None:
                    yield given

    async def _chunks(self, arguments: Mapping[str, Any]) -> AsyncGenerator[list[Row] | pa.RecordBatch, None]:
        """Yield what the function gives; each chunk of a plain one is a trip to a thread."""
        stop = self._context.stop
        if self._function.is_async:
            async with aclosing(
                chunks_async(self._function, arguments, stop=stop, chunk_rows=self._batch_rows)
            ) as found:
                async for chunk in found:
                    yield chunk
            return
        pieces = chunks(self._function, arguments, stop=stop, chunk_rows=self._batch_rows)
        subject = f"function {self._function.name}"
        while (piece := await self._threads.run(lambda: next(pieces, None), stop, subject)) is not None:
            yield piece

    async def _since(self) -> object:
        """Ask for the cursor's greatest value, or values."""
        cursor, context = self._spec.cursor, self._context
        if cursor is None:
            return None
        table = context.plan.tables[cursor.ref]
        if cursor.by:
            return await context.warehouse.greatest_by(table, cursor.column, cursor.by, cursor.filters)
        return await context.warehouse.greatest(table, cursor.column, cursor.filters)

    async def _new(self, chunk: list[Row] | pa.RecordBatch) -> Batch | None:
        """Complete a chunk, keep what is new, and count it; None when nothing is."""
        read = self._context.incremental
        if not isinstance(chunk, list):
            self._refuse_completion()
            if read is not None:
                chunk = await self._without_known_of(chunk, read)
            given = Batch(chunk.num_rows, arrow=chunk)
        else:
            rows = [self._completed(row) for row in chunk]
            if read is not None:
                rows = await self._without_known(rows, read)
            given = Batch(len(rows), rows=rows)
        if not given.length:
            return None
        self.counts.batches += 1
        self.counts.rows_out += given.length
        self.counts.rows_read = (self.counts.rows_read or 0) + given.length
        return given

    def _completed(self, row: Row) -> Row:
        for name, value in self._spec.defaults.items():
            row.setdefault(name, value)
        if self._spec.identify is not None:
            row[self._spec.identify.column] = self._identity(row, self._spec.identify)
        return row

    def _identity(self, row: Row, identify: Identify) -> str:
        missing = [name for name in identify.from_ if row.get(name) is None]
        if missing:
            problem = ValueError(f"identify needs {', '.join(missing)}, which a row lacks: {str(row)[:200]}")
            raise FunctionFailed(self._function.name, problem)
        text = ":".join(str(row[name]) for name in identify.from_)
        return f"{text}#{identify.suffix}" if identify.suffix else text

    def _refuse_completion(self) -> None:
        """Refuse a record batch where rows would have to be completed, rather than let it pass as it is."""
        asked = [name for name in ("identify", "defaults") if getattr(self._spec, name)]
        if asked:
            problem = TypeError(f"gave a record batch; {' and '.join(asked)} of the step need rows (dict)")
            raise FunctionFailed(self._function.name, problem)

    async def _without_known(self, rows: list[Row], read: IncrementalRead) -> list[Row]:
        """Return the rows whose key the target lacks."""
        names = read.spec.source_key
        keys = _key_encoder(read).encode_rows([{name: row.get(name) for name in names} for row in rows])
        missing = await self._missing(keys, read)
        return [row for row, new in zip(rows, missing, strict=True) if new]

    async def _without_known_of(self, batch: pa.RecordBatch, read: IncrementalRead) -> pa.RecordBatch:
        """Return the part of a record batch whose keys the target lacks."""
        import pyarrow as pa

        lacking = [name for name in read.spec.source_key if name not in batch.schema.names]
        if lacking:
            problem = ValueError(f"a record batch lacks the key column {', '.join(lacking)}")
            raise FunctionFailed(self._function.name, problem)
        keys = _key_encoder(read).encode_arrow(batch.select(list(read.spec.source_key)))
        return batch.filter(pa.array(await self._missing(keys, read), pa.bool_()))

    async def _missing(self, keys: Encoded, read: IncrementalRead) -> list[bool]:
        """Ask which keys the target lacks, and tell the landing which those are."""
        context = self._context
        if keys.bad:
            bad = keys.bad[0]
            problem = ValueError(f"key column {bad.column}: {bad.reason}")
            raise FunctionFailed(self._function.name, problem)
        missing = await context.warehouse.missing_keys(read, keys.batch)
        if context.writer is not None and context.tracked is not None and any(missing):
            import pyarrow as pa

            await context.writer.stage_keys(context.tracked, keys.batch.filter(pa.array(missing)))
        return missing


def _key_encoder(read: IncrementalRead) -> RowEncoder:
    """Return what types an extract's keys: source columns, with the types of the target columns they stand for."""
    pairs = zip(read.spec.source_key, read.spec.target_key, strict=True)
    return RowEncoder([ColumnSpec(name=source, type=read.target.column(key).type) for source, key in pairs])
