"""Batch functions and plain extracts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from runner.errors import FunctionFailed
from runner.functions import Function, Stopped, call_batch, chunks
from runner.ports import Row, StopFlag

BATCH = pa.record_batch([pa.array([1, 2])], names=["id"])


def test_a_batch_function_is_called_once_with_its_arguments() -> None:
    calls = []

    def tail(batch: pa.RecordBatch, *, rows: int) -> pa.RecordBatch:
        calls.append(batch)
        return batch.slice(batch.num_rows - rows)

    assert call_batch(Function.of("f", tail), BATCH, {"rows": 1}).to_pylist() == [{"id": 2}]
    assert calls == [BATCH]


@pytest.mark.parametrize(
    "given", [None, [{"id": 1}], pa.table({"id": pa.array([1])})], ids=["None", "list", "Table"]
)
def test_what_is_no_record_batch_is_said_to_be_none(given: object) -> None:
    name = type(given).__name__
    with pytest.raises(
        FunctionFailed, match=f"jobs.test:f raised TypeError: returned {name}; expected a pyarrow.Rec"
    ):
        call_batch(Function.of("jobs.test:f", lambda batch: given), BATCH, {})


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("no"), SystemExit(1)])
def test_whatever_a_batch_function_raises_fails_its_step(error: BaseException) -> None:
    def fails(batch: pa.RecordBatch) -> pa.RecordBatch:
        raise error

    with pytest.raises(FunctionFailed) as failed:
        call_batch(Function.of("f", fails), BATCH, {})
    assert failed.value.error is error


def extract(target: Callable[..., Any], **options: Any) -> list[list[Row] | pa.RecordBatch]:
    """All pieces of a plain extract."""
    options.setdefault("stop", StopFlag())
    return list(chunks(Function.of("jobs.test:extract", target), options.pop("arguments", {}), **options))


def test_rows_are_packed_and_record_batches_pass_in_their_place() -> None:
    def mixed(*, start: int) -> Iterator[Any]:
        yield {"id": start}
        yield {"id": start + 1}
        yield BATCH
        yield BATCH
        yield {"id": start + 2}

    assert extract(mixed, arguments={"start": 7}) == [[{"id": 7}, {"id": 8}], BATCH, BATCH, [{"id": 9}]]


def test_rows_are_bounded_by_number_and_by_bytes() -> None:
    rows = [{"id": number} for number in range(25)]
    assert extract(lambda: rows, chunk_rows=10) == [rows[:10], rows[10:20], rows[20:]]
    large = [{"content": b"x" * 100_000} for _ in range(30)]
    pieces = extract(lambda: iter(large), chunk_bytes=1_000_000)
    assert max(len(piece) for piece in pieces) <= 11
    assert [row for piece in pieces for row in piece] == large


@pytest.mark.parametrize("given", [None, [], (), iter(())], ids=["None", "list", "tuple", "iterator"])
def test_no_rows_are_no_pieces(given: object) -> None:
    assert extract(lambda: given) == []


def test_one_row_and_one_record_batch_are_enough() -> None:
    assert extract(lambda: {"id": 1}) == [[{"id": 1}]]
    assert extract(lambda: BATCH) == [BATCH]


def test_a_dictionary_yielded_twice_is_two_rows() -> None:
    def reused() -> Iterator[Row]:
        row: Row = {}
        for number in (1, 2):
            row["id"] = number
            yield row

    assert extract(reused) == [[{"id": 1}, {"id": 2}]]


@pytest.mark.parametrize("given", ["text", 5, ["a"], [{"id": 1}, 7], pa.table({"id": pa.array([1])})])
def test_what_is_no_row_fails_the_extract(given: object) -> None:
    with pytest.raises(
        FunctionFailed, match=r"jobs.test:extract raised TypeError: gave \w+ .*; expected a row"
    ):
        extract(lambda: given)


def test_an_extract_that_raises_is_named_and_its_rows_do_not_go_on() -> None:
    def fails() -> Iterator[Row]:
        yield {"id": 1}
        raise ValueError("page 2 is torn")

    with pytest.raises(FunctionFailed, match=r"jobs\.test:extract raised ValueError: page 2 is torn"):
        extract(fails)


def test_a_stopped_extract_ends_at_its_next_row() -> None:
    stop, seen = StopFlag(), []

    def endless() -> Iterator[Row]:
        while True:
            seen.append(1)
            stop.stopped = len(seen) == 5
            yield {"id": len(seen)}

    with pytest.raises(Stopped):
        extract(endless, stop=stop)
    assert len(seen) == 5
    with pytest.raises(Stopped):
        extract(lambda: pytest.fail("called"), stop=stop)
