"""Extract functions: rows or record batches from outside, packed into bounded pieces as they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from runner.errors import FunctionFailed, RunPipelineError
from runner.functions.collecting import FAILURES, Collector, Stopped, outputs_of
from runner.functions.function import Function
from runner.functions.rows import CHUNK_BYTES, CHUNK_ROWS, outputs_of_async

if TYPE_CHECKING:
    import pyarrow as pa

    from runner.ports import Row, StopFlag


def chunks(
    function: Function,
    arguments: Mapping[str, Any],
    *,
    stop: StopFlag,
    chunk_rows: int = CHUNK_ROWS,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[list[Row] | pa.RecordBatch]:
    """Call a plain extract function and yield what it gives: rows in bounded lists, record batches unchanged.

    Raises `FunctionFailed` for whatever it raises, or gives besides rows and record batches, and `Stopped` as
    soon as the flag is raised. Errors of the engine's own tree, such as `SourceUnavailable`, pass as they are.
    """
    packer = _Packer(function, chunk_rows, chunk_bytes, stop)
    try:
        packer.check_stop()
        for item in outputs_of(function.target(**arguments), packer.single):
            yield from packer.pack(item)
            packer.check_stop()
        yield from packer.rest()
    except (Stopped, RunPipelineError):
        raise
    except FAILURES as error:
        raise FunctionFailed(function.name, error) from error


async def chunks_async(
    function: Function,
    arguments: Mapping[str, Any],
    *,
    stop: StopFlag,
    chunk_rows: int = CHUNK_ROWS,
    chunk_bytes: int = CHUNK_BYTES,
) -> AsyncGenerator[list[Row] | pa.RecordBatch, None]:
    """Do as `chunks` for async generators, and for coroutine functions that return rows."""
    packer = _Packer(function, chunk_rows, chunk_bytes, stop)
    try:
        packer.check_stop()
        async with aclosing(outputs_of_async(function.target(**arguments), packer.single)) as items:
            async for item in items:
                for piece in packer.pack(item):
                    yield piece
                packer.check_stop()
        for piece in packer.rest():
            yield piece
    except (Stopped, RunPipelineError):
        raise
    except FAILURES as error:
        raise FunctionFailed(function.name, error) from error


class _Packer:
    """Collects rows into lists; a record batch goes alone, after the rows before it."""

    def __init__(self, function: Function, chunk_rows: int, chunk_bytes: int, stop: StopFlag) -> None:
        import pyarrow as pa

        self._record_batch = pa.RecordBatch
        self.single = (dict, pa.RecordBatch)
        self._collector = Collector(function.name, None, chunk_rows, chunk_bytes, stop)
        self._left = self._collector.patience
        self.check_stop = self._collector.check_stop

    def pack(self, item: Any) -> Sequence[list[Row] | pa.RecordBatch]:
        """Take one item and return what is now ready to go on."""
        collector = self._collector
        if isinstance(item, self._record_batch):
            return [*self.rest(), item]
        self._left -= collector.add((item,))
        if self._left > 0:
            return ()
        full = collector.full()
        self._left = collector.patience
        return self.rest() if full else ()

    def rest(self) -> Sequence[list[Row]]:
        """Return the rows that are still here, if any."""
        return [self._collector.rest().rows or []] if self._collector else ()
