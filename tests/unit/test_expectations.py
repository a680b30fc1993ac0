"""Cells against expectations where nothing has typed the values, and samples as text."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from runner.expectations import Tally, sample_text
from runner.expectations.cells import CellTest
from runner.expectations.expressions import expression_problems
from runner.ports import Batch
from runner.specs import ColumnSpec, Expectation

NOON = datetime(2026, 2, 12, 12, tzinfo=UTC)
ELSEWHERE = NOON.astimezone(timezone(timedelta(hours=5)))


def cells_of(**content: Any) -> CellTest:
    """Return the test of a column c."""
    ((kind, more),) = content.items()
    return CellTest(Expectation.model_validate({kind: {"column": "c", **more}}))


@pytest.mark.parametrize(
    ("values", "bounds", "against"),
    [
        ([1, 2.5, Decimal("2.6"), True, "2", None], {"min": 1, "max": 2.5}, [2, 3, 4]),
        ([2**53 + 1, 2**53], {"max": 2.0**53}, [0]),
        ([Decimal("0.1"), 0.1], {"max": "0.1"}, [1]),
        ([NOON, NOON + timedelta(seconds=1)], {"max": "2026-02-12T13:00:00+01:00"}, [1]),
        ([ELSEWHERE, NOON.replace(tzinfo=None)], {"min": "2026-02-12T12:00:00Z"}, [1]),
        ([date(2026, 2, 12), NOON], {"min": "2026-02-12"}, [1]),
        (["b", "a", "ä"], {"min": "b"}, [1]),
        ([Decimal("NaN"), float("nan"), Decimal("sNaN"), 3], {"min": 0}, [0, 1, 2]),
        ([[1], {"a": 1}, object], {"min": 0}, [0, 1, 2]),
        ([5], {"min": "soon"}, [0]),
    ],
    ids=repr,
)  # fmt: skip
def test_range_of_python_values(values: list[Any], bounds: dict[str, Any], against: list[int]) -> None:
    assert cells_of(range=bounds).positions(values) == against


@pytest.mark.parametrize(
    ("values", "accepted", "against"),
    [
        ([1, 1.0, Decimal(1), True, "1", None, 2], [1], [3, 4, 6]),
        ([True, 1], [True], [1]),
        (["1", 1], ["1"], []),
        ([NOON], ["2026-02-12T13:00:00+01:00"], []),
        ([[1], float("nan")], [1], [0, 1]),
    ],
    ids=repr,
)
def test_accepted_python_values(values: list[Any], accepted: list[Any], against: list[int]) -> None:
    assert cells_of(accepted={"values": accepted}).positions(values) == against


ARRAYS = [
    (pa.array([2**53, 2**53 + 1, None]), {"range": {"max": 2.0**53}}),
    (pa.array([1, 2, 3], pa.uint8()), {"range": {"min": 2, "max": 300}}),
    (pa.array([2**64 - 1], pa.uint64()), {"range": {"max": 2**63 - 1}}),
    (pa.array([1, 2, 3]), {"accepted": {"values": [1, 2.5, "3", True]}}),
    (pa.array([0.0, -0.0, 1.5]), {"accepted": {"values": [0, 1.5]}}),
    (pa.array(["a", "b", None, "a"]).dictionary_encode(), {"accepted": {"values": ["a"]}}),
    (pa.array(["a", "b"], pa.large_string()), {"range": {"max": "a"}}),
    (pa.array(["a", "b"], pa.string_view()), {"accepted": {"values": ["b"]}}),
    (pa.array([Decimal("1.50"), Decimal("1.51")], pa.decimal128(5, 2)), {"range": {"max": "1.5"}}),
    (pa.array([NOON, None], pa.timestamp("ns", "UTC")), {"range": {"min": "2026-02-12T12:00:01Z"}}),
    (pa.array([NOON], pa.timestamp("us", "UTC")), {"accepted": {"values": ["2026-02-12T12:00:00Z", "then"]}}),
    (pa.array([NOON.replace(tzinfo=None)], pa.timestamp("us")), {"range": {"min": "2026-02-12T12:00:00Z"}}),
    (pa.array([date(2026, 2, 12)]), {"range": {"min": "2026-02-13"}}),
    (pa.array([True, False, None]), {"accepted": {"values": [True]}}),
    (pa.array([1.5, float("nan")], pa.float32()), {"range": {"min": 1}}),
    (pa.nulls(2), {"range": {"min": 1}}),
    (pa.array([[1], [2]]), {"accepted": {"values": [1]}}),
]  # fmt: skip


@pytest.mark.parametrize(("array", "content"), ARRAYS, ids=[f"{array.type} {more}" for array, more in ARRAYS])
def test_an_array_is_judged_like_its_values(array: pa.Array, content: dict[str, Any]) -> None:
    test = cells_of(**content)
    mask = test.mask(array).to_pylist()
    assert [number for number, against in enumerate(mask) if against] == test.positions(array.to_pylist())


def test_a_sample_names_the_key_or_shows_the_whole_row() -> None:
    row = {
        "id": 7,
        "at": NOON,
        "cost": Decimal("1.50"),
        "raw": b"\xff",
        "ratio": float("inf"),
        "text": "\ud800",
    }
    assert sample_text(row, ["id"], ["at"]) == '{"id": 7, "at": "2026-02-12T12:00:00.000000Z"}'
    assert sample_text(row, ["key"], ["cost"]) == (
        '{"cost": "1.5", "id": 7, "at": "2026-02-12T12:00:00.000000Z", "raw": "\\\\xff", "ratio": "inf",'
        ' "text": "\\ud800"}'
    )
    endless: list[Any] = []
    endless.append(endless)
    assert sample_text({"id": endless}, ["id"], ["id"]) == "{'id': [[...]]}"


def test_an_arrow_batch_without_the_column_has_only_null_there() -> None:
    tally = Tally(Expectation.model_validate({"not_null": "c"}))
    tally.take(Batch(2, arrow=pa.RecordBatch.from_pydict({"d": [1, 2]})))
    tally.take(Batch(1, arrow=pa.RecordBatch.from_pydict({"c": [1]})))
    finding = tally.finding()
    assert finding is not None
    assert (finding.offending, finding.rows) == (2, 3)
    assert finding.samples == ('{"c": null, "d": 1}', '{"c": null, "d": 2}')


@pytest.mark.parametrize(
    "text",
    [
        "n > 0 AND s IS NOT NULL", "s LIKE 'a%' OR b", "b", "NOT b", "(n BETWEEN 1 AND 2)", "length(s) > 1",
        "regexp_matches(s, '^a')", "n > 0 -- positive", "CASE WHEN b THEN n > 0 ELSE true END", "n IN (1, 2)",
        "starts_with(s, 'x')", '"n" = 1', "true",
    ],
)  # fmt: skip
def test_conditions_on_one_row(text: str) -> None:
    columns = [
        ColumnSpec(name="n", type="int64"),
        ColumnSpec(name="s", type="string"),
        ColumnSpec(name="b", type="bool"),
    ]
    assert list(expression_problems(text, columns, "duckdb")) == []
