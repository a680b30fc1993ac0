"""What makes the emulator quick enough for a test suite; `bigquery_launcher.py` applies it, under its own Python.

- Jobs are kept in memory and written to a file's end, which saves three transactions a job. (So
  INFORMATION_SCHEMA.JOBS is empty.)
- What a statement asks of tables that it names is asked of DuckLake's own tables: DuckDB's listings go through
  all tables of all projects, some six times a statement.
- MERGE is DuckDB's where that can do it, not eight statements; whether a row matches twice is not looked at then.
- Types of INFORMATION_SCHEMA, which is a long text, are not worked out.
- DuckDB looks for pandas, which is not there, some 70 times a statement: it is told once.
- A project that is removed is detached when nothing is under way: a listing fails when one goes meanwhile.
"""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
from local_bigquery.catalog import names, tables
from local_bigquery.engine import database, types
from local_bigquery.errors import not_found
from local_bigquery.jobs import merge, runner, store
from local_bigquery.models import Job, JobStatistics2
from local_bigquery.settings import settings
from local_bigquery.sql import rules
from local_bigquery.sql.rules import partitions, typing
from local_bigquery.sql.translate import translate
from sqlglot import exp
from sqlglot.expressions import core

_lock = threading.Lock()


class JobStore:
    """Jobs by project and id, as JSON text; the journal has them again after the server was killed."""

    def __init__(self, journal: Path) -> None:
        self._jobs: dict[str, dict[str, tuple[Job, str]]] = {}
        if journal.exists():
            for line in journal.read_text().splitlines():
                self._keep(Job.model_validate_json(line), line)
        self._journal = journal.open("a", buffering=1)

    def save(self, job: Job) -> Job:
        """Keep a job as it is now."""
        text = json.dumps(job.dump())
        with _lock:
            self._keep(job, text)
            self._journal.write(f"{text}\n")
        return job

    def load(self, project: str, job_id: str) -> Job | None:
        """Return a job as it was saved, as a new object."""
        with _lock:
            found = self._jobs.get(project, {}).get(job_id)
        return Job.model_validate_json(found[1]) if found else None

    def found(
        self,
        project: str,
        states: list[str] | None = None,
        parent: str | None = None,
        least: int | None = None,
        greatest: int | None = None,
    ) -> list[Job]:
        """Return the jobs of a project, newest first. `least`, `greatest`: of their creation."""
        with _lock:
            jobs = [job for job, _ in self._jobs.get(project, {}).values()]
        chosen = [
            job
            for job in jobs
            if job.statistics.parentJobId == parent
            and (states is None or job.status.state in states)
            and (least is None or int(job.statistics.creationTime) >= least)
            and (greatest is None or int(job.statistics.creationTime) <= greatest)
        ]
        chosen.sort(key=lambda job: job.jobReference.jobId)
        return sorted(chosen, key=lambda job: int(job.statistics.creationTime), reverse=True)

    def unfinished(self) -> list[Job]:
        """Return the jobs of all projects that are not done."""
        return [job for jobs in self._jobs.values() for job, _ in jobs.values() if job.status.state != "DONE"]

    def forget(self, project: str) -> None:
        """Forget the jobs of a project; the journal keeps them."""
        with _lock:
            self._jobs.pop(project, None)

    def _keep(self, job: Job, text: str) -> None:
        reference = job.jobReference
        self._jobs.setdefault(reference.projectId, {})[reference.jobId] = (job, text)


class Detacher:
    """Detaches removed projects when no request and no job is under way."""

    def __init__(self) -> None:
        self._busy = 0
        self._gone: list[str] = []

    def enter(self) -> None:
        """Note that a request has begun. `enter` and `leave` are called in the event loop alone."""
        self._busy += 1

    def leave(self) -> None:
        """Note that a request has ended."""
        self._busy -= 1
        if self._gone and not self._busy and not runner._running:
            with database._attach_lock, database.cursor() as cursor:
                while self._gone:
                    cursor.execute(f"DETACH {database.quote(self._gone.pop())}")

    def add(self, project: str) -> None:
        """Have a project detached soon; called when its files are not needed any more."""
        with _lock:
            if project in database._attached:
                database._attached.discard(project)
                self._gone.append(project)


def copy_project(source: str, target: str) -> dict[str, str]:
    """Make a new project of one whose tables are empty: much quicker than making its tables."""
    paths = [settings.data_dir / f"{name}.ducklake" for name in (source, target)]
    _write_all(source)
    shutil.copy(*paths)
    with duckdb.connect(str(paths[1])) as copied:
        files = f"{settings.data_dir / target}/"
        copied.execute("UPDATE ducklake_metadata SET value = ? WHERE key = 'data_path'", [files])
    database.attach(target)
    for resources, keys in database.RESOURCES.items():
        columns = ", ".join(keys[1:])
        database.execute(
            f"INSERT INTO emulator.{resources} SELECT $2, {columns}, replace(resource::VARCHAR, $1, $2)::JSON "
            f"FROM emulator.{resources} WHERE project_id = $1",
            [source, target],
        )
    return {"copied": source}


def _write_all(project: str) -> None:
    """Bring all that is known of a project's tables to its file. Listings of tables keep that from being done, so it
    is tried until none is under way.
    """
    log = settings.data_dir / f"{project}.ducklake.wal"
    end = time.monotonic() + 10
    while log.exists() and log.stat().st_size:
        with database.cursor() as cursor:
            try:
                cursor.execute(f"CHECKPOINT {database.quote(f'__ducklake_metadata_{project}')}")
            except duckdb.TransactionException:
                if time.monotonic() > end:
                    raise
            else:
                return
        time.sleep(0.01)


