"""The loop over the rows of a batch: one function call a row, so that one bad row is one bad row."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from itertools import islice
from typing import TYPE_CHECKING, Any

from runner.errors import FunctionFailed
from runner.functions.collecting import (
    FAILURES,
    ROW_ERRORS,
    Collector,
    Drained,
    Stopped,
    outputs_of,
)
from runner.functions.function import Function

if TYPE_CHECKING:
    from runner.ports import Row, StopFlag

CHUNK_ROWS = 10_000
"""How many outputs go on together, at most."""

CHUNK_BYTES = 16_000_000
"""About how many bytes of outputs go on together, at most (one larger output goes alone)."""

CHECKPOINT_EVERY = 50
"""Rows after which coroutines that never wait give the event loop a turn."""


def drain_rows(
    function: Function,
    rows: Sequence[Row],
    arguments: Mapping[str, Any],
    *,
    stop: StopFlag,
    names: Sequence[str] | None = None,
    chunk_rows: int = CHUNK_ROWS,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[Drained]:
    """Call a plain row function for each row and yield its outputs in order, in bounded pieces.

    `names`: the columns that the consumer takes; outputs are then collected as column lists, what they lack
    as None. Without names: as rows. Nothing is yielded when there is neither output nor failure.

    Raises `FunctionFailed` for an error that is not about one row, and `Stopped` as soon as the flag is
    raised, also between two outputs of a generator.
    """
    target = function.target
    collector = Collector(function.name, names, chunk_rows, chunk_bytes, stop)
    values, add = collector.values, collector.add
    left = collector.patience
    for index, row in enumerate(rows):
        mark = len(values)
        try:
            collector.check_stop()
            result = target(row, **arguments)
            if type(result) is dict:
                result = [result]
            if type(result) is list:
                left -= add(result)
            else:
                outputs = iter(outputs_of(result))
                while (added := add(islice(outputs, left))) == left:
                    if collector.full():
                        yield collector.spill(index, mark)
                        mark = 0
                    left = collector.patience
                left -= added
        except ROW_ERRORS as error:
            collector.reject(index, mark, error)
        except Stopped:
            raise
        except FAILURES as error:
            raise FunctionFailed(function.name, error) from error
        if left <= 0:
            if collector.full():
                yield from collector.ready()
            left = collector.patience
    if collector:
        yield collector.rest()


async def drain_rows_async(
    function: Function,
    rows: Sequence[Row],
    arguments: Mapping[str, Any],
    *,
    stop: StopFlag,
    names: Sequence[str] | None = None,
    chunk_rows: int = CHUNK_ROWS,
    chunk_bytes: int = CHUNK_BYTES,
) -> AsyncGenerator[Drained, None]:
    """Do as `drain_rows` for coroutine functions and async generators: row after row, on the event loop."""
    from anyio.lowlevel import checkpoint

    collector = Collector(function.name, names, chunk_rows, chunk_bytes, stop)
    left = collector.patience
    for index, row in enumerate(rows):
        if index % CHECKPOINT_EVERY == 0:
            await checkpoint()
        mark = len(collector.values)
        try:
            collector.check_stop()
            async with aclosing(outputs_of_async(function.target(row, **arguments))) as outputs:
                async for output in outputs:
                    left -= collector.add((output,))
                    if left <= 0:
                        if collector.full():
                            yield collector.spill(index, mark)
                            mark = 0
                        left = collector.patience
        except ROW_ERRORS as error:
            collector.reject(index, mark, error)
        except Stopped:
            raise
        except FAILURES as error:
            raise FunctionFailed(function.name, error) from error
    if collector:
        yield collector.rest()


async def outputs_of_async(result: Any, single: type | tuple[type, ...] = dict) -> AsyncGenerator[Any, None]:
    """Yield the outputs of an async generator, or those in what a coroutine returns (see `outputs_of`)."""
    if not hasattr(result, "__aiter__"):
        result = await result
    if not hasattr(result, "__aiter__"):
        for output in outputs_of(result, single):
            yield output
        return
    try:
        async for output in result:
            yield output
    finally:
        if isinstance(result, AsyncGenerator):
            await result.aclose()
