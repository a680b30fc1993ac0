"""Python values as Arrow, strictly: what fits, what is a bad row, and what its reason says."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

import pyarrow as pa
import pytest

from runner.ports import Batch
from runner.specs import ColumnSpec
from runner.sql import POSTGRES
from runner.types import Encoded, RowEncoder, arrow_schema

AWARE = datetime(2026, 2, 12, 6, tzinfo=UTC)
NAIVE = AWARE.replace(tzinfo=None)
EAST = timezone(timedelta(hours=2))


class Colour(StrEnum):
    """A str that is an Enum, too."""

    RED = "red"


class Level(IntEnum):
    """An int that is an Enum, too."""

    LOW = 1


class Index:
    """What says by `__index__` that it is an int, as the integers of numpy do."""

    def __index__(self) -> int:
        return 7


class Nowhere(tzinfo):
    """A zone that does not know its offset: its times are naive in all but name."""

    def utcoffset(self, _dt: datetime | None, /) -> None: ...

    def dst(self, _dt: datetime | None, /) -> None: ...

    def tzname(self, _dt: datetime | None, /) -> None: ...


def nested(depth: int) -> list[Any]:
    """A list in a list in a list."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def itself() -> list[Any]:
    """A list that contains itself."""
    value: list[Any] = []
    value.append(value)
    return value


def encode(kind: Any, *values: Any) -> Encoded:
    """One column `v` of a type."""
    return RowEncoder([ColumnSpec(name="v", type=kind)]).encode_rows([{"v": value} for value in values])


REFUSED = [
    ("int64", 1.5, "expected an int, got 1.5"),
    ("int64", 1.0, "expected an int, got 1.0"),
    ("int64", True, "expected an int, got True"),
    ("int64", "1", "expected an int, got '1'"),
    ("int64", Decimal(1), r"expected an int, got Decimal\('1'\)"),
    ("int64", 2**63, "expected an int of 64 bits, got 9223372036854775808"),
    ("int64", -(2**63) - 1, "expected an int of 64 bits"),
    ("float64", True, "expected a float, got True"),
    ("float64", "1.5", "expected a float, got '1.5'"),
    ("float64", Decimal("1.5"), "expected a float"),
    ("float64", 2**53 + 1, "expected a number that a float can hold exactly, got 9007199254740993"),
    ("float64", 10**400, "expected a number that a float can hold, got 1000"),
    ("numeric", 1.5, "expected a Decimal or an int, got 1.5"),
    ("numeric", True, "expected a Decimal or an int, got True"),
    ("numeric", "1.5", "expected a Decimal or an int"),
    ("numeric", Decimal("NaN"), r"expected a finite Decimal, got Decimal\('NaN'\)"),
    ("numeric", Decimal("sNaN"), "expected a finite Decimal"),
    ("numeric", Decimal("-Infinity"), "expected a finite Decimal"),
    ("numeric", Decimal("0.0000000001"), "expected at most 9 decimal places"),
    ("numeric", 10**29, "expected at most 29 digits before the point"),
    ("numeric", Decimal("1E+30"), "expected at most 29 digits before the point"),
    ("bool", 1, "expected True or False, got 1"),
    ("bool", "true", "expected True or False, got 'true'"),
    ("string", b"bytes", "expected text .str., got b'bytes'"),
    ("string", 1, "expected text"),
    ("string", "a\ud800b", "expected text without lone surrogates"),
    ("bytes", "text", "expected bytes, got 'text'"),
    ("bytes", bytearray(b"x"), "expected bytes"),
    ("timestamp", NAIVE, r"not one without time zone, got datetime.datetime\(2026, 2, 12, 6, 0\)"),
    ("timestamp", NAIVE.replace(tzinfo=Nowhere()), "not one without time zone"),
    ("timestamp", 1_770_876_000, "expected an aware datetime, got 1770876000"),
    ("timestamp", date(2026, 2, 12), "expected an aware datetime"),
    ("timestamp", "2026-02-12T06:00:00Z", "expected an aware datetime"),
    ("timestamp", datetime(1, 1, 1, tzinfo=EAST), "expected a time in the years 1 to 9999 of UTC"),
    ("date", AWARE, "expected a date, got datetime"),
    ("date", NAIVE, "expected a date, got datetime"),
    ("date", "2026-02-12", "expected a date"),
    ("date", 20_000, "expected a date"),
    ("json", float("nan"), "expected a JSON value"),
    ("json", {"a": [float("inf")]}, "expected a JSON value"),
    ("json", {"a": AWARE}, "expected a JSON value .Object of type datetime"),
    ("json", {1, 2}, "expected a JSON value .Object of type set"),
    ("json", {("a", "b"): 1}, "expected a JSON value .keys must be"),
    ("json", {"a": "\udcff"}, "expected text without lone surrogates"),
    ("json", itself(), "not one that contains itself or nests too deeply"),
    ("json", nested(100_000), "not one that contains itself or nests too deeply"),
]