def keep_jobs_in_memory() -> JobStore:
    """Replace the emulator's store of jobs."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    jobs = JobStore(settings.data_dir / "jobs.jsonl")
    store.save, store.load, store.list_ = jobs.save, jobs.load, jobs.found
    return jobs


def look_for_no_pandas() -> None:
    """Make `import pandas` fail at once."""
    missing: Any = None
    sys.modules["pandas"] = missing


# {0}: DuckLake's own tables of a project; {1}: `table` or `view`.
_KNOWN = """
FROM {0}.ducklake_{1} AS o JOIN {0}.ducklake_schema AS s USING (schema_id)
WHERE o.end_snapshot IS NULL AND s.end_snapshot IS NULL AND s.schema_name = $1 AND o.{1}_name = $2
"""
_OBJECTS = (
    "SELECT o.table_name, 'TABLE', coalesce((SELECT max(record_count) FROM {0}.ducklake_table_stats AS t "
    f"WHERE t.table_id = o.table_id), 0) {_KNOWN.replace('{1}', 'table')} "
    f"UNION ALL SELECT o.view_name, 'VIEW', 0 {_KNOWN.replace('{1}', 'view')}"
)
_REQUIRED = (
    "SELECT c.column_name FROM {0}.ducklake_column AS c WHERE c.end_snapshot IS NULL AND NOT c.nulls_allowed "
    f"AND c.table_id IN (SELECT o.table_id {_KNOWN.replace('{1}', 'table')})"
)
_RESULTS = ("emulator", tables.RESULTS)


def ask_for_tables_by_name() -> None:
    """Replace what the emulator asks about a table that it knows the name of."""
    listed = database.objects

    def objects(project: str, dataset: str, table: str | None = None) -> list[tuple[str, str, int]]:
        if table is None:
            found: list[tuple[str, str, int]] = listed(project, dataset)
            return found
        if (project, dataset) == _RESULTS:
            return _result(table)
        return _asked(_OBJECTS, project, dataset, table)

    database.objects = objects
    tables.columns = _columns
    partitions._hidden = lambda table: False  # tables have no _PARTITIONTIME here


def _asked(question: str, project: str, dataset: str, table: str) -> list[Any]:
    """Ask DuckLake's own tables; nothing is known of a project that is not there."""
    text = question.format(database.quote(f"__ducklake_metadata_{project}"))
    try:
        found: list[Any] = database.fetch(text, [dataset, table])
    except (duckdb.CatalogException, duckdb.BinderException):
        return []
    return found


def _result(table: str) -> list[tuple[str, str, int]]:
    try:
        ((rows,),) = database.fetch(f"SELECT count(*) FROM {database.quote(*_RESULTS, table)}")
    except duckdb.CatalogException:
        return []
    return [(table, "TABLE", rows)]


def _columns(project: str, dataset: str, table: str) -> list[Any]:
    """Return the fields of a table, as the emulator does."""
    path = tables.physical(project, dataset, table)
    required = set() if path[:2] == _RESULTS else {name for (name,) in _asked(_REQUIRED, *path)}
    with database.cursor() as cursor:
        try:
            relation = cursor.sql(f"SELECT * FROM {database.quote(*path)} LIMIT 0")
        except duckdb.CatalogException:
            raise not_found("Table", names.label(project, dataset, table)) from None
        return [
            types.field(name, kind, name in required)
            for name, kind in zip(relation.columns, relation.types, strict=True)
        ]


def walk_faster() -> None:
    """Look through a statement's tree in one loop; the emulator's rules do so a hundred times a statement."""

    def find_all(self: Any, *kinds: type, bfs: bool = True) -> Iterator[Any]:
        nodes = deque([self])
        while nodes:
            node = nodes.popleft()
            if isinstance(node, kinds):
                yield node
            for value in node.args.values():
                if type(value) is list:
                    nodes.extend(one for one in value if isinstance(one, exp.Expr))
                elif isinstance(value, exp.Expr):
                    nodes.append(value)

    every: Any = core.Expression
    every.find_all = find_all


def merge_at_once() -> None:
    """Let DuckDB do a MERGE that changes what matches in one way, and inserts the rest."""
    step_by_step = merge.run

    def run(cursor: Any, tree: Any, context: Any) -> Any:
        whens = tree.args["whens"].expressions
        if any(when.args.get("source") for when in whens) or len(whens) != len(
            {bool(when.args.get("matched")) for when in whens}
        ):
            return step_by_step(cursor, tree, context)
        text, bound = translate(tree, context)
        ((rows,),) = cursor.execute(text, bound).fetchall()
        return JobStatistics2(numDmlAffectedRows=str(rows))

    merge.run = run


def leave_out_types_of_the_catalog() -> None:
    """Work out no types in statements about INFORMATION_SCHEMA."""
    annotate = typing.annotate

    def noted(tree: Any, context: Any) -> Any:
        tree.meta["catalog"] = any(
            part.name.upper() == "INFORMATION_SCHEMA" or ".INFORMATION_SCHEMA." in part.name.upper()
            for table in tree.find_all(exp.Table)
            for part in table.parts
        )
        return tree

    def annotated(tree: Any, context: Any) -> Any:
        return tree if tree.meta.get("catalog") else annotate(tree, context)

    found = rules.STATEMENT_RULES
    found[found.index(annotate)] = annotated
    found.insert(0, noted)
