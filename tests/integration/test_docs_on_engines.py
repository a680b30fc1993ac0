"""How-tos that speak of every engine, followed on servers as they are on DuckDB (test_docs.py)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.sql import DIALECTS
from tests.documents import Reader, blocks
from tests.engines import new_engine
from tests.warm_processes import ROOT, warm_programs

DOCS = ROOT / "docs"
QUERY = """
import os, sys

def rows(text):
    if os.environ["RUN_PIPELINE_WAREHOUSE__KIND"] == "postgres":
        import psycopg
        with psycopg.connect(os.environ["RUN_PIPELINE_WAREHOUSE__DSN"]) as connection:
            return connection.execute(text).fetchall()
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery
    client = bigquery.Client(
        os.environ["RUN_PIPELINE_WAREHOUSE__PROJECT"], credentials=AnonymousCredentials(),
        client_options={"api_endpoint": os.environ["RUN_PIPELINE_WAREHOUSE__ENDPOINT"]},
    )
    return [row.values() for row in client.query_and_wait(text)]

for row in rows(sys.argv[1]):
    print("│", " │ ".join(map(str, row)), "│")
"""
"""What `query.py` of the tutorial is on a server."""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with `run-pipeline` and `python` of this checkout. (Its path is short: it holds a socket.)"""
    with warm_programs(tmp_path_factory.mktemp("p") / "bin") as folder:
        yield folder


@pytest.fixture(scope="module")
def tutorial(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of the tutorial as it is at its end, without a run."""
    folder = tmp_path_factory.mktemp("tutorial")
    Reader(folder, programs).follow(DOCS / "tutorial.md")
    shutil.rmtree(folder / "demo" / "var")
    return folder / "demo"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("document", ["unexpected-rows", "rescore"])
@pytest.mark.parametrize("name", ["postgres-18", pytest.param("bigquery", marks=pytest.mark.chaos)])
def test_a_document_holds_on_a_server(
    document: str, name: str, tutorial: Path, programs: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    project = Path(shutil.copytree(tutorial, tmp_path / "demo"))
    (project / "query.py").write_text(QUERY)
    text = (DOCS / "how-to" / f"{document}.md").read_text(encoding="utf-8")
    with new_engine(name, request, tmp_path) as engine:
        variables = {
            f"RUN_PIPELINE_WAREHOUSE__{key.upper()}": value for key, value in engine.warehouse.items()
        }
        reader = Reader(project, programs, **variables)
        for pipeline in ("hello", "shop"):
            done = reader.shell(f"run-pipeline {pipeline}")
            assert done.returncode == 0, done.stdout
        own = tmp_path / f"{document}.md"
        own.write_text(as_on(engine.warehouse["kind"], text), encoding="utf-8")
        assert len(blocks(own)) > 10

        reader.follow(own)

        tables = engine.tables()
        assert tables["shop.totals"]
        assert not (project / "var" / "warehouse.duckdb").exists()


def as_on(engine: str, text: str) -> str:
    """Return a document as it would show this engine: the name of its text type, what it billed, and no copy of
    DuckDB's file.
    """
    if engine == "bigquery":
        text = text.replace("; details:", ", 0 B billed; details:")
        text = re.sub(r"^(  (step|read_totals)  .*)$", r"\1…", text, flags=re.MULTILINE)
    text = text.replace("VARCHAR", DIALECTS[engine].types["string"])
    return re.sub(r"```sh\ncp var/warehouse.duckdb .*?```", "", text, flags=re.DOTALL)