@pytest.mark.parametrize(
    ("kind", "value", "reason"), REFUSED, ids=[f"{k}-{r[:32]}-{i}" for i, (k, _, r) in enumerate(REFUSED)]
)
def test_what_does_not_fit_is_a_bad_row_between_good_ones(kind: str, value: Any, reason: str) -> None:
    good = {
        "string": "x", "int64": 1, "float64": 1.5, "numeric": Decimal("1.5"), "bool": True, "timestamp": AWARE,
        "date": date(2026, 2, 12), "json": {"a": 1}, "bytes": b"x",
    }[kind]  # fmt: skip
    encoded = encode(kind, good, value, None, good)
    assert encoded.batch.num_rows == 3
    assert encoded.batch == encode(kind, good, None, good).batch
    (bad,) = encoded.bad
    assert (bad.index, bad.column) == (1, "v")
    assert bad.row["v"] is value
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(bad.reason)


TAKEN = [
    ("string", Colour.RED, "red"),
    ("int64", Level.LOW, 1),
    ("int64", Index(), 7),
    ("int64", -(2**63), -(2**63)),
    ("float64", 3, 3.0),
    ("float64", 2**60, float(2**60)),
    ("float64", float("inf"), float("inf")),
    ("numeric", 5, Decimal(5)),
    ("numeric", Decimal("1.50000000000000"), Decimal("1.5")),
    ("numeric", Decimal("0E+50"), Decimal(0)),
    (
        "numeric",
        Decimal("-99999999999999999999999999999.999999999"),
        Decimal("-99999999999999999999999999999.999999999"),
    ),
    ("timestamp", datetime(2026, 2, 12, 8, tzinfo=EAST), AWARE),
    ("timestamp", datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),
    ("json", "text", '"text"'),
    ("json", '{"a":1}', '"{\\"a\\":1}"'),
    ("json", {"b": [1, 2.5, None, True], "a": "é"}, '{"b":[1,2.5,null,true],"a":"é"}'),
    ("json", False, "false"),
]


@pytest.mark.parametrize("others", [[], [None]], ids=["alone", "beside NULL"])
@pytest.mark.parametrize(
    ("kind", "value", "stored"), TAKEN, ids=[f"{k}-{i}" for i, (k, _, _) in enumerate(TAKEN)]
)
def test_what_fits_exactly_is_taken(kind: str, value: Any, stored: Any, others: list[Any]) -> None:
    encoded = encode(kind, value, *others)
    assert encoded.bad == []
    assert encoded.batch.column("v").to_pylist() == [stored, *others]


def test_a_nan_stays_a_nan() -> None:
    (stored,) = encode("float64", float("nan")).batch.column("v").to_pylist()
    assert stored != stored


def test_one_odd_value_does_not_change_how_its_neighbours_are_stored() -> None:
    encoded = encode(
        "timestamp", AWARE, datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=2))), AWARE
    )
    assert [bad.index for bad in encoded.bad] == [1]
    assert encoded.batch.column("v").to_pylist() == [AWARE, AWARE]


COLUMNS = [
    ColumnSpec(name="id", type="string"),
    ColumnSpec(name="count", type="int64", required=True),
    ColumnSpec(name="note", type="string"),
]


def test_a_required_value_and_a_key_must_be_there() -> None:
    encoded = RowEncoder(COLUMNS, key=["id"]).encode_rows(
        [
            {"id": "a", "count": 1},
            {"id": None, "count": 2},
            {"id": "c"},
            {"id": "d", "count": 4, "note": None},
        ]
    )
    assert encoded.batch.to_pylist() == [
        {"id": "a", "count": 1, "note": None},
        {"id": "d", "count": 4, "note": None},
    ]
    assert [(bad.index, bad.column, bad.reason, bad.key) for bad in encoded.bad] == [
        (1, "id", "expected a value, the column is part of the key, got None", "id=None"),
        (2, "count", "expected a value, the column is required, got None", "id='c'"),
    ]


def test_an_unknown_column_is_named_with_a_near_one() -> None:
    encoded = RowEncoder(COLUMNS).encode_rows([{"id": "a", "count": 1}, {"id": "b", "count": 2, "nota": "x"}])
    assert encoded.batch.column("id").to_pylist() == ["a"]
    (bad,) = encoded.bad
    assert (bad.index, bad.column) == (1, "nota")
    assert bad.reason == "unknown column 'nota'; expected one of id, count, note, did you mean 'note'?"


