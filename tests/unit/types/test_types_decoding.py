"""Arrow batches as rows."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from runner.specs import ColumnSpec
from runner.types import UndecodableValue, arrow_type, decode_rows


def one_column(kind: Any, values: list[Any], arrow: pa.DataType | None = None) -> list[Any]:
    """The values of one column, through a batch and back."""
    batch = pa.record_batch([pa.array(values, arrow or arrow_type(kind))], names=["v"])
    return [row["v"] for row in decode_rows(batch, [ColumnSpec(name="v", type=kind)])]


def test_rows_have_the_named_columns_in_their_order() -> None:
    batch = pa.record_batch(
        [pa.array([1, 2]), pa.array(["x", None]), pa.array([True, False])], names=["a", "b", "c"]
    )
    rows = decode_rows(batch, [ColumnSpec(name="b", type="string"), ColumnSpec(name="a", type="int64")])
    assert [list(row.items()) for row in rows] == [[("b", "x"), ("a", 1)], [("b", None), ("a", 2)]]


def test_timestamps_are_aware_utc_to_the_microsecond() -> None:
    moments = [datetime(2026, 2, 12, 6, 0, 0, 1, UTC), None, datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)]
    decoded = one_column("timestamp", moments)
    assert decoded == moments
    assert decoded[0].tzinfo is UTC


def test_another_zone_and_unit_is_the_same_instant() -> None:
    decoded = one_column("timestamp", [1_770_876_000], pa.timestamp("s", tz="America/New_York"))
    assert decoded == [datetime(2026, 2, 12, 6, tzinfo=UTC)]


def test_a_time_without_zone_is_not_taken_for_utc() -> None:
    with pytest.raises(
        UndecodableValue, match=r"column 'v' holds timestamp\[us\] values; expected times with"
    ):
        one_column("timestamp", [0], pa.timestamp("us"))


def test_an_infinite_time_is_named() -> None:
    with pytest.raises(UndecodableValue, match=r"column 'v' holds a time 9223372036854775807 microseconds"):
        one_column("timestamp", [0, 2**63 - 1], pa.timestamp("us", tz="UTC"))


def test_a_date_beyond_python_is_named() -> None:
    with pytest.raises(UndecodableValue, match="column 'v' holds a date"):
        one_column("date", [2**30], pa.date32())


def test_json_text_is_decoded() -> None:
    decoded = one_column("json", ['{"a":[1,null,"é"]}', None, '"text"', "null", "1.5"])
    assert decoded == [{"a": [1, None, "é"]}, None, "text", None, 1.5]


def test_text_that_is_not_json_is_named() -> None:
    with pytest.raises(UndecodableValue, match=r"column 'v' holds '\{oops'; expected JSON text"):
        one_column("json", ["{}", "{oops"])


def test_other_types_are_what_python_calls_them() -> None:
    assert one_column("numeric", [Decimal("1.5"), None]) == [Decimal("1.5"), None]
    assert one_column("date", [date(2026, 2, 12)]) == [date(2026, 2, 12)]
    assert one_column("bytes", [b"", b"\0\xff"]) == [b"", b"\0\xff"]
    assert one_column("bool", [True, None]) == [True, None]


def test_no_columns_are_as_many_empty_rows() -> None:
    assert decode_rows(pa.record_batch([pa.array([1, 2])], names=["a"]), []) == [{}, {}]


def test_a_column_that_the_batch_lacks_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="nope"):
        decode_rows(pa.record_batch([pa.array([1])], names=["a"]), [ColumnSpec(name="nope", type="int64")])


def test_rows_do_not_share_what_can_be_changed() -> None:
    batch = pa.record_batch([pa.array(['{"a":1}', '{"a":1}'])], names=["v"])
    first, second = decode_rows(batch, [ColumnSpec(name="v", type="json")])
    first["v"]["a"] = 2
    assert second["v"] == {"a": 1}
