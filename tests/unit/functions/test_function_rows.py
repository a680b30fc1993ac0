"""The loop over rows: outputs, bad rows, failures, bounds, and stopping."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runner.errors import FunctionFailed, category_of
from runner.functions import Drained, Function, Stopped, drain_rows
from runner.ports import Row, StopFlag

NAMES = ("id", "part")


def two(row: Row) -> list[Row]:
    """Two outputs for each row, in a list."""
    return [{"id": row["id"], "part": part} for part in (0, 1)]


def two_lazily(row: Row) -> Iterator[Row]:
    """The same, from a generator."""
    yield from two(row)


def two_reordered(row: Row) -> tuple[Row, ...]:
    """The same, in a tuple and with keys in another order."""
    return tuple({"part": part, "id": row["id"]} for part in (0, 1))


def drain(target: Callable[..., Any], rows: list[Row], **options: Any) -> list[Drained]:
    """All pieces that a function's outputs come in."""
    options.setdefault("stop", StopFlag())
    return list(
        drain_rows(Function.of("jobs.test:target", target), rows, options.pop("arguments", {}), **options)
    )


def ids(count: int) -> list[Row]:
    """Rows 0, 1, 2, …"""
    return [{"id": number} for number in range(count)]


@pytest.mark.parametrize("target", [two, two_lazily, two_reordered])
def test_outputs_become_columns_or_rows_in_order(target: Callable[..., Any]) -> None:
    (columns,) = drain(target, ids(3), names=NAMES)
    assert (columns.length, columns.rows, columns.failures) == (6, None, [])
    assert columns.columns == {"id": [0, 0, 1, 1, 2, 2], "part": [0, 1, 0, 1, 0, 1]}
    (rows,) = drain(target, ids(2))
    assert (rows.length, rows.columns) == (4, None)
    assert rows.rows == [{"id": number, "part": part} for number in (0, 1) for part in (0, 1)]


def test_a_single_row_and_none_are_one_output_and_no_output() -> None:
    def odd(row: Row) -> Row | None:
        return row if row["id"] % 2 else None

    (drained,) = drain(odd, ids(4), names=["id"])
    assert drained.columns == {"id": [1, 3]}


def test_arguments_are_passed_to_every_call() -> None:
    def scaled(row: Row, *, factor: int) -> Row:
        return {"id": row["id"] * factor}

    (drained,) = drain(scaled, ids(3), names=["id"], arguments={"factor": 10})
    assert drained.columns == {"id": [0, 10, 20]}


def test_nothing_is_yielded_when_there_is_nothing() -> None:
    assert drain(lambda row: None, ids(3)) == []
    assert drain(two, []) == []


def test_a_column_that_an_output_lacks_is_none() -> None:
    def sparse(row: Row) -> Row:
        return {"id": row["id"]} if row["id"] else {"part": 7}

    (drained,) = drain(sparse, ids(2), names=NAMES)
    assert drained.columns == {"id": [None, 1], "part": [7, None]}


def test_an_output_of_as_many_but_other_keys_is_not_taken_for_the_wanted_one() -> None:
    (drained,) = drain(lambda row: {"id": 1, "prat": 2}, ids(1), names=NAMES)
    assert drained.length == 0
    (failure,) = drained.failures
    assert (
        failure.reason == "ValueError: unknown column 'prat'; expected one of id, part, did you mean 'part'?"
    )


def test_a_dictionary_that_invents_missing_keys_does_not() -> None:
    from collections import defaultdict

    (drained,) = drain(lambda row: defaultdict(int, id=1, other=2), ids(1), names=NAMES)
    assert drained.length == 0
    assert "unknown column 'other'" in drained.failures[0].reason
    (drained,) = drain(lambda row: defaultdict(int, id=1), ids(1), names=NAMES)
    assert drained.columns == {"id": [1], "part": [None]}


@pytest.mark.parametrize(
    "error", [ValueError("no"), KeyError("name"), TypeError("no"), UnicodeDecodeError("a", b"", 0, 1, "no")]
)
@pytest.mark.parametrize("names", [None, NAMES])
def test_a_bad_row_gives_nothing_and_the_others_go_on(
    error: Exception, names: tuple[str, ...] | None
) -> None:
    def fails_late(row: Row) -> Iterator[Row]:
        yield {"id": row["id"], "part": 0}
        if row["id"] == 1:
            raise error
        yield {"id": row["id"], "part": 1}

    (drained,) = drain(fails_late, ids(3), names=names)
    assert drained.length == 4
    found = drained.columns["id"] if drained.columns else [row["id"] for row in drained.rows or []]
    assert found == [0, 0, 2, 2]
    (failure,) = drained.failures
    assert failure.index == 1
    assert failure.error is error