@pytest.mark.parametrize(
    ("name", "shown"), [(1, "1"), (None, "None"), ("\ud800", "\\ud800"), (("a",), "('a',)")]
)
def test_a_key_that_cannot_name_a_column_is_named_all_the_same(name: Any, shown: str) -> None:
    (bad,) = RowEncoder(COLUMNS).encode_rows([{"id": "a", "count": 1, name: "x"}]).bad
    assert bad.column == shown
    assert f"unknown column {name!r}" in bad.reason


def test_a_row_with_several_faults_is_one_bad_row() -> None:
    encoded = RowEncoder(COLUMNS, key=["id"]).encode_rows([{"id": 1, "count": "x", "note": b""}])
    assert [(bad.index, bad.column) for bad in encoded.bad] == [(0, "id")]
    assert encoded.batch.num_rows == 0
    assert encoded.batch.schema == arrow_schema(COLUMNS)


def test_long_values_are_cut_in_the_reason() -> None:
    (bad,) = encode("int64", "x" * 100_000).bad
    assert len(bad.reason) < 120
    assert bad.reason.endswith("…")


def test_a_value_without_a_repr_is_still_described() -> None:
    class Mute:
        def __repr__(self) -> str:
            raise OSError("no")

    (bad,) = encode("int64", Mute()).bad
    assert "Mute" in bad.reason
    (bad,) = encode("string", 10**5000).bad
    assert bad.reason == "expected text (str), got an object of type int"


def test_lists_by_column_are_encoded_as_rows_are() -> None:
    encoder = RowEncoder(COLUMNS, key=["id"])
    columns: dict[str, list[Any]] = {"count": [1, None, 3], "id": ["a", "b", None]}
    encoded = encoder.encode_columns(columns, 3)
    assert encoded.batch.to_pylist() == [{"id": "a", "count": 1, "note": None}]
    assert [(bad.index, bad.column, bad.row) for bad in encoded.bad] == [
        (1, "count", {"count": None, "id": "b"}),
        (2, "id", {"count": 3, "id": None}),
    ]


def test_an_unknown_column_of_lists_makes_every_row_bad() -> None:
    encoded = RowEncoder(COLUMNS).encode_columns({"count": [1, 2], "cuont": [1, 2]}, 2)
    assert encoded.batch.num_rows == 0
    assert [(bad.index, bad.column) for bad in encoded.bad] == [(0, "cuont"), (1, "cuont")]


def test_a_batch_of_any_shape_gives_the_same() -> None:
    encoder = RowEncoder(COLUMNS)
    rows = [{"id": "a", "count": 1, "note": "x"}, {"id": "b", "count": 2, "note": None}]
    expected = pa.RecordBatch.from_pylist(rows, schema=arrow_schema(COLUMNS))
    columns = {name: [row[name] for row in rows] for name in ("note", "id", "count")}
    assert encoder.encode(Batch(2, rows=rows)).batch == expected
    assert encoder.encode(Batch(2, columns=columns)).batch == expected
    assert encoder.encode(Batch(2, arrow=expected.select(["note", "count", "id"]))).batch == expected


def test_no_rows_are_an_empty_batch_of_the_schema() -> None:
    encoded = RowEncoder(COLUMNS, key=["id"]).encode_rows([])
    assert (encoded.batch.num_rows, encoded.batch.schema) == (0, arrow_schema(COLUMNS))
    assert encoded.bad == []


def test_a_text_that_the_warehouse_cannot_hold_makes_its_row_bad_in_any_shape() -> None:
    columns = [ColumnSpec(name="s", type="string"), ColumnSpec(name="j", type="json")]
    texts = ["good", "a\x00b", "good", "good", None]
    documents = [{"a": r"\u0000"}, None, {"a\x00": 1}, {"a": "\\\x00"}, "\\"]
    rows = [{"s": text, "j": document} for text, document in zip(texts, documents, strict=True)]
    plain = RowEncoder(columns).encode_rows(rows)
    assert plain.bad == []

    encoder = RowEncoder(columns, unfit_texts=POSTGRES.unfit_texts)
    for encoded in (encoder.encode_rows(rows), encoder.encode_arrow(plain.batch)):
        assert [(bad.index, bad.column) for bad in encoded.bad] == [(1, "s"), (2, "j"), (3, "j")]
        assert encoded.bad[0].reason == (
            "expected text without the character NUL, which the warehouse cannot hold, got 'a\\x00b'"
        )
        assert encoded.batch.column("s").to_pylist() == ["good", None]
