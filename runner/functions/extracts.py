"""Extract functions: rows or record batches from outside, packed into bounded pieces as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from runner.errors import FunctionFailed
from runner.functions.collecting import Collector, Stopped
from runner.functions.function import Function
from runner.functions.rows import CHUNK_BYTES
from runner.ports import Row, StopFlag

if TYPE_CHECKING:
    import pyarrow as pa


def chunks(
    function: Function,
    arguments: Mapping[str, Any],
    *,
    stop: StopFlag,
    chunk_rows: int = 10_000,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[list[Row] | pa.RecordBatch]:
    """Call a plain extract function and yield what it yields: rows in lists, record batches as they are.

    Raises `FunctionFailed` for whatever it raises, or yields besides rows and record batches; `Stopped` when the
    flag is raised.
    """
    collector = Collector(function.name, None, chunk_rows, chunk_bytes)
    try:
        for item in function.target(**arguments) or ():
            if stop.stopped:
                raise Stopped
            if type(item).__name__ == "RecordBatch":
                if collector.rest():
                    yield collector.flush().rows or []
                yield item
                continue
            collector.add(item)
            if len(collector.values) >= collector.due and collector.full():
                yield collector.flush().rows or []
    except Stopped:
        raise
    except Exception as error:
        raise FunctionFailed(function.name, error) from error
    if collector.rest():
        yield collector.flush().rows or []


async def chunks_async(
    function: Function,
    arguments: Mapping[str, Any],
    *,
    stop: StopFlag,
    chunk_rows: int = 10_000,
    chunk_bytes: int = CHUNK_BYTES,
) -> AsyncIterator[list[Row] | pa.RecordBatch]:
    """`chunks` for async generators, and for coroutine functions that return rows."""
    collector = Collector(function.name, None, chunk_rows, chunk_bytes)
    try:
        async for item in _items(function.target(**arguments)):
            if stop.stopped:
                raise Stopped
            if type(item).__name__ == "RecordBatch":
                if collector.rest():
                    yield collector.flush().rows or []
                yield item
                continue
            collector.add(item)
            if len(collector.values) >= collector.due and collector.full():
                yield collector.flush().rows or []
    except Stopped:
        raise
    except Exception as error:
        raise FunctionFailed(function.name, error) from error
    if collector.rest():
        yield collector.flush().rows or []


async def _items(source: Any) -> AsyncIterator[Any]:
    if not hasattr(source, "__aiter__"):
        source = await source
    if hasattr(source, "__aiter__"):
        async for item in source:
            yield item
    else:
        for item in source or ():
            yield item
