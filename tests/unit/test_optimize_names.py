"""Names of what is made beside a table: unique, short enough, and known again."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from runner.layouts import backup_ref, backups_among, building_ref, index_name, is_own_index
from runner.specs import IndexSpec, TableRef, check_identifier
from runner.sql import BIGQUERY, DUCKDB, POSTGRES

TABLES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,62}", fullmatch=True).map(lambda name: TableRef("lab", name))
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
DIALECTS = st.sampled_from([BIGQUERY, DUCKDB, POSTGRES])
LONG = "x" * 60


@given(TABLES, TIMES, DIALECTS)
def test_backups_are_known_again(ref: TableRef, stamp: datetime, dialect: object) -> None:
    for each in (POSTGRES, DUCKDB):
        backup = backup_ref(ref, stamp, each)
        assert len(check_identifier(backup.table)) <= each.name_length
        names = [ref.table, backup.table, f"{backup.table}x", "other"]
        assert backups_among(names, ref, each) == [backup]
        assert len(check_identifier(building_ref(ref, each).table)) <= each.name_length
        assert building_ref(ref, each) not in (ref, backup)


@given(TABLES, TABLES, TIMES)
def test_no_table_has_the_backup_of_another(one: TableRef, other: TableRef, stamp: datetime) -> None:
    if one != other:
        assert backups_among([backup_ref(one, stamp, POSTGRES).table], other, POSTGRES) == []
        assert building_ref(one, POSTGRES) != building_ref(other, POSTGRES)


def test_long_names_that_begin_alike_stay_apart() -> None:
    stamp = datetime(2026, 2, 12, tzinfo=UTC)
    one, other = TableRef("lab", f"{LONG}_a"), TableRef("lab", f"{LONG}_b")
    assert backup_ref(one, stamp, POSTGRES) != backup_ref(other, stamp, POSTGRES)
    assert backups_among([backup_ref(one, stamp, POSTGRES).table], other, POSTGRES) == []


def test_backups_stand_in_the_order_of_time() -> None:
    ref = TableRef("lab", "readings")
    times = [datetime(2026, month, 1, tzinfo=UTC) for month in (3, 1, 2)]
    names = [backup_ref(ref, time, POSTGRES).table for time in times]
    assert [one.table for one in backups_among(names, ref, POSTGRES)] == sorted(names)


def test_an_index_is_named_by_what_it_is() -> None:
    ref = TableRef("lab", "readings")
    first = IndexSpec(columns=("device",), where="value IS NULL")
    same = IndexSpec(columns=("device",), where="value  IS\n NULL")
    others = [
        IndexSpec(columns=("device",)),
        IndexSpec(columns=("device",), where="value IS NULL", include=("at",)),
        IndexSpec(columns=("device", "at"), where="value IS NULL"),
    ]
    name = index_name(ref, first, POSTGRES)
    assert name == index_name(ref, same, POSTGRES)
    assert name.startswith("readings_device_rp_")
    names = {index_name(ref, index, POSTGRES) for index in [first, *others]}
    names |= {index_name(TableRef(LONG, LONG), index, POSTGRES) for index in [first, *others]}
    assert len(names) == 8
    assert all(is_own_index(each) and len(each) <= POSTGRES.name_length for each in names)


def test_other_indexes_are_not_ours() -> None:
    for name in (
        "readings_device_idx",
        "_rp_",
        "x_rp_0123456",
        "x_rp_0123456789",
        "x_rp_0123456G",
        "Übung_rp_01234567",
    ):
        assert not is_own_index(name)
