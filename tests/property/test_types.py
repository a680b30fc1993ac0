"""Laws of values between Python and Arrow, for values that nobody thought of."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from runner.specs import COLUMN_TYPES, ColumnSpec
from runner.types import RowEncoder, decode_rows

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
FITTING: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXT,
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float64": st.floats(allow_nan=False),
    "numeric": st.decimals(-(10**29) + 1, 10**29 - 1, allow_nan=False, allow_infinity=False, places=9),
    "bool": st.booleans(),
    "timestamp": st.datetimes(timezones=st.just(UTC)),
    "date": st.dates(),
    "json": JSON.filter(lambda value: value is not None),
    "bytes": st.binary(),
}
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)
COLUMNS: list[ColumnSpec] = [
    ColumnSpec.model_validate({"name": f"c_{kind}", "type": kind}) for kind in COLUMN_TYPES
]
ROWS = st.lists(
    st.fixed_dictionaries({f"c_{kind}": st.none() | FITTING[kind] for kind in COLUMN_TYPES}), max_size=6
)
ANYTHING = st.one_of(
    *FITTING.values(), st.none(), st.floats(), st.decimals(), st.datetimes(), st.complex_numbers(), st.text(),
    st.integers(), st.datetimes(timezones=st.just(timezone(timedelta(hours=14)))), st.sets(st.integers()),
)  # fmt: skip
MIXED = st.lists(
    st.dictionaries(st.sampled_from([column.name for column in COLUMNS] + ["c_other"]), ANYTHING, max_size=5),
    max_size=8,
)


@given(rows=ROWS)
def test_what_is_encoded_is_decoded_again(rows: list[dict[str, Any]]) -> None:
    encoded = RowEncoder(COLUMNS).encode_rows(rows)
    assert encoded.bad == []
    assert decode_rows(encoded.batch, COLUMNS) == rows


@given(rows=MIXED)
def test_good_and_bad_rows_are_the_input_in_order(rows: list[dict[str, Any]]) -> None:
    encoder = RowEncoder(COLUMNS, key=["c_string"])
    encoded = encoder.encode_rows(rows)
    bad = [cell.index for cell in encoded.bad]
    assert bad == sorted(set(bad))
    assert all(cell.row is rows[cell.index] for cell in encoded.bad)
    good = [row for index, row in enumerate(rows) if index not in bad]
    assert encoded.batch.num_rows == len(good)
    again = encoder.encode_rows(good)
    assert again.bad == []
    assert _equal(again.batch, encoded.batch)


@given(rows=MIXED)
def test_rows_and_columns_are_encoded_alike(rows: list[dict[str, Any]]) -> None:
    known = [{column.name: row.get(column.name) for column in COLUMNS} for row in rows]
    encoder = RowEncoder(COLUMNS, key=["c_string"])
    by_rows = encoder.encode_rows(known)
    by_columns = encoder.encode_columns(
        {column.name: [row[column.name] for row in known] for column in COLUMNS}, len(known)
    )
    assert _equal(by_rows.batch, by_columns.batch)
    assert [(c.index, c.column, c.reason, c.key) for c in by_rows.bad] == [
        (c.index, c.column, c.reason, c.key) for c in by_columns.bad
    ]


@given(rows=ROWS)
def test_an_encoded_batch_is_encoded_to_itself(rows: list[dict[str, Any]]) -> None:
    encoder = RowEncoder(COLUMNS)
    batch = encoder.encode_rows(rows).batch
    again = encoder.encode_arrow(batch)
    assert again.bad == []
    assert again.batch == batch


@given(value=ANYTHING)
def test_a_stored_value_equals_the_given_one(value: Any) -> None:
    for column in COLUMNS:
        encoded = RowEncoder([column]).encode_rows([{column.name: value}])
        for row in decode_rows(encoded.batch, [column]):
            stored = row[column.name]
            assert stored == value or (value != value and stored != stored)
            assert type(stored) is type(value) or (type(value) is int and type(stored) in (float, Decimal))


def _equal(left: pa.RecordBatch, right: pa.RecordBatch) -> bool:
    """Compare by text: NaN equals NaN here."""
    return left.schema == right.schema and str(left.to_pylist()) == str(right.to_pylist())


def test_the_extremes_survive() -> None:
    rows = [
        {
            "c_timestamp": moment, "c_date": moment.date(), "c_numeric": number, "c_int64": whole,
            "c_string": "", "c_bytes": b"", "c_json": {"": [{}, [], ""]}, "c_float64": 5e-324, "c_bool": False,
        }
        for moment, number, whole in (
            (_FIRST, Decimal("-99999999999999999999999999999.999999999"), -(2**63)),
            (_LAST, Decimal("0.000000001"), 2**63 - 1),
        )
    ]  # fmt: skip
    encoded = RowEncoder(COLUMNS).encode_rows(rows)
    assert encoded.bad == []
    assert decode_rows(encoded.batch, COLUMNS) == rows
    assert date.max == rows[1]["c_date"]
