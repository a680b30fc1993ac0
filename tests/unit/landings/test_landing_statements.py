"""The statements of landings: in every dialect one that parses and binds its values, and on DuckDB what they do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from runner.ddl import ENGINE_TABLES, LANDINGS, PROCESSED_KEYS, QUARANTINE, plan_changes, statements
from runner.landings import (
    NUMBER,
    KeyRelations,
    StagedRows,
    TrackedKeys,
    conflict_statement,
    distinct_statement,
    empty_statement,
    insert_statement,
    marker_query,
    marker_statement,
    match_of,
    merge_statement,
    quarantine_statement,
    quarantine_table,
    temporary_statement,
)
from runner.ports import BadRow, KeyTracking, Release, Statement, WriteTarget
from runner.sql import BIGQUERY, DUCKDB, POSTGRES, Dialect, Parameters
from tests.warehouse_lab import (
    OBSERVATIONS,
    PAIR_TARGET,
    STAMP,
    at,
    incremental,
    landing_of,
    table,
    where,
)

DIALECTS = [DUCKDB, POSTGRES, BIGQUERY]
UPSERT = WriteTarget(
    step_id="write",
    table=OBSERVATIONS,
    mode="upsert",
    key=("oid",),
    set_on_insert=("made",),
    set_on_write=("seen",),
)
LANDING = landing_of(UPSERT)


def relations(dialect: Dialect) -> KeyRelations:
    """Return the names that the tests use."""
    return KeyRelations(**{name: dialect.quote(name) for name in ("staged", "read", "landed", "bad")})


def staged(target: WriteTarget = UPSERT, dialect: Dialect = DUCKDB, **options: Any) -> StagedRows:
    """Return rows staged as `rows`."""
    return StagedRows(target=target, relation=dialect.quote("rows"), **options)


def tracked(dialect: Dialect = DUCKDB, **options: Any) -> TrackedKeys:
    """Return the statements about a read of EVENTS with a prefix, for OBSERVATIONS."""
    read = incremental(mode="left_anti", key_prefix="co:", source_ts="ts", target_ts="seen", **options)
    return TrackedKeys(KeyTracking(read=read, target=0), relations(dialect), dialect)


def every_statement(dialect: Dialect, parameters: Parameters | None = None) -> Iterator[Statement]:
    """Yield each statement that there is, its values bound apart or in `parameters`."""

    def names() -> Parameters:
        return Parameters(dialect) if parameters is None else parameters

    rows = staged(dialect=dialect, casts={"float64": "CAST({} AS FLOAT)"})
    for target in (UPSERT, replace(UPSERT, mode="insert_missing")):
        for duplicates in (True, False):
            kept = replace(rows, target=target)
            yield insert_statement(kept, STAMP, names(), duplicates=duplicates)
            for matching in (True, False):
                yield merge_statement(kept, STAMP, names(), matching=matching, duplicates=duplicates)
            if dialect is not BIGQUERY:
                yield conflict_statement(kept, STAMP, names(), duplicates=duplicates)
    yield distinct_statement(rows, dialect)
    yield empty_statement(OBSERVATIONS, dialect)
    yield quarantine_statement(relations(dialect).bad, dialect)
    yield marker_statement(LANDING, 0, 3, STAMP, names())
    yield marker_statement(LANDING, 0, "1 + 2", STAMP, names())
    yield marker_query("run", 0, names())
    release = Release(filters=(where("v", 0.5),), quarantined=True)
    keys = tracked(dialect, release=release)
    for times in (True, False):
        yield temporary_statement(relations(dialect).read, keys.read_keys(names(), times=times))
    for landed in (None, rows):
        yield temporary_statement(relations(dialect).landed, keys.landed_keys(landed))
    yield keys.match(names())
    deleted = keys.delete_released(names())
    assert deleted is not None
    yield deleted
    yield keys.forget(names())
    for ineffective in (None, True, False):
        yield keys.remember(LANDING, names(), ineffective=ineffective)


def placeholders(text: str, dialect: Dialect) -> set[str]:
    """Return the names that a statement wants values for, as sqlglot reads it."""
    found = sqlglot.parse(text, read=dialect.name)
    assert len(found) == 1
    assert found[0] is not None
    nodes = [*found[0].find_all(exp.Placeholder), *found[0].find_all(exp.Parameter)]
    return {node.name for node in nodes}


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: str(dialect.name))
def test_every_statement_is_one_and_binds_exactly_its_values(dialect: Dialect) -> None:
    for statement in every_statement(dialect):
        assert placeholders(statement.text, dialect) == set(statement.values), statement.text


def test_bigquery_is_not_asked_to_partition_by_a_float() -> None:
    """It refuses that: "Partitioning by expressions of type FLOAT64 is not allowed"."""
    target = WriteTarget(step_id="write", table=OBSERVATIONS, mode="upsert", key=("oid", "v"))
    text = merge_statement(staged(target, BIGQUERY), STAMP, Parameters(BIGQUERY)).text
    assert "PARTITION BY r.`oid`, CAST(r.`v` + 0 AS STRING) ORDER BY" in text


def test_statements_of_a_script_share_their_values_under_names_of_their_own() -> None:
    script = Parameters(BIGQUERY)
    texts = [statement.text for statement in every_statement(BIGQUERY, script)]
    wanted = [placeholders(text, BIGQUERY) for text in texts]
    assert set().union(*wanted) == set(script.values)
    assert sum(len(names) for names in wanted) == len(script.values)


@pytest.fixture
def cursor() -> Iterator[duckdb.DuckDBPyConnection]:
    """Return a DuckDB with the suite's tables and the engine's, and a relation `rows` of four staged rows."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for text in statements(plan_changes([OBSERVATIONS, PAIR_TARGET, *ENGINE_TABLES], {}, DUCKDB), DUCKDB):
        connection.execute(text)
    connection.execute(
        f"CREATE TABLE rows AS SELECT oid, id, v::DOUBLE AS v, {NUMBER} "
        "FROM (VALUES ('1', 'co:a', 1.0, 0), ('2', 'co:b', 2.0, 1), "
        f"('1', 'co:a', 3.0, 2), ('3', 'co:x', 4.0, 3)) AS v(oid, id, v, {NUMBER})"
    )
    yield connection
    connection.close()