def test_a_validation_error_of_pydantic_is_about_the_row() -> None:
    from pydantic import BaseModel

    class Answer(BaseModel):
        id: int

    (drained,) = drain(lambda row: Answer(**row).model_dump(), [{"id": 1}, {"id": "x"}], names=["id"])
    assert drained.columns == {"id": [1]}
    assert drained.failures[0].reason.startswith(
        "ValidationError: 1 validation error for Answer id Input should be"
    )


def test_a_reason_names_the_missing_key_and_the_line() -> None:
    (drained,) = drain(lambda row: {"id": row["name"]}, ids(1))
    reason = drained.failures[0].reason
    assert reason.startswith(f"KeyError: missing key 'name' ({__file__}:")


def test_a_reason_is_one_short_line_of_text_that_can_be_stored() -> None:
    def fail(row: Row) -> Row:
        raise ValueError("first\nsecond \ud800" + "x" * 10_000)

    (drained,) = drain(fail, ids(1))
    reason = drained.failures[0].reason
    assert reason.startswith(r"ValueError: first second \ud800xxx")
    assert "\n" not in reason
    assert len(reason.encode()) < 1500


GIVEN = [
    ("text", "gave str 'text'; expected a row"),
    (b"x", "gave bytes"),
    (7, "gave int 7; expected a row"),
    (["a", "b"], "gave str 'a'; expected a row"),
    ([{"id": 1}, None], "gave NoneType None; expected a row"),
    ([[{"id": 1}]], "gave list"),
    ({1, 2}, "gave int"),
]


@pytest.mark.parametrize(
    ("given", "reason"), GIVEN, ids=[type(given).__name__ + reason[:9] for given, reason in GIVEN]
)
@pytest.mark.parametrize("names", [None, ["id"]])
def test_what_is_no_row_is_a_bad_row(given: object, reason: str, names: list[str] | None) -> None:
    (drained,) = drain(lambda row: given, ids(1), names=names)
    assert drained.length == 0
    assert drained.failures[0].reason.startswith(f"TypeError: {reason}")


def test_a_coroutine_from_a_plain_function_is_said_to_be_one() -> None:
    async def later(row: Row) -> Row:
        return row

    (drained,) = drain(lambda row: later(row), ids(1))
    assert "returned a coroutine" in drained.failures[0].reason


@pytest.mark.parametrize(
    "error", [RuntimeError("boom"), AttributeError("x"), IndexError(), StopIteration(), SystemExit(3)]
)
@pytest.mark.parametrize("lazily", [False, True])
def test_any_other_error_fails_the_step(error: BaseException, lazily: bool) -> None:
    def fail(row: Row) -> Row:
        raise error

    def fail_lazily(row: Row) -> Iterator[Row]:
        yield row
        raise error

    with pytest.raises(FunctionFailed) as failed:
        drain(fail_lazily if lazily else fail, ids(1))
    assert failed.value.function == "jobs.test:target"
    cause: BaseException | None = failed.value.error
    if lazily and isinstance(error, StopIteration):  # what Python itself makes of it, PEP 479
        assert isinstance(cause, RuntimeError)
        cause = cause.__cause__
    assert cause is error
    assert category_of(failed.value) == "function"
    if cause is failed.value.error:
        assert failed.value.location.startswith(__file__)


@pytest.mark.parametrize("target", [two, two_lazily])
@pytest.mark.parametrize("names", [None, NAMES])
def test_pieces_are_bounded_and_lose_nothing(
    target: Callable[..., Any], names: tuple[str, ...] | None
) -> None:
    pieces = drain(target, ids(50), names=names, chunk_rows=7)
    assert all(0 < piece.length <= 7 for piece in pieces)
    assert len(pieces) <= 100 / 6 + 1
    if names:
        found = [value for piece in pieces for value in (piece.columns or {})["id"]]
    else:
        found = [row["id"] for piece in pieces for row in piece.rows or []]
    assert found == [number for number in range(50) for _ in (0, 1)]


def test_outputs_of_one_row_stay_together_where_they_can() -> None:
    pieces = drain(two_lazily, ids(5), names=NAMES, chunk_rows=3)
    assert [(piece.columns or {})["part"] for piece in pieces] == [[0, 1]] * 5


def test_one_row_with_a_great_many_outputs_stays_bounded() -> None:
    alive = 0

    class Counted(dict[str, Any]):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def many(row: Row) -> Iterator[Row]:
        nonlocal alive
        for number in range(5000):
            alive += 1
            yield Counted(id=number)

    greatest = total = 0
    for piece in drain_rows(
        Function.of("f", many), ids(2), {}, stop=StopFlag(), names=["id"], chunk_rows=100
    ):
        greatest = max(greatest, alive, piece.length)
        total += piece.length
    assert total == 10_000
    assert greatest <= 100


def test_large_outputs_are_bounded_by_their_bytes() -> None:
    def messages(row: Row) -> Iterator[Row]:
        for _ in range(20):
            yield {"id": row["id"], "part": b"x" * 100_000}

    pieces = drain(messages, ids(3), names=NAMES, chunk_bytes=1_000_000)
    assert sum(piece.length for piece in pieces) == 60
    assert max(piece.length for piece in pieces) <= 11


