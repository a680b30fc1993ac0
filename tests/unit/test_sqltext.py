"""Texts of statements: which `:name` is a placeholder, values that are only ever bound, and what a statement does."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.sqltext import ENGINES, SqlMistake, bind, pieces, placeholders, position
from runner.sqltext.analysis import analyse

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="'\"$\\`/*-:;#\n\0"), max_size=12)
COLONS = st.lists(
    st.sampled_from([":a", ":b ", "::", ":", " ", "x", "$", ";", "--", "/*", "*/"]), max_size=6
).map("".join)


def quoted(kind: str, inside: str) -> str:
    """Return text in which no colon is a placeholder, for DuckDB and PostgreSQL."""
    match kind:
        case "text":
            return "'" + inside.replace("'", "''") + "'"
        case "name":
            return '"' + (inside.replace('"', '""') or "x") + '"'
        case "dollar":
            return "$q$" + inside.replace("$q$", "").replace("$", "") + "$q$"
        case "line":
            return "--" + inside.replace("\n", " ") + "\n"
        case _:
            return "/*" + inside.replace("/*", "").replace("*/", "").replace("/", "").replace("*", "") + "*/"


PIECES = st.one_of(
    st.tuples(st.just("placeholder"), NAMES),
    st.tuples(st.sampled_from(["text", "name", "dollar", "line", "block"]), COLONS),
    st.tuples(st.just("code"), PLAIN),
)


@pytest.mark.parametrize("engine", ["duckdb", "postgres"])
@given(parts=st.lists(PIECES, max_size=12))
def test_placeholders_are_found_and_nothing_else_is(engine: str, parts: list[tuple[str, str]]) -> None:
    texts = [
        f":{inside}" if kind == "placeholder" else quoted(kind, inside) if kind != "code" else inside
        for kind, inside in parts
    ]
    text = " " + " ".join(texts)
    wanted = [inside for kind, inside in parts if kind == "placeholder"]
    assert [name for name, _ in placeholders(text, engine)] == wanted
    assert "".join(piece.text for piece in pieces(text, engine)) == text
    written, used = bind(text, engine, "<{name}>", dict.fromkeys(wanted, 1))
    assert used == dict.fromkeys(wanted, 1)
    expected = [
        f"<{inside}>" if kind == "placeholder" else each
        for (kind, inside), each in zip(parts, texts, strict=True)
    ]
    assert written == " " + " ".join(expected)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("SELECT a::INT, :b::INT, x[1:2], x[f(a):c], {'k':v}, y[a:b], :c", "b c"),
        ("SELECT (:a),:b+:c||:d=:e", "a b c d e"),
        ("SELECT $t$ :a $$ :b $t$, $$:c$$, e'\\':d', 'it''s :e'", ""),
        ("SELECT /* a /* :b */ :c */ :d", "d"),
        ("SELECT 1 -- :a\n, :b", "b"),
        ('SELECT ":a", "b"":c", :d', "d"),
        ("SELECT a$x, :b", "b"),
        ("SELECT : a", ""),
    ],
)  # fmt: skip
def test_colons_of_duckdb(text: str, names: str) -> None:
    assert [name for name, _ in placeholders(text, "duckdb")] == names.split()


def test_quotes_of_bigquery() -> None:
    text = "SELECT 'a\\':b', \"c':d\", '''e':f''', `g:h`, r'\\:i' # :j\n, :k /* :l */ FROM t WHERE x = :m"
    assert [name for name, _ in placeholders(text, "bigquery")] == ["k", "m"]


@given(text=st.text(max_size=60), engine=st.sampled_from(ENGINES))
def test_any_text_is_cut_into_pieces_or_refused_at_a_place_in_it(text: str, engine: str) -> None:
    try:
        assert "".join(piece.text for piece in pieces(text, engine)) == text
        offset = None
    except SqlMistake as mistake:
        offset = mistake.offset
    if offset is not None:
        line, column = position(text, offset)
        assert text.split("\n")[line - 1][column - 1] == text[offset]


VALUES = st.fixed_dictionaries(
    {
        "text": st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.none(),
        "number": st.integers(-(2**63), 2**63 - 1),
        "part": st.floats(allow_nan=False),
        "flag": st.booleans(),
        "moment": st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),  # noqa: DTZ001
        "many": st.lists(st.text("ab'\";:$-", max_size=3), min_size=1, max_size=3),
    }
)
"""Times without a zone: reading others back needs a library that is not installed."""

DATABASE = duckdb.connect()


@given(values=VALUES)
def test_values_come_back_whatever_they_hold(values: dict[str, Any]) -> None:
    names = ", ".join(f":{name}" for name in values)
    text, used = bind(f"SELECT {names}, ':text' -- :number", "duckdb", "${name}", values)
    with DATABASE.cursor() as cursor:
        assert cursor.execute(text, used).fetchall() == [(*values.values(), ":text")]


@pytest.mark.parametrize("value", ["' OR 1=1 --", "'; DROP TABLE t; --", "$y", ":y", "\\'", '""'])
def test_a_value_is_no_sql(value: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT 'a' AS x")
        text, used = bind("SELECT count(*) FROM t WHERE x = :x", "duckdb", "${name}", {"x": value})
        assert value not in text
        assert connection.execute(text, used).fetchall() == [(0,)]
        assert connection.execute("SELECT count(*) FROM t").fetchall() == [(1,)]


def test_only_values_that_the_text_names_are_sent() -> None:
    moment = datetime(2026, 2, 12, tzinfo=UTC)
    assert bind("SELECT :a", "duckdb", "${name}", {"a": 1, "as_of": moment}) == ("SELECT $a", {"a": 1})
    with pytest.raises(KeyError):
        bind("SELECT :b", "duckdb", "${name}", {"a": 1})


QUERIES = [
    "SELECT 1",
    "FROM d.t",
    "VALUES (1)",
    "WITH a AS (SELECT 1 AS x) SELECT * FROM a",
    "(SELECT 1) UNION ALL (SELECT 2)",
    "PIVOT d.t ON a USING sum(b)",
    "SELECT 1;",
    "  -- first\n SELECT 1 ; -- last",
]
CHANGES = [
    "INSERT INTO d.t VALUES (1)",
    "INSERT INTO d.t (a) SELECT a FROM e.u",
    "INSERT OR REPLACE INTO d.t VALUES (1)",
    "INSERT INTO d.t BY NAME SELECT 1 AS a",
    "UPDATE d.t SET a = 1 FROM e.u WHERE u.a = t.a",
    "DELETE FROM d.t",
    "DELETE FROM d.t USING e.u WHERE t.a = u.a",
    "TRUNCATE d.t",
    "TRUNCATE TABLE d.t",
    "WITH c AS (SELECT 1 AS a) INSERT INTO d.t SELECT a FROM c",
    'DELETE FROM "d"."t"',
    "MERGE INTO d.t AS t USING e.u ON t.a = u.a WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1)",
    "INSERT INTO d.t VALUES (1) ON CONFLICT DO UPDATE SET a = 2",
]


@pytest.mark.parametrize("text", QUERIES)
def test_queries(text: str) -> None:
    found = analyse(text, "duckdb")
    assert (found.kind, found.changed) == ("query", ())


@pytest.mark.parametrize("text", CHANGES)
def test_changes_and_the_table_they_change(text: str) -> None:
    found = analyse(text, "duckdb")
    assert found.kind == "change"
    (name,) = found.changed
    assert str(name) == "d.t"
    assert re.match(r'd\b|"d"', text[name.offset :])
    assert str(name) in map(str, found.tables)


def test_a_change_in_a_with_of_postgres_is_one() -> None:
    found = analyse("WITH gone AS (DELETE FROM d.t WHERE a = :a) INSERT INTO e.u SELECT 1", "postgres")
    assert found.kind == "change"
    assert {str(name) for name in found.changed} == {"d.t", "e.u"}


REFUSED = [
    "CREATE TABLE d.t (a INT)",
    "CREATE OR REPLACE VIEW d.v AS SELECT 1",
    "DROP TABLE d.t",
    "ALTER TABLE d.t ADD COLUMN b INT",
    "COPY d.t TO 'f'",
    "ATTACH 'f' AS g",
    "DETACH g",
    "USE g",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA database_size",
    "SET threads = 1",
    "RESET threads",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "CHECKPOINT",
    "VACUUM",
    "CALL f()",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE DELETE FROM d.t",
    "DESCRIBE d.t",
    "SUMMARIZE d.t",
    "SHOW TABLES",
    "EXPORT DATABASE 'f'",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE d.t",
    "",
    ";",
    "-- nothing",
    "DELETE FROM t",
    "DELETE FROM c.d.t",
    "TRUNCATE d.t, d.u",
    "DELETE FROM d.t RETURNING a",
    "SELECT a INTO d.u FROM d.t",
    "SELECT ?",
    "SELECT $1",
    "SELECT $a",
    "SELECT 'x",
    'SELECT "x',
    "SELECT /* x",
    "SELECT $$ x",
    "SELEC 1",
    "SELECT (1",
    "SELECT :ä1x$",
    "SELECT :a$",
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_no_sql_step_may_do(text: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SqlMistake) as caught:
        analyse(text, "duckdb")
    assert 0 <= caught.value.offset <= len(text)
    assert not caplog.records, "the parser's own messages go nowhere"


@given(text=st.text("SELECTFROM :a,()'\";*d.t1\n-/$?[]{}", max_size=40))
def test_any_text_is_analysed_or_refused(text: str) -> None:
    try:
        assert analyse(text, "duckdb").kind in ("query", "change")
        offset = 0
    except SqlMistake as mistake:
        offset = mistake.offset
    assert 0 <= offset <= len(text)
