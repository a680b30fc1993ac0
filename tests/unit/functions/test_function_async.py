"""Coroutines and async generators: the same rules as for plain functions, on both event loops."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import pyarrow as pa
import pytest

from runner.errors import FunctionFailed
from runner.functions import Drained, Function, Stopped, call_batch_async, chunks_async, drain_rows_async
from runner.ports import Row, StopFlag

T = TypeVar("T")
BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def run(backend: str, main: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine function on an event loop."""
    return anyio.run(main, backend=backend)


def drain(backend: str, target: Callable[..., Any], rows: list[Row], **options: Any) -> list[Drained]:
    """All pieces that a coroutine function's outputs come in."""
    options.setdefault("stop", StopFlag())

    async def main() -> list[Drained]:
        pieces = drain_rows_async(Function.of("jobs.test:target", target), rows, {}, **options)
        async with aclosing(pieces):
            return [piece async for piece in pieces]

    return run(backend, main)


def ids(count: int) -> list[Row]:
    """Rows 0, 1, 2, …"""
    return [{"id": number} for number in range(count)]


async def one(row: Row) -> Row:
    """The row itself, after a turn of the loop."""
    await anyio.lowlevel.checkpoint()
    return row


async def two(row: Row) -> list[Row]:
    """Two outputs in a list."""
    return [row, row]


async def two_lazily(row: Row) -> AsyncIterator[Row]:
    """Two outputs, one after the other."""
    yield row
    await anyio.lowlevel.checkpoint()
    yield row


@BACKENDS
def test_coroutines_are_awaited_in_order(backend: str) -> None:
    (drained,) = drain(backend, one, ids(3), names=["id"])
    assert drained.columns == {"id": [0, 1, 2]}
    for target in (two, two_lazily):
        (drained,) = drain(backend, target, ids(2))
        assert drained.rows == [{"id": 0}, {"id": 0}, {"id": 1}, {"id": 1}]


@BACKENDS
def test_pieces_are_bounded(backend: str) -> None:
    async def many(row: Row) -> AsyncIterator[Row]:
        for number in range(25):
            yield {"id": number}

    pieces = drain(backend, many, ids(2), names=["id"], chunk_rows=10)
    assert all(piece.length <= 10 for piece in pieces)
    assert [value for piece in pieces for value in (piece.columns or {})["id"]] == [*range(25)] * 2


@BACKENDS
def test_a_bad_row_is_one_bad_row(backend: str) -> None:
    async def fails(row: Row) -> AsyncIterator[Row]:
        yield row
        if row["id"] == 1:
            raise ValueError("no")

    (drained,) = drain(backend, fails, ids(3), names=["id"])
    assert drained.columns == {"id": [0, 2]}
    assert [failure.index for failure in drained.failures] == [1]


@BACKENDS
def test_other_errors_fail_the_step(backend: str) -> None:
    async def fails(row: Row) -> Row:
        raise ConnectionError("gone")

    with pytest.raises(FunctionFailed, match="ConnectionError: gone"):
        drain(backend, fails, ids(1))


@BACKENDS
def test_the_stop_flag_ends_and_closes_an_async_generator(backend: str) -> None:
    stop, seen = StopFlag(), []

    async def watched(row: Row) -> AsyncIterator[Row]:
        try:
            for number in range(10):
                seen.append(number)
                stop.stopped = number == 2
                yield {"id": number}
        finally:
            seen.append(-1)

    with pytest.raises(Stopped):
        drain(backend, watched, ids(2), stop=stop)
    assert seen == [0, 1, 2, -1]


@BACKENDS
def test_a_coroutine_that_never_waits_can_still_be_cancelled(backend: str) -> None:
    async def busy(row: Row) -> Row:
        return row

    async def main() -> int:
        counted = 0
        with anyio.move_on_after(0):
            async with aclosing(
                drain_rows_async(Function.of("f", busy), ids(1000), {}, stop=StopFlag(), chunk_rows=1)
            ) as pieces:
                async for _ in pieces:
                    counted += 1
        return counted

    assert run(backend, main) < 1000


@BACKENDS
def test_an_async_batch_function_returns_a_record_batch(backend: str) -> None:
    batch = pa.record_batch([pa.array([1, 2])], names=["v"])

    async def sliced(batch: pa.RecordBatch, *, rows: int) -> pa.RecordBatch:
        return batch.slice(0, rows)

    async def main() -> pa.RecordBatch:
        return await call_batch_async(Function.of("f", sliced), batch, {"rows": 1})

    assert run(backend, main).to_pylist() == [{"v": 1}]


@BACKENDS
def test_an_async_batch_function_that_raises_fails_its_step(backend: str) -> None:
    async def fails(batch: pa.RecordBatch) -> pa.RecordBatch:
        raise ValueError("no")

    async def main() -> None:
        await call_batch_async(Function.of("jobs.test:fails", fails), None, {})

    with pytest.raises(FunctionFailed, match=r"jobs\.test:fails raised ValueError: no"):
        run(backend, main)


async def pages() -> AsyncIterator[Any]:
    """Rows, a record batch between them."""
    yield {"id": 1}
    yield {"id": 2}
    yield pa.record_batch([pa.array([3])], names=["id"])
    yield {"id": 4}


async def listed() -> list[Row]:
    """Rows in a list."""
    return ids(3)


async def batch_alone() -> pa.RecordBatch:
    """One record batch."""
    return pa.record_batch([pa.array([3])], names=["id"])


async def nothing() -> None:
    """No rows."""


@BACKENDS
def test_async_extracts_are_packed(backend: str) -> None:
    async def all_of(target: Callable[..., Any], **options: Any) -> list[Any]:
        pieces = chunks_async(Function.of("f", target), {}, stop=StopFlag(), **options)
        async with aclosing(pieces):
            return [piece if isinstance(piece, list) else piece.to_pylist() async for piece in pieces]

    async def main() -> None:
        assert await all_of(pages) == [[{"id": 1}, {"id": 2}], [{"id": 3}], [{"id": 4}]]
        assert await all_of(listed, chunk_rows=2) == [ids(2), [{"id": 2}]]
        assert await all_of(batch_alone) == [[{"id": 3}]]
        assert await all_of(nothing) == []

    run(backend, main)


@BACKENDS
def test_an_async_extract_stops(backend: str) -> None:
    stop, seen = StopFlag(), []

    async def endless() -> AsyncIterator[Row]:
        while True:
            seen.append(1)
            stop.stopped = len(seen) == 5
            yield {"id": len(seen)}

    async def main() -> None:
        async with aclosing(chunks_async(Function.of("f", endless), {}, stop=stop)) as pieces:
            async for _ in pieces:
                pytest.fail("a piece of a stopped extract")

    with pytest.raises(Stopped):
        run(backend, main)
    assert len(seen) == 5


@BACKENDS
def test_an_async_extract_that_raises_is_named(backend: str) -> None:
    async def fails() -> AsyncIterator[Row]:
        yield {"id": 1}
        raise TimeoutError("the server sleeps")

    async def main() -> None:
        async with aclosing(
            chunks_async(Function.of("jobs.test:fails", fails), {}, stop=StopFlag())
        ) as pieces:
            async for _ in pieces:
                pass

    with pytest.raises(FunctionFailed, match=r"jobs\.test:fails raised TimeoutError: the server sleeps"):
        run(backend, main)
