"""Texts that PostgreSQL cannot hold: a bad row where rows are made, an error that names column and value below that."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import WarehouseError
from tests.postgres_lab import open_lab
from tests.projects import ThrowAwayProject, call, extract, job_of, make_project, project, write
from tests.servers.postgres import PostgresDatabase
from tests.warehouse_lab import EVENTS, table

__all__ = ["make_project", "project"]

FUNCTIONS = """
    def numbers():
        yield from ({"n": n} for n in range(3))

    def with_nul(row):
        return {"k": str(row["n"]), "s": "a\\x00b" if row["n"] == 1 else "ab", "j": None}

    def given():
        yield {"k": "good", "s": "text", "j": {"a": "\\\\u0000"}}
        yield {"k": "in text", "s": "a\\x00b", "j": None}
        yield {"k": "in json", "s": "text", "j": {"a": ["\\x00"]}}
"""


def test_text_with_nul_is_a_bad_row(project: ThrowAwayProject, postgres_database: PostgresDatabase) -> None:
    project.table("out.texts", "k string, s string, j json", key=["k"])
    project.functions(FUNCTIONS)
    project.job("job", extract("given"), write("out.texts", on_bad_row="quarantine"))

    run = project.run("job", warehouse={"kind": "postgres", "dsn": postgres_database.uri})

    assert (job_of(run).rows_written, job_of(run).rows_quarantined) == (1, 2)
    assert postgres_database.fetch("SELECT k, j->>'a' FROM out.texts") == [("good", r"\u0000")]
    told = postgres_database.fetch("SELECT key, column_name, reason FROM ops.quarantine ORDER BY key DESC")
    expected = "expected text without the character NUL, which the warehouse cannot hold, got"
    assert told == [
        ("k='in text'", "s", rf"{expected} 'a\x00b'"),
        ("k='in json'", "j", rf"""{expected} '{{"a":["\\u0000"]}}'"""),
    ]


def test_text_with_nul_is_a_bad_row_also_out_of_a_process(
    project: ThrowAwayProject, postgres_database: PostgresDatabase
) -> None:
    """What comes out of a process has been checked there, but not for this."""
    project.table("out.texts", "k string, s string, j json", key=["k"])
    project.functions(FUNCTIONS)
    bad_rows = {"on_bad_row": "quarantine"}
    steps = [extract("numbers"), call("with_nul", runs_in="process"), write("out.texts", **bad_rows)]
    project.job("job", *steps)

    run = project.run("job", warehouse={"kind": "postgres", "dsn": postgres_database.uri}, processes=1)

    assert (job_of(run).rows_written, job_of(run).rows_quarantined) == (2, 1)
    assert postgres_database.fetch("SELECT k, s FROM out.texts ORDER BY k") == [("0", "ab"), ("2", "ab")]


@pytest.mark.asyncio
async def test_what_is_staged_with_nul_is_an_error_that_names_column_and_value(
    tmp_path: Path, postgres_database: PostgresDatabase
) -> None:
    async with open_lab(postgres_database.uri, tmp_path) as lab:
        with pytest.raises(WarehouseError, match=r"'binding' of lab\.events .* NUL.* 'does\\x00not'"):
            await lab.fill(EVENTS, ("a", "fits", 1, None), ("b", "does\x00not", 2, None))
        assert await lab.rows(EVENTS) == []


@pytest.mark.asyncio
async def test_another_value_that_does_not_fit_is_named_by_the_server(
    tmp_path: Path, postgres_database: PostgresDatabase
) -> None:
    documents = table("documents", ["id"], id="string!", j="json")
    async with open_lab(postgres_database.uri, tmp_path, documents) as lab:
        with pytest.raises(WarehouseError, match=r"(?s)json.*line 2, column j.*ud800"):
            await lab.fill(documents, ("a", "{}"), ("b", '"\\ud800"'))
