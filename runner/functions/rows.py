"""The loop over the rows of a batch: one function call a row, so that one bad row is one bad row."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from runner.errors import FunctionFailed
from runner.functions.collecting import ROW_ERRORS, Collector, Drained, Stopped
from runner.functions.function import Function
from runner.ports import Row, StopFlag

CHUNK_BYTES = 16_000_000
"""About how many bytes of outputs are collected before they go on."""

CHECKPOINT_EVERY = 100
"""Rows after which a coroutine that never waits gives the loop a turn."""


def drain_rows(
    function: Function,
    rows: Sequence[Row],
    arguments: Mapping[str, Any],
    *,
    stop: StopFlag,
    names: Sequence[str] | None = None,
    chunk_rows: int = 10_000,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[Drained]:
    """Call a plain row function for each row and yield its outputs in bounded pieces, in order.

    `names`: the columns that the consumer takes; outputs are then collected as column lists. Without, as rows.
    Nothing is yielded when there is neither output nor failure. Raises `FunctionFailed` for an error that is not
    about one row, and `Stopped` when the flag is raised, also between two outputs of a generator.
    """
    target = function.target
    collector = Collector(function.name, names, chunk_rows, chunk_bytes)
    values, extend, exact = collector.values, collector.values.extend, collector.exact
    pick, fit = collector.pick, collector.fit
    for index, row in enumerate(rows):
        if stop.stopped:
            raise Stopped
        collector.begin(index)
        try:
            result = target(row, **arguments)
            if result is None:
                continue
            for output in (result,) if type(result) is dict else result:
                if type(output) is dict and len(output) == exact:
                    try:
                        extend(pick(output))
                    except KeyError:
                        extend(fit(output))
                else:
                    extend(fit(output))
                if len(values) >= collector.due and collector.full():
                    yield collector.spill()
                if stop.stopped:
                    raise Stopped
        except ROW_ERRORS as error:
            collector.reject(error)
        except Stopped:
            raise
        except Exception as error:  # whatever else a project's function raises
            raise FunctionFailed(function.name, error) from error
    if collector.rest():
        yield collector.flush()


async def drain_rows_async(
    function: Function,
    rows: Sequence[Row],
    arguments: Mapping[str, Any],
    *,
    stop: StopFlag,
    names: Sequence[str] | None = None,
    chunk_rows: int = 10_000,
    chunk_bytes: int = CHUNK_BYTES,
) -> AsyncIterator[Drained]:
    """`drain_rows` for coroutine functions and async generators: one row after the other, on the event loop."""
    from anyio.lowlevel import checkpoint

    collector = Collector(function.name, names, chunk_rows, chunk_bytes)
    for index, row in enumerate(rows):
        if stop.stopped:
            raise Stopped
        if index % CHECKPOINT_EVERY == 0:
            await checkpoint()
        collector.begin(index)
        try:
            result = function.target(row, **arguments)
            if hasattr(result, "__aiter__"):
                async for output in result:
                    collector.add(output)
                    if len(collector.values) >= collector.due and collector.full():
                        yield collector.spill()
                    if stop.stopped:
                        raise Stopped
                continue
            result = await result
            if result is None:
                continue
            for output in (result,) if type(result) is dict else result:
                collector.add(output)
                if len(collector.values) >= collector.due and collector.full():
                    yield collector.spill()
        except ROW_ERRORS as error:
            collector.reject(error)
        except Stopped:
            raise
        except Exception as error:  # whatever else a project's function raises
            raise FunctionFailed(function.name, error) from error
    if collector.rest():
        yield collector.flush()
