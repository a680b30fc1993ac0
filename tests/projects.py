"""Projects for tests: a small one written on the spot, and the reference project with state of its own.

A throw-away project has its own folder, package and DuckDB file. Declarations are plain dictionaries, written
as JSON, which is YAML. Functions are Python text, in the module `steps` of the project's package.
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import duckdb
import pyarrow as pa
import pytest
from blockbuster import blockbuster_ctx

from runner.ddl import ENGINE_TABLES, statements
from runner.events import Event
from runner.loader import open_project
from runner.pipeline_runner import PipelineRunner
from runner.ports import Release, TableChange
from runner.records import PipelineRun, RunRecord, StepTiming
from runner.settings import Settings
from runner.specs import TableSpec
from runner.sql import DUCKDB
from runner.types import RowEncoder

REPOSITORY = Path(__file__).parents[1]
"""The reference project is the repository itself."""

FAST = {"base_delay": 0.001, "max_delay": 0.002}
"""Retry settings for tests: seconds."""

Step = dict[str, Any]


class ThrowAwayProject:
    """A project below `folder`, whose code is the package `package` (unique in the process)."""

    def __init__(self, folder: Path, package: str) -> None:
        self.root = folder
        self.package = package
        self._tables: dict[str, list[Mapping[str, Any]]] = {}
        self._write("configs/runner.toml", f'package = "{package}"\n')
        self._write(f"{package}/__init__.py", "")

    def table(self, name: str, columns: str, *, key: Sequence[str] = (), **more: Any) -> None:
        """Declare `dataset.table`; `columns` as in "id string!, value int64" (`!`: required)."""
        dataset, _, table = name.partition(".")
        declared = []
        for column in columns.split(","):
            column_name, column_type = column.split()
            required = {"required": True} if column_type.endswith("!") else {}
            declared.append({"name": column_name, "type": column_type.rstrip("!"), **required})
        tables = self._tables.setdefault(dataset, [])
        tables.append({"table": table, "columns": declared, "key": list(key), **more})
        self._declare(f"tables/{dataset}", {"dataset": dataset, "tables": tables})

    def job(self, job_id: str, *steps: Step, **more: Any) -> None:
        """Declare a job; functions are named without their module."""
        own = [
            step | {"function": f"{self.package}.steps:{step['function']}"} if "function" in step else step
            for step in steps
        ]
        self._declare(f"jobs/{job_id}", {"job_id": job_id, **more, "steps": own})

    def pipeline(self, pipeline_id: str, **more: Any) -> None:
        """Declare a pipeline."""
        self._declare(f"pipelines/{pipeline_id}", {"pipeline_id": pipeline_id, **more})

    def functions(self, source: str) -> None:
        """Write the module `steps` of the project's package."""
        self._write(f"{self.package}/steps.py", textwrap.dedent(source))

    def settings(self, **overrides: Any) -> Settings:
        """Return the project's settings."""
        return Settings.load(self.root, **overrides)

    def run(
        self,
        name: str,
        *,
        on_event: Callable[[Event], None] | None = None,
        releases: Mapping[str, Release] | None = None,
        fail_fast: bool = False,
        params: Mapping[str, str] | None = None,
        notify: bool = True,
        backend: str = "asyncio",
        **overrides: Any,
    ) -> PipelineRun:
        """Run once, with a runner that is opened and closed for it. `overrides` are settings.

        Fails when the engine blocks the event loop.
        """
        settings = self.settings(**{"retries": FAST, **overrides})

        async def execute() -> PipelineRun:
            async with PipelineRunner.open(settings) as pipelines:
                with blockbuster_ctx("runner"):
                    return await pipelines.run(
                        name,
                        on_event=on_event,
                        releases=releases,
                        fail_fast=fail_fast,
                        params=params,
                        notify=notify,
                    )

        return anyio.run(execute, backend=backend)

    def fill(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows into a declared table, made if it is missing. No runner may have the file open."""
        table = self.declared(name)
        columns = [column for column in table.columns if any(column.name in row for row in rows)]
        batch = RowEncoder(columns).encode_rows([dict(row) for row in rows]).batch
        with self.database() as connection:
            for statement in statements([TableChange(kind="create", table=table)], DUCKDB):
                connection.execute(statement)
            connection.register("incoming", pa.Table.from_batches([batch]))
            names = ", ".join(f'"{column.name}"' for column in columns)
            connection.execute(f"INSERT INTO {name} ({names}) SELECT {names} FROM incoming")

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Return what a query gives. No runner may have the file open."""
        with self.database() as connection:
            return rows_of(connection, query)

    @contextmanager
    def database(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the project's DuckDB file by hand."""
        file = self.settings().warehouse_path
        file.parent.mkdir(parents=True, exist_ok=True)
        with open_file(file) as connection:
            yield connection

    def declared(self, name: str) -> TableSpec:
        """Return the declaration of a table."""
        return next(table for table in open_project(self.settings()).tables() if str(table.ref) == name)

    def module(self) -> Any:
        """Return the module `steps` as the last run left it."""
        return sys.modules[f"{self.package}.steps"]

    def forget(self) -> None:
        """Take the project's code out of the process."""
        for module in [m for m in sys.modules if m == self.package or m.startswith(f"{self.package}.")]:
            del sys.modules[module]

    def _declare(self, path: str, content: Mapping[str, Any]) -> None:
        self._write(f"configs/{path}.yaml", json.dumps(content, indent=1))

    def _write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def read(name: str, *, step_id: str = "read", **more: Any) -> Step:
    """Declare a `read` of `dataset.table`."""
    return {"step_id": step_id, "op": "read", **_table(name), **more}


def call(
    function: str, *, step_id: str = "", arguments: Mapping[str, Any] | None = None, **more: Any
) -> Step:
    """Declare a `call` of a function with `arguments`; the step is named after it."""
    return {
        "step_id": step_id or function, "op": "call", "function": function, "with": arguments or {}, **more
    }  # fmt: skip


def extract(
    function: str, *, step_id: str = "extract", arguments: Mapping[str, Any] | None = None, **more: Any
) -> Step:
    """Declare an `extract` by a function with `arguments`."""
    return {"step_id": step_id, "op": "extract", "function": function, "with": arguments or {}, **more}


def write(name: str, *, step_id: str = "write", mode: str = "upsert", **more: Any) -> Step:
    """Declare a `write` to `dataset.table`."""
    return {"step_id": step_id, "op": "write", **_table(name), "mode": mode, **more}


def not_exists(name: str, key: str, **more: Any) -> dict[str, Any]:
    """Declare an incremental read against `dataset.table`, by `key` on both sides unless `more` says else."""
    dataset, _, table = name.partition(".")
    return {
        "mode": "not_exists",
        "target_dataset": dataset,
        "target_table": table,
        "source_key": key,
        "target_key": key,
        **more,
    }


def _table(name: str) -> dict[str, str]:
    dataset, _, table = name.partition(".")
    return {"dataset": dataset, "table": table}


def job_of(run: PipelineRun, job_id: str = "") -> RunRecord:
    """Return the record of one job, of the only one without an id."""
    if not job_id:
        (record,) = run.jobs
        return record
    return next(record for record in run.jobs if record.job_id == job_id)


def step_of(record: RunRecord, step_id: str) -> StepTiming:
    """Return the timing of one step."""
    return next(timing for timing in record.step_timings if timing.step_id == step_id)


@contextmanager
def open_file(file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a DuckDB file by hand, in UTC."""
    with duckdb.connect(str(file)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def rows_of(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    """Return rows as dictionaries. Through Arrow, which needs no pytz for times."""
    found: list[dict[str, Any]] = connection.sql(query).to_arrow_table().to_pylist()
    return found


def digests(file: Path, *, without: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return every table of a DuckDB file as sorted lines of text; columns in `without` are left out.

    The tables of the engine are left out, but for the keys that are remembered and the reasons of bad rows.
    """
    kept = {"ops.processed_keys", "ops.quarantine"}
    engine = {str(table.ref) for table in ENGINE_TABLES} - kept
    with open_file(file) as connection:
        columns = rows_of(
            connection,
            "SELECT schema_name || '.' || table_name AS name, list(column_name ORDER BY column_index) AS columns "
            "FROM duckdb_columns() WHERE NOT internal GROUP BY ALL",
        )
        found = {}
        for table in columns:
            if table["name"] in engine:
                continue
            names = ", ".join(f'"{column}"' for column in table["columns"] if column not in without)
            lines = connection.execute(f"SELECT (ROW({names}))::VARCHAR FROM {table['name']}").fetchall()
            found[table["name"]] = sorted(line for (line,) in lines)
        return found


PROCESSING = (
    "ingested_at", "seen_at", "created_at", "canonicalized_at", "processed_at", "recorded_at", "landed_at",
    "run_id", "job_run_id", "quarantine_id",
)  # fmt: skip
"""Columns that differ between two runs over the same input: times of processing, and ids of runs."""


class ReferenceProject:
    """The reference project over a copy of its samples, with state of its own, both below `folder`.

    `samples`: a copy that several have in common.
    """

    def __init__(self, folder: Path, samples: Path | None = None) -> None:
        self.samples = samples or folder / "samples"
        self.state = folder / "state"
        if not self.samples.exists():
            shutil.copytree(REPOSITORY / "configs" / "samples", self.samples)

    @property
    def params(self) -> dict[str, str]:
        """The parameters that point at the copy."""
        places = {
            "inbox_mbox": "inbox.mbox",
            "archive_mbox": "archive.mbox",
            "maildir": "maildir",
            "eml_dir": "eml",
            "forms_dir": "forms",
        }
        return {name: str(self.samples / place) for name, place in places.items()}

    @property
    def warehouse_file(self) -> Path:
        """Its DuckDB file."""
        return self.settings().warehouse_path

    def settings(self, **overrides: Any) -> Settings:
        """Return the repository's settings, with the state elsewhere."""
        return Settings.load(REPOSITORY, state_dir=self.state, **overrides)

    def run(
        self,
        name: str = "daily",
        *,
        on_event: Callable[[Event], None] | None = None,
        releases: Mapping[str, Release] | None = None,
        **overrides: Any,
    ) -> PipelineRun:
        """Run once, over the copied samples."""
        settings = self.settings(**overrides)

        async def execute() -> PipelineRun:
            async with PipelineRunner.open(settings) as pipelines:
                declared = {param for job in pipelines.plan(name).jobs for param in job.params}
                params = {param: value for param, value in self.params.items() if param in declared}
                with blockbuster_ctx("runner"):
                    return await pipelines.run(name, on_event=on_event, releases=releases, params=params)

        return anyio.run(execute)

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Return what a query gives. No runner may have the file open."""
        with open_file(self.warehouse_file) as connection:
            return rows_of(connection, query)


_numbers = count()


@pytest.fixture
def make_project(tmp_path: Path) -> Iterator[Callable[[], ThrowAwayProject]]:
    """Make throw-away projects, each in its own folder and with a package of its own name."""
    projects: list[ThrowAwayProject] = []

    def make() -> ThrowAwayProject:
        name = f"project_{next(_numbers)}"
        project = ThrowAwayProject(tmp_path / name, name)
        projects.append(project)
        return project

    yield make
    for project in projects:
        project.forget()


@pytest.fixture
def project(make_project: Callable[[], ThrowAwayProject]) -> ThrowAwayProject:
    """One throw-away project."""
    return make_project()
