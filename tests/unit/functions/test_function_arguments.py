"""What a function takes, against what a step gives it."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from runner.functions import Function
from runner.ports import Row, StopFlag

if TYPE_CHECKING:
    import pyarrow as arrow
    import pyarrow as pa


def plain(row: Row, *, factor: int, label: str = "x") -> Row:
    return row


def unannotated(row, factor): ...  # type: ignore[no-untyped-def]
def batch(batch: pa.RecordBatch) -> pa.RecordBatch: ...
def aliased(batch: arrow.RecordBatch, limit: int = 3) -> pa.RecordBatch: ...
def lazily(row: Row) -> Iterator[Row]:
    yield row


async def awaited(row: Row) -> Row:
    return row


async def streamed(row: Row) -> AsyncIterator[Row]:
    yield row


def fetch(*, connection: object, since: datetime | None, as_of: datetime, folder: Path) -> list[Row]:
    return []


def optional(*, connection: object = None, since: object = None) -> list[Row]:
    return []


def anything(row: Row, **options: Any) -> Row:
    return row


def table(table: pa.Table) -> pa.Table: ...
def yields_batches(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    yield batch


def keyword_only(*, row: Row) -> Row:
    return row


def positional(row: Row, factor: int, /) -> Row:
    return row


class Scorer:
    """A callable object."""

    async def __call__(self, row: Row, *, factor: int = 1) -> Row:
        return row


def of(target: Any) -> Function:
    """The function, under a short name."""
    return Function.of("jobs.test:f", target)


def test_the_shape_follows_the_annotation_without_importing_it() -> None:
    shapes = {target: of(target).shape for target in (plain, unannotated, lazily, batch, aliased)}
    assert shapes == {plain: "row", unannotated: "row", lazily: "row", batch: "batch", aliased: "batch"}


def test_an_annotation_that_is_the_class_itself_counts_too() -> None:
    import pyarrow

    def direct(batch: Any) -> Any: ...

    direct.__annotations__["batch"] = pyarrow.RecordBatch
    assert of(direct).shape == "batch"


@pytest.mark.parametrize(
    ("target", "is_async", "is_generator"),
    [
        (plain, False, False),
        (lazily, False, True),
        (awaited, True, False),
        (streamed, True, True),
        (Scorer(), True, False),
        (functools.partial(awaited), True, False),
        (functools.partial(lazily), False, True),
    ],
)
def test_coroutines_and_generators_are_told_apart(target: Any, is_async: bool, is_generator: bool) -> None:
    function = of(target)
    assert (function.is_async, function.is_generator) == (is_async, is_generator)


def problems(
    target: Any, op: str = "call", /, connection: bool = False, cursor: bool = False, **given: Any
) -> Any:
    """The problems of a step."""
    return of(target).problems(op, given, connection=connection, cursor=cursor)


def test_what_fits_has_no_problems() -> None:
    assert problems(plain, factor=2) == []
    assert problems(batch) == []
    assert problems(anything, whatever=1) == []
    assert problems(fetch, "extract", connection=True, cursor=True, folder="x") == []
    assert problems(optional, "extract") == []
    assert problems(Scorer(), factor=3) == []
    assert problems(functools.partial(plain, factor=1)) == []


def test_an_unknown_argument_is_named_with_a_near_one() -> None:
    assert problems(plain, factr=2, factor=1) == [
        ("factr", "jobs.test:f takes no argument 'factr', did you mean 'factor'?")
    ]


def test_a_missing_argument_is_named() -> None:
    assert problems(plain) == [("factor", "jobs.test:f needs an argument 'factor'")]
    assert problems(unannotated) == [("factor", "jobs.test:f needs an argument 'factor'")]


def test_the_row_itself_cannot_be_given() -> None:
    assert [argument for argument, _ in problems(plain, factor=1, row={})] == ["row"]
    assert [argument for argument, _ in problems(anything, row={})] == ["row"]


def test_reserved_arguments_are_filled_by_the_engine_alone() -> None:
    assert problems(anything, as_of="2026-02-12") == [
        ("as_of", "'as_of' is filled by the engine and cannot be given")
    ]


def test_connection_and_since_need_their_key() -> None:
    assert problems(fetch, "extract", folder="x") == [
        ("connection", "jobs.test:f needs an argument 'connection'; the step needs `connection: NAME`"),
        ("since", "jobs.test:f needs an argument 'since'; the step needs `cursor: {…}`"),
    ]


def test_a_key_that_nothing_takes_is_a_problem() -> None:
    assert problems(plain, connection=True, cursor=True, factor=1) == [
        (
            "connection",
            "the step has `connection: NAME`, but jobs.test:f has no parameter 'connection' to take it",
        ),
        ("since", "the step has `cursor: {…}`, but jobs.test:f has no parameter 'since' to take it"),
    ]


def test_a_function_that_cannot_be_called_with_rows_is_a_problem() -> None:
    assert problems(lambda: None) == [("", "jobs.test:f takes no row; expected it as the first parameter")]
    assert "takes no row" in problems(keyword_only)[0][1]
    assert problems(table) == [
        ("", "jobs.test:f takes a Table; expected a row (dict) or a pyarrow.RecordBatch")
    ]
    assert "yields; expected one record batch" in problems(yields_batches)[0][1]
    assert problems(positional) == [
        ("factor", "jobs.test:f takes 'factor' by position only; expected by name")
    ]
    assert problems(positional, "extract")[0][0] == "row"


FITTING = [
    (str, "x"), (int, 3), (float, 3), (float, 0.5), (bool, True), (list, [1]), (dict, {"a": 1}), (Path, "a/b"),
    (Path, Path("a")), (str | None, None), (str | None, "x"), (int | None, None), (Literal["a", 1], 1),
    (list[str], ["a"]), (dict[str, int], {"a": 1}), (int | list[int], [1]), (Any, {1}), (Sequence[str], 5),
    ("int", 3), ("Path | None", "a"), ("Literal['a']", "a"), ("Unknown", 5), ("pa.RecordBatch", 5), ("1 +", 5),
]  # fmt: skip
UNFITTING = [
    (str, 3, "str"), (int, True, "int"), (int, 0.5, "int"), (int, "3", "int"), (float, "x", "float"),
    (float, False, "float"), (bool, 1, "bool"), (list, "abc", "list"), (dict, [], "dict"), (Path, 3, "Path"),
    (str | None, 3, "str or null"), (Literal["a", "b"], "c", "one of 'a', 'b'"), (Literal[1], True, "one of 1"),
    (list[str], ["a", 1], "list[str]"), (dict[str, int], {"a": "b"}, "dict[str, int]"), (None, 0, "null"),
    ("int", "3", "int"), ("Path | None", 3, "Path or null"),
]  # fmt: skip


def annotated(annotation: Any) -> Function:
    """A function with one parameter of that annotation."""

    def target(row: Row, *, value: Any) -> Row:
        return row

    target.__annotations__["value"] = annotation
    return of(target)


@pytest.mark.parametrize(("annotation", "value"), FITTING, ids=str)
def test_values_that_fit_or_cannot_be_judged_are_taken(annotation: Any, value: Any) -> None:
    assert annotated(annotation).problems("call", {"value": value}) == []


@pytest.mark.parametrize(("annotation", "value", "expected"), UNFITTING, ids=str)
def test_a_value_of_another_type_is_a_problem(annotation: Any, value: Any, expected: str) -> None:
    text = f"'value' is {value!r}; jobs.test:f expects {expected}"
    assert annotated(annotation).problems("call", {"value": value}) == [("value", text)]


def test_arguments_hold_what_is_given_and_what_the_signature_reserves() -> None:
    as_of = datetime(2026, 2, 12, tzinfo=UTC)
    filled = of(fetch).arguments({"folder": "inbox"}, connection="c", since=5, as_of=as_of)
    assert filled == {"folder": Path("inbox"), "connection": "c", "since": 5, "as_of": as_of}
    assert of(plain).arguments({"factor": 2}, connection="c", since=5, as_of=as_of) == {"factor": 2}
    assert of(anything).arguments({}, as_of=as_of) == {}


def test_an_extract_can_take_the_stop_flag_and_a_call_cannot() -> None:
    def waits(row: Row, *, stop: StopFlag) -> Row:
        return row

    def fetches(stop: StopFlag) -> list[Row]:
        return []

    flag = StopFlag()
    assert of(fetches).arguments({}, stop=flag) == {"stop": flag}
    assert problems(fetches, "extract") == []
    assert problems(waits) == [("stop", "jobs.test:f needs an argument 'stop'; only an extract has 'stop'")]


@pytest.mark.parametrize(
    ("annotation", "value", "passed"),
    [
        (Path, "a", Path("a")),
        ("Path | None", "a", Path("a")),
        ("Path | None", None, None),
        (list[Path], ["a"], [Path("a")]),
        (Path | str, "a", "a"),
        (str, "a", "a"),
        (Any, "a", "a"),
    ],
)
def test_text_for_a_path_becomes_a_path(annotation: Any, value: Any, passed: Any) -> None:
    assert annotated(annotation).arguments({"value": value}) == {"value": passed}