def test_outputs_that_grow_large_are_noticed() -> None:
    def growing(row: Row) -> Iterator[Row]:
        for size in [10] * 3 + [1_000_000] * 40:
            yield {"id": "x" * size}

    pieces = drain(growing, ids(1), names=["id"], chunk_bytes=2_000_000)
    assert sum(piece.length for piece in pieces) == 43
    assert max(sum(map(len, (piece.columns or {})["id"])) for piece in pieces) <= 10_000_000


def test_a_large_list_goes_on_in_bounded_pieces() -> None:
    (*full, last) = drain(lambda row: [{"id": n} for n in range(25)], ids(1), names=["id"], chunk_rows=10)
    assert [piece.length for piece in full] == [10, 10]
    assert [value for piece in (*full, last) for value in (piece.columns or {})["id"]] == list(range(25))
    pieces = drain(
        lambda row: [{"id": "x" * 50_000} for _ in range(40)], ids(1), names=["id"], chunk_bytes=500_000
    )
    assert max(piece.length for piece in pieces) <= 10
    assert sum(piece.length for piece in pieces) == 40


def test_small_batches_do_not_follow_each_full_one() -> None:
    pieces = drain(lambda row: [{"id": n} for n in range(7)], ids(1000), names=["id"], chunk_rows=100)
    assert [piece.length for piece in pieces] == [100] * 70


def test_a_row_that_fails_after_a_part_of_it_has_gone_on_fails_the_step() -> None:
    def fails_late(row: Row) -> Iterator[Row]:
        for number in range(10):
            yield {"id": number}
        raise ValueError("the tenth was the last")

    pieces = drain_rows(Function.of("jobs.test:late", fails_late), ids(1), {}, stop=StopFlag(), chunk_rows=4)
    assert [next(pieces).length, next(pieces).length] == [4, 4]
    with pytest.raises(
        FunctionFailed, match="input row 0 of its batch failed after some of its outputs"
    ) as failed:
        next(pieces)
    assert "ValueError: the tenth was the last" in str(failed.value)


def test_a_row_after_a_torn_one_can_still_be_a_bad_row() -> None:
    def fails_once(row: Row) -> Iterator[Row]:
        for number in range(10 if row["id"] == 0 else 2):
            yield {"id": number}
        if row["id"] == 1:
            raise ValueError("no")

    pieces = drain(fails_once, ids(3), names=["id"], chunk_rows=4)
    assert [value for piece in pieces for value in (piece.columns or {})["id"]] == [*range(10), 0, 1]
    assert [failure.index for piece in pieces for failure in piece.failures] == [1]


def test_failures_go_on_with_the_piece_in_which_they_fell() -> None:
    def some(row: Row) -> Row:
        if row["id"] in (1, 8):
            raise ValueError("no")
        return row

    pieces = drain(some, ids(10), names=["id"], chunk_rows=4)
    assert [[failure.index for failure in piece.failures] for piece in pieces] == [[1], [8]]
    assert [piece.length for piece in pieces] == [4, 4]


def test_rows_are_copies_because_a_generator_may_yield_one_dictionary_again() -> None:
    def reused(row: Row) -> Iterator[Row]:
        output: Row = {}
        for part in (0, 1):
            output["part"] = part
            yield output

    (drained,) = drain(reused, ids(1))
    assert drained.rows == [{"part": 0}, {"part": 1}]


def test_a_failure_does_not_keep_the_batch_alive() -> None:
    class Payload:
        """Something that a weak reference can point at."""

    def fail(row: Row) -> Row:
        raise ValueError("no")

    payload = Payload()
    watch = weakref.ref(payload)
    (drained,) = drain(fail, [{"payload": payload}])
    del payload
    gc.collect()
    assert watch() is None
    assert drained.failures[0].location.startswith(__file__)


def test_the_stop_flag_ends_the_loop_between_two_rows() -> None:
    stop, seen = StopFlag(), []

    def watched(row: Row) -> None:
        seen.append(row["id"])
        stop.stopped = row["id"] == 2

    with pytest.raises(Stopped):
        drain(watched, ids(10), stop=stop)
    assert seen == [0, 1, 2]


def test_the_stop_flag_ends_a_generator_between_two_outputs_and_closes_it() -> None:
    stop, seen = StopFlag(), []

    def watched(row: Row) -> Iterator[Row]:
        try:
            for number in range(10):
                stop.stopped = number == 3
                yield {"id": number}
        finally:
            seen.append("closed")

    with pytest.raises(Stopped):
        drain(watched, ids(1), stop=stop)
    gc.collect()
    assert seen == ["closed"]


def test_a_raised_flag_starts_nothing() -> None:
    with pytest.raises(Stopped):
        drain(lambda row: pytest.fail("called"), ids(1), stop=StopFlag(stopped=True))