def sent(cursor: duckdb.DuckDBPyConnection, statement: Statement) -> list[tuple[Any, ...]]:
    """Send a statement and return its rows."""
    return cursor.execute(statement.text, statement.values or None).fetchall()


def observed(cursor: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """Return the observations: oid, v, and the minutes of their stamps."""
    return cursor.execute(
        'SELECT oid, v, minute(made)::INT, minute(seen)::INT FROM "lab"."observations" ORDER BY oid'
    ).fetchall()


@pytest.mark.parametrize("unique", [False, True])
def test_an_upsert_lands_the_last_of_each_key_and_keeps_the_stamp_of_its_insert(
    cursor: duckdb.DuckDBPyConnection, unique: bool
) -> None:
    if unique:
        cursor.execute('CREATE UNIQUE INDEX one ON "lab"."observations" (oid)')
    build = conflict_statement if unique else merge_statement
    assert sent(cursor, distinct_statement(staged(), DUCKDB)) == [(3,)]
    assert sent(cursor, build(staged(), at(1), Parameters(DUCKDB))) == [(3,)]
    cursor.execute("UPDATE rows SET v = v + 10 WHERE oid = '1'")
    assert sent(cursor, build(staged(), at(2), Parameters(DUCKDB))) == [(3,)]
    assert observed(cursor) == [("1", 13.0, 1, 2), ("2", 2.0, 1, 2), ("3", 4.0, 1, 2)]


@pytest.mark.parametrize("unique", [False, True])
def test_insert_missing_leaves_what_is_there(cursor: duckdb.DuckDBPyConnection, unique: bool) -> None:
    if unique:
        cursor.execute('CREATE UNIQUE INDEX one ON "lab"."observations" (oid)')
    build = conflict_statement if unique else merge_statement
    cursor.execute('INSERT INTO "lab"."observations" (oid, v) VALUES (\'1\', 99)')
    missing = staged(replace(UPSERT, mode="insert_missing"))
    assert sent(cursor, build(missing, at(1), Parameters(DUCKDB))) == [(2,)]
    assert observed(cursor) == [("1", 99.0, None, None), ("2", 2.0, 1, 1), ("3", 4.0, 1, 1)]


def test_an_insert_takes_all_rows_or_the_last_of_each_key(cursor: duckdb.DuckDBPyConnection) -> None:
    assert sent(cursor, insert_statement(staged(), at(1), Parameters(DUCKDB))) == [(4,)]
    assert sent(cursor, empty_statement(OBSERVATIONS, DUCKDB)) == [(4,)]
    assert sent(cursor, insert_statement(staged(), at(1), Parameters(DUCKDB), duplicates=True)) == [(3,)]
    assert observed(cursor)[0] == ("1", 3.0, 1, 1)


def test_staged_values_of_another_type_are_cast(cursor: duckdb.DuckDBPyConnection) -> None:
    cursor.execute("ALTER TABLE rows ALTER v TYPE VARCHAR USING v || 'x'")
    rows = staged(casts={"float64": "CAST(replace({}, 'x', '') AS DOUBLE)"})
    sent(cursor, merge_statement(rows, at(1), Parameters(DUCKDB)))
    assert [row[1] for row in observed(cursor)] == [3.0, 2.0, 4.0]


def read_keys(cursor: duckdb.DuckDBPyConnection, keys: TrackedKeys, rows: StagedRows | None) -> None:
    """Make the relations of the tests: the keys a (twice), b and c were read, and one that is NULL."""
    cursor.execute(
        "CREATE TABLE staged AS SELECT id, ts::TIMESTAMPTZ AS ts FROM (VALUES ('a', '2026-01-01'), "
        "('a', '2026-01-02'), ('b', NULL), ('c', NULL), (NULL, NULL)) AS v(id, ts)"
    )
    bad = quarantine_table(LANDING, [BadRow(step_id="s", key="c", column="v", reason="no", content="{}")] * 2)
    cursor.register("bad", bad)
    for name, rows_of in (
        ("read", keys.read_keys(Parameters(DUCKDB), times=True)),
        ("landed", keys.landed_keys(rows)),
    ):
        sent(cursor, temporary_statement(f'"{name}"', rows_of))


def remembered(cursor: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """Return what is remembered."""
    return cursor.execute(
        f"SELECT key, reason, source_ts::VARCHAR FROM {DUCKDB.qualified(PROCESSED_KEYS.ref)} ORDER BY key"
    ).fetchall()


def test_figures_and_samples_of_keys(cursor: duckdb.DuckDBPyConnection) -> None:
    keys = tracked()
    read_keys(cursor, keys, staged())
    match = match_of("read", sent(cursor, keys.match(Parameters(DUCKDB))))
    assert (match.read, match.staged, match.matched, match.null_keys) == (3, 3, 2, 1)
    assert match.read_samples == ("a", "b", "c")
    assert match.staged_samples == ("co:a", "co:b", "co:x")
    assert not match.ineffective


@pytest.mark.parametrize("ineffective", [None, False])
def test_keys_without_a_row_are_remembered_with_their_latest_time(
    cursor: duckdb.DuckDBPyConnection, ineffective: bool | None
) -> None:
    keys = tracked()
    cursor.execute("DELETE FROM rows WHERE id = 'co:a'")
    read_keys(cursor, keys, staged())
    for _ in range(2):
        sent(cursor, keys.forget(Parameters(DUCKDB)))
        assert sent(cursor, keys.remember(LANDING, Parameters(DUCKDB), ineffective=ineffective)) == [(2,)]
    assert remembered(cursor) == [("a", "empty", "2026-01-02 00:00:00+00"), ("c", "quarantined", None)]


@pytest.mark.parametrize("ineffective", [None, True])
def test_keys_that_do_not_fit_are_not_remembered_as_empty(
    cursor: duckdb.DuckDBPyConnection, ineffective: bool | None
) -> None:
    keys = tracked()
    cursor.execute("UPDATE rows SET id = 'other:' || id")
    read_keys(cursor, keys, staged())
    assert match_of("read", sent(cursor, keys.match(Parameters(DUCKDB)))).ineffective
    sent(cursor, keys.remember(LANDING, Parameters(DUCKDB), ineffective=ineffective))
    assert remembered(cursor) == [("c", "quarantined", None)]


@pytest.mark.parametrize("ineffective", [None, False])
def test_without_staged_rows_every_key_is_empty(
    cursor: duckdb.DuckDBPyConnection, ineffective: bool | None
) -> None:
    keys = tracked()
    read_keys(cursor, keys, None)
    match = match_of("read", sent(cursor, keys.match(Parameters(DUCKDB))))
    assert (match.staged, match.staged_samples, match.ineffective) == (0, (), False)
    sent(cursor, keys.remember(LANDING, Parameters(DUCKDB), ineffective=ineffective))
    assert [row[:2] for row in remembered(cursor)] == [
        ("a", "empty"),
        ("b", "empty"),
        ("c", "quarantined"),
    ]


def test_a_rescore_deletes_what_it_released_of_the_keys_read(cursor: duckdb.DuckDBPyConnection) -> None:
    keys = tracked(release=Release(filters=(where("v", 1, "<="),)))
    read_keys(cursor, keys, None)
    cursor.execute(
        'INSERT INTO "lab"."observations" (oid, id, v) '
        "VALUES ('1', 'co:a', 1), ('2', 'co:a', 2), ('3', 'co:z', 1), ('4', 'co:b', NULL)"
    )
    deleted = keys.delete_released(Parameters(DUCKDB))
    assert deleted is not None
    assert sent(cursor, deleted) == [(1,)]
    assert [row[0] for row in observed(cursor)] == ["2", "3", "4"]
    assert tracked().delete_released(Parameters(DUCKDB)) is None


def test_composite_keys_are_compared_part_by_part(cursor: duckdb.DuckDBPyConnection) -> None:
    read = incremental(PAIR_TARGET, source_key=["a", "b"], target_key=["c", "d"])
    keys = TrackedKeys(KeyTracking(read=read, target=0), relations(DUCKDB), DUCKDB)
    target = WriteTarget(step_id="w", table=PAIR_TARGET, mode="upsert", key=("c", "d"))
    cursor.execute("CREATE TABLE staged AS SELECT * FROM (VALUES ('x', 1), ('x', 2)) AS v(a, b)")
    cursor.execute("CREATE OR REPLACE TABLE rows AS SELECT 'x' AS c, 2::BIGINT AS d")
    for name, query in (
        ("read", keys.read_keys(Parameters(DUCKDB), times=False)),
        ("landed", keys.landed_keys(staged(target))),
    ):
        sent(cursor, temporary_statement(f'"{name}"', query))
    match = match_of("read", sent(cursor, keys.match(Parameters(DUCKDB))))
    assert (match.read, match.staged, match.matched) == (2, 1, 1)
    assert match.staged_samples == ('["x","2"]',)


def test_refused_rows_and_the_marker_stand_in_the_engine_s_tables(cursor: duckdb.DuckDBPyConnection) -> None:
    bad = BadRow(step_id="s", key=None, column="", reason="because", content="{}")
    cursor.register("bad", quarantine_table(LANDING, [bad, bad]))
    sent(cursor, quarantine_statement('"bad"', DUCKDB))
    where_from = f"FROM {DUCKDB.qualified(QUARANTINE.ref)}"
    assert cursor.execute(f"SELECT count(DISTINCT quarantine_id) {where_from}").fetchall() == [(2,)]
    assert quarantine_table(LANDING, []).num_rows == 0
    run = LANDING.job_run_id
    assert sent(cursor, marker_query(run, 0, Parameters(DUCKDB))) == []
    sent(cursor, marker_statement(LANDING, 0, 7, datetime.now(UTC), Parameters(DUCKDB)))
    assert sent(cursor, marker_query(run, 0, Parameters(DUCKDB))) == [(1,)]
    assert sent(cursor, marker_query(run, 1, Parameters(DUCKDB))) == []
    assert cursor.execute(f"SELECT rows FROM {DUCKDB.qualified(LANDINGS.ref)}").fetchall() == [(7,)]


def test_a_table_of_only_keys_is_left_alone_where_they_match() -> None:
    keys = table("keys", ["k"], k="string!")
    target = WriteTarget(step_id="w", table=keys, mode="upsert", key=("k",))
    assert "WHEN MATCHED" not in merge_statement(staged(target), STAMP, Parameters(DUCKDB)).text
    assert conflict_statement(staged(target), STAMP, Parameters(POSTGRES)).text.endswith('("k") DO NOTHING')
