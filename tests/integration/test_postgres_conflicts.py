"""Several writers of one table in PostgreSQL: each key once, and who loses tries again."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from runner.ports import WriteTarget
from runner.records import Status
from tests.postgres_lab import open_lab
from tests.projects import ThrowAwayProject, extract, job_of, make_project, project, step_of, write
from tests.servers.postgres import PostgresDatabase
from tests.warehouse_lab import EVENTS, Lab, batch_of

__all__ = ["make_project", "project"]

UPSERT = WriteTarget(step_id="write", table=EVENTS, mode="upsert", key=("id",))
FUNCTIONS = """
    def given():
        yield {"k": "a", "n": 1}
"""
NOT_AT_FIRST = """
CREATE FUNCTION out.not_at_first() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF nextval('out.tries') < 3 THEN RAISE EXCEPTION 'not yet' USING ERRCODE = '{sqlstate}'; END IF;
  RETURN NEW;
END $$
"""


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"], ids=["serialisation failure", "deadlock"])
@pytest.mark.parametrize(("retries", "status"), [(2, Status.SUCCESS), (1, Status.FAILURE)])
def test_a_conflict_is_tried_again_as_often_as_the_step_says(
    project: ThrowAwayProject,
    postgres_database: PostgresDatabase,
    sqlstate: str,
    retries: int,
    status: Status,
) -> None:
    project.table("out.numbers", "k string, n int64", key=["k"])
    project.functions(FUNCTIONS)
    project.job("job", extract("given"), write("out.numbers", retries=retries))
    for text in (
        "CREATE SCHEMA out", "CREATE SEQUENCE out.tries", "CREATE TABLE out.numbers (k text, n bigint)",
        NOT_AT_FIRST.format(sqlstate=sqlstate),
        "CREATE TRIGGER t BEFORE INSERT ON out.numbers FOR EACH ROW EXECUTE FUNCTION out.not_at_first()",
    ):  # fmt: skip
        postgres_database.fetch(text)

    run = project.run("job", warehouse={"kind": "postgres", "dsn": postgres_database.uri})

    assert (run.status, step_of(job_of(run), "write").attempts) == (status, retries + 1)
    assert postgres_database.fetch("SELECT k, n FROM out.numbers") == [("a", 1)] * (status is Status.SUCCESS)
    assert [error.category for error in job_of(run).errors] == ["conflict"] * (status is Status.FAILURE)


@pytest.mark.asyncio
@pytest.mark.parametrize("postgres_server", [15, 18], indirect=True)
@pytest.mark.parametrize("unique", [False, True], ids=["any index", "unique index"])
async def test_several_processes_upsert_the_same_keys_at_once_and_each_stands_there_once(
    tmp_path: Path, postgres_database: PostgresDatabase, unique: bool
) -> None:
    """Warehouses of their own know nothing of each other, as processes do not."""
    uri = postgres_database.uri
    async with open_lab(uri, tmp_path, EVENTS) as one, open_lab(uri, tmp_path, EVENTS) as other:
        if unique:
            await anyio.to_thread.run_sync(
                postgres_database.fetch, "CREATE UNIQUE INDEX u ON lab.events (id)"
            )

        async def land(lab: Lab, first: int) -> None:
            rows = [(f"e{n}", "x", first, None) for n in range(first, first + 50)]
            await lab.land(UPSERT, batch_of(EVENTS, EVENTS.column_names, rows))

        def by_hand() -> None:
            for n in range(0, 100, 5):
                postgres_database.fetch(
                    "INSERT INTO lab.events (id, n) VALUES (%s, -1) ON CONFLICT (id) DO NOTHING", f"e{n}"
                )

        async with anyio.create_task_group() as tasks:
            for round_ in range(6):
                tasks.start_soon(land, one, 10 * round_)
                tasks.start_soon(land, other, 10 * round_)
            if unique:
                await anyio.to_thread.run_sync(by_hand)
        found = [key for (key,) in await one.rows(EVENTS, "id")]
        assert len(found) == len(set(found)) == 100
