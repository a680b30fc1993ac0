"""Record batches of project functions: cast where nothing can be lost, refused otherwise."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from runner.specs import ColumnSpec
from runner.types import Encoded, RowEncoder, SchemaMismatch

MOMENT = datetime(2026, 2, 12, 6, tzinfo=UTC)
SECONDS = int(MOMENT.timestamp())


def encode(kind: Any, array: pa.Array) -> Encoded:
    """One column `v` of a type, from an Arrow array."""
    encoder = RowEncoder([ColumnSpec(name="v", type=kind)])
    return encoder.encode_arrow(pa.record_batch([array], names=["v"]))


LOSSLESS = [
    ("int64", pa.array([1, None], pa.int32()), [1, None]),
    ("int64", pa.array([255], pa.uint8()), [255]),
    ("int64", pa.array([Decimal(-7), None], pa.decimal128(38, 0)), [-7, None]),
    ("float64", pa.array([1.5], pa.float32()), [1.5]),
    ("float64", pa.array([3], pa.int64()), [3.0]),
    ("numeric", pa.array([Decimal("1.25")], pa.decimal128(10, 2)), [Decimal("1.25")]),
    ("numeric", pa.array([7], pa.int16()), [Decimal(7)]),
    ("string", pa.array(["a", None], pa.large_utf8()), ["a", None]),
    ("string", pa.array(["a"], pa.string_view()), ["a"]),
    ("string", pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
    ("string", pa.nulls(2), [None, None]),
    ("json", pa.array(['{"a": 1}', None, "[]"]), ['{"a": 1}', None, "[]"]),
    ("json", pa.array(["{}"], pa.json_()), ["{}"]),
    ("bytes", pa.array([b"ab"], pa.binary(2)), [b"ab"]),
    ("bytes", pa.array([b"ab"], pa.large_binary()), [b"ab"]),
    ("bool", pa.array([True, None]), [True, None]),
    ("date", pa.array([date(2026, 2, 12)]), [date(2026, 2, 12)]),
    ("timestamp", pa.array([SECONDS, None], pa.timestamp("s", tz="UTC")), [MOMENT, None]),
    ("timestamp", pa.array([SECONDS * 1000], pa.timestamp("ms", tz="Europe/Berlin")), [MOMENT]),
    ("timestamp", pa.array([SECONDS * 10**9, None], pa.timestamp("ns", tz="UTC")), [MOMENT, None]),
]


@pytest.mark.parametrize(("kind", "array", "stored"), LOSSLESS, ids=[f"{a.type}-{k}" for k, a, _ in LOSSLESS])
def test_another_width_unit_or_layout_is_cast(kind: str, array: pa.Array, stored: list[Any]) -> None:
    encoded = encode(kind, array)
    assert encoded.bad == []
    assert encoded.batch.column("v").to_pylist() == stored


LOSSY = [
    ("int64", pa.array([1, 2**64 - 1], pa.uint64()), "expected an int of 64 bits"),
    ("int64", pa.array([Decimal(1), Decimal(2**63)], pa.decimal128(38, 0)), "expected an int of 64 bits"),
    ("float64", pa.array([1, 2**53 + 1]), "a float can hold exactly"),
    ("numeric", pa.array([Decimal(1), Decimal("1E-10")], pa.decimal128(38, 10)), "at most 9 decimal places"),
    ("timestamp", pa.array([0, 1001], pa.timestamp("ns", tz="UTC")), "whole microseconds, got 1001 ns"),
    (
        "timestamp",
        pa.array([0, 10**12], pa.timestamp("s", tz="UTC")),
        "years 1 to 9999 of UTC, got 1000000000000 s",
    ),
    ("timestamp", pa.array([0, 2**62], pa.timestamp("us", tz="UTC")), "years 1 to 9999"),
    ("json", pa.array(["{}", "{oops"]), "expected JSON text"),
    ("json", pa.array(["1", "NaN"]), "expected JSON text"),
    ("json", pa.array(["1", "[" * 100_000]), "expected JSON text"),
]


@pytest.mark.parametrize(
    ("kind", "array", "reason"), LOSSY, ids=[f"{a.type}-{k}-{r[:12]}" for k, a, r in LOSSY]
)
def test_a_value_that_would_lose_something_is_a_bad_row(kind: str, array: pa.Array, reason: str) -> None:
    encoded = encode(kind, array)
    assert encoded.batch.num_rows == 1
    (bad,) = encoded.bad
    assert (bad.index, bad.column) == (1, "v")
    assert reason in bad.reason
    assert bad.row.keys() == {"v"}


REFUSED = [
    ("int64", pa.array([1.0]), "column 'v': is double; expected int64, as int64"),
    ("int64", pa.array(["1"]), "is string; expected int64"),
    ("int64", pa.array([True]), "is bool; expected int64"),
    ("float64", pa.array([Decimal("1.5")]), "expected float64, as double"),
    ("numeric", pa.array([1.5]), "expected numeric, as decimal128"),
    ("bool", pa.array([1]), "expected bool"),
    ("string", pa.array([b"a"]), "is binary; expected string"),
    ("bytes", pa.array(["a"]), "is string; expected bytes"),
    (
        "timestamp",
        pa.array([0], pa.timestamp("us")),
        r"is timestamp\[us\]; expected timestamp, as timestamp\[us, tz=UTC\]",
    ),
    ("timestamp", pa.array([1]), "is int64; expected timestamp"),
    ("date", pa.array([MOMENT]), "expected date"),
    ("date", pa.array([0], pa.date64()), "expected date"),
    ("json", pa.array([{"a": 1}]), "expected json, as string"),
]


@pytest.mark.parametrize(("kind", "array", "text"), REFUSED, ids=[f"{a.type}-{k}" for k, a, _ in REFUSED])
def test_another_meaning_is_refused_as_a_whole(kind: str, array: pa.Array, text: str) -> None:
    with pytest.raises(SchemaMismatch, match=text):
        encode(kind, array)


def test_an_unknown_column_is_refused_with_a_near_one() -> None:
    with pytest.raises(
        SchemaMismatch, match="unknown column 'valeu'; expected one of value, did you mean 'value'"
    ):
        RowEncoder([ColumnSpec(name="value", type="int64")]).encode_arrow(
            pa.record_batch([pa.array([1])], names=["valeu"])
        )


def test_a_column_twice_is_refused() -> None:
    with pytest.raises(SchemaMismatch, match="occurs more than once"):
        RowEncoder([ColumnSpec(name="v", type="int64")]).encode_arrow(
            pa.record_batch([pa.array([1]), pa.array([2])], names=["v", "v"])
        )


def test_missing_columns_are_null_and_needed_ones_are_checked() -> None:
    columns = [ColumnSpec(name="id", type="string", required=True), ColumnSpec(name="note", type="string")]
    encoded = RowEncoder(columns).encode_arrow(pa.record_batch([pa.array(["a", None])], names=["id"]))
    assert encoded.batch.to_pylist() == [{"id": "a", "note": None}]
    assert [(bad.index, bad.column) for bad in encoded.bad] == [(1, "id")]


def test_a_slice_is_encoded_as_what_it_shows() -> None:
    times = pa.array([2**62, SECONDS * 10**6, None], pa.timestamp("us", tz="UTC")).slice(1)
    encoded = encode("timestamp", times)
    assert encoded.bad == []
    assert encoded.batch.column("v").to_pylist() == [MOMENT, None]
