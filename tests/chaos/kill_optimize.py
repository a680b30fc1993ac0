"""Kill `run-pipeline optimize` again and again, and look at the table, and at what the next optimize makes of it.

Each round begins with a table without its declared layout: a process optimizes it and is killed (SIGKILL) at some
moment between its first change and its end. Then the table must be whole; the next optimize must bring it to its
declaration, with the same rows, and leave nothing behind but backups.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from runner.operations.optimize import OptimizeOptions, TableOutcome, optimize, survey
from runner.pipeline_runner import PipelineRunner
from runner.settings import Settings
from runner.specs import TableSpec
from tests.cli.demo_project import environment
from tests.engines import BigQueryEngine, DuckDBEngine, Engine, PostgresEngine
from tests.projects import open_file
from tests.readings import NAME, PLAIN, fill
from tests.warehouse_lab import Lab

LAYOUT = {
    "cluster_by": ["device", "id"],
    "partition_by": {"column": "at"},
    "indexes": [
        {"columns": ["device"], "where": "value IS NULL"},
        {"columns": ["at", "device"], "include": ["value"]},
    ],
}
ROWS = {"duckdb": 500_000, "postgres": 200_000, "bigquery": 300}
SPREAD = 0.9
"""Of the time that it takes undisturbed, which varies."""
TRIES = 10
PATIENCE_S = 20


@dataclass
class Round:
    """What one kill led to. `moment`: milliseconds after the first change began. `left`: tables and unfinished indexes
    that stood beside the table then.
    """

    moment: float
    killed: bool
    left: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        text = f"{'killed' if self.killed else 'over'} at {self.moment:6.0f} ms, left {self.left}"
        return text + "".join(f"\n    {problem}" for problem in self.problems)


class KillOptimize:
    """Kills over one engine, which is empty at first. `folder` is where the project is made."""

    def __init__(self, folder: Path, engine: Engine, *arguments: str) -> None:
        self._engine = engine
        self._folder = folder
        self._arguments = arguments
        self._kind = str(engine.warehouse["kind"])
        write_project(folder, engine.warehouse, LAYOUT)
        self._fill()
        self._rows = self._read()
        self.duration = self._run(None)[0]

    def rounds(self, count: int) -> Iterator[Round]:
        """Kill so often, spread over the time that it takes undisturbed. One that was over before its kill tells how
        long it takes now, is yielded, too, and is tried again.
        """
        for number in range(count):
            for _ in range(TRIES):
                self._reset()
                moment, killed = self._run((number + 0.3) / count * SPREAD * self.duration)
                if not killed:
                    self.duration = moment
                yield self._judged(moment, killed)
                if killed:
                    break

    def _run(self, seconds: float | None) -> tuple[float, bool]:
        """Optimize in a process, killed so long after its first change began (None: it is not). Return when it ended,
        and whether it was killed.
        """
        words = [sys.executable, "-P", "-m", "runner", "--project", str(self._folder), "optimize", NAME]
        with subprocess.Popen(
            [*words, "--no-measure", *self._arguments], env=environment({}), cwd=self._folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stderr is not None
            first = process.stderr.readline()
            began = time.monotonic()
            while seconds is not None and process.poll() is None and time.monotonic() - began < seconds:
                time.sleep(0.001)
            if seconds is not None:
                process.send_signal(signal.SIGKILL)
            rest = ""
            for line in process.stderr:
                rest += line
                if line.startswith(("1 change", "2 changes")):
                    break
            ended = time.monotonic()
            rest += process.stderr.read()
        if process.returncode not in (0, -signal.SIGKILL):
            raise RuntimeError(f"optimize ended by itself with {process.returncode}:\n{first}{rest}")
        return ended - began, process.returncode != 0

    def _judged(self, moment: float, killed: bool) -> Round:
        found = Round(moment * 1000, killed)
        if (rows := self._read()) != self._rows:
            found.problems.append(f"the table is not whole after the kill: {rows}, not {self._rows}")
        found.left = self._left_behind()
        self._optimize(dry=False)
        if (rows := self._read()) != self._rows:
            found.problems.append(f"the next optimize left other rows: {rows}, not {self._rows}")
        (left,) = self._optimize(dry=True)
        found.problems += [f"still to do: {change.kind} {change.why}" for change in left.changes]
        found.problems += [f"left behind: {name}" for name in self._left_behind()]
        if (layout := self._layout()) != self._wanted():
            found.problems.append(f"the layout is {layout}")
        return found

    # --- the table ---

    def _fill(self) -> None:
        async def work() -> None:
            async with PipelineRunner.open(self._settings()) as pipelines:
                lab = Lab(await pipelines.open_warehouse(), self._kind)
                await lab.prepare(PLAIN)
                await fill(lab, ROWS[self._kind])

        anyio.run(work)

    def _reset(self) -> None:
        """Bring the table back to where it has no layout."""
        match self._engine:
            case DuckDBEngine(file):
                file.unlink()
                self._fill()
            case PostgresEngine(database):
                for index in self._indexes():
                    database.fetch(f'DROP INDEX lab."{index}"')
                for name in self._tables():
                    if name != "readings":
                        database.fetch(f'DROP TABLE lab."{name}"')
            case BigQueryEngine(project):
                for name in self._tables():
                    project.query(f"DROP TABLE lab.{name}")
                self._fill()

    def _read(self) -> Any:
        """Return what stands for the rows of the table, read by the engine's own client."""
        match self._engine:
            case DuckDBEngine(file):
                with open_file(file) as connection:
                    return connection.execute(f"SELECT count(*), sum(hash(t)) FROM {NAME} AS t").fetchall()
            case PostgresEngine(database):
                return database.fetch(f"SELECT count(*), sum(hashtext(t::text)::bigint) FROM {NAME} AS t")
            case BigQueryEngine(project):
                until = time.monotonic() + PATIENCE_S
                while project.running() and time.monotonic() < until:
                    time.sleep(0.01)  # a script of the killed process goes on by itself
                return project.query(
                    f"SELECT COUNT(*), SUM(MOD(FARM_FINGERPRINT(TO_JSON_STRING(t)), 1000003)) FROM {NAME} AS t"
                )
        raise TypeError(type(self._engine))

    def _tables(self) -> list[str]:
        match self._engine:
            case DuckDBEngine(file):
                query = "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'lab'"
                with open_file(file) as connection:
                    return [name for (name,) in connection.execute(query).fetchall()]
            case PostgresEngine(database):
                rows = database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'lab'")
                return [name for (name,) in rows]
            case BigQueryEngine(project):
                with project.client() as client:
                    return [item.table_id for item in client.list_tables("lab")]
        raise TypeError(type(self._engine))

    def _left_behind(self) -> list[str]:
        """Return what an optimize leaves only when it is killed."""
        left = [name for name in self._tables() if name != "readings" and "__backup_" not in name]
        if isinstance(self._engine, PostgresEngine):
            unfinished = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
            left += [name for (name,) in self._engine.database.fetch(unfinished)]
        return left

    def _indexes(self) -> list[str]:
        """Return the indexes of PostgreSQL, without that of the key."""
        assert isinstance(self._engine, PostgresEngine)
        rows = self._engine.database.fetch(
            "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'lab.readings'::regclass"
        )
        return [name.removeprefix("lab.").strip('"') for (name,) in rows if "_rp_" in name]

    def _layout(self) -> Any:
        """Return the layout that the engine tells."""
        match self._engine:
            case PostgresEngine(database):
                return database.fetch(
                    "SELECT count(*) FILTER (WHERE indisvalid), count(*) FILTER (WHERE NOT indisvalid) "
                    "FROM pg_index WHERE indrelid = 'lab.readings'::regclass"
                )
            case BigQueryEngine(project):
                with project.client() as client:
                    found = client.get_table(NAME)
                by = found.time_partitioning
                return (by.type_, by.field) if by else None, found.clustering_fields
        return None

    def _wanted(self) -> Any:
        match self._kind:
            case "postgres":
                return [(3, 0)]  # with the index of the key
            case "bigquery":
                return ("DAY", "at"), ["device", "id"]
        return None

    # --- the project ---

    def _optimize(self, *, dry: bool) -> list[TableOutcome]:
        options = OptimizeOptions(measures=False)

        async def work() -> list[TableOutcome]:
            async with PipelineRunner.open(self._settings()) as pipelines:
                return await (survey if dry else optimize)(pipelines, NAME, options)

        return anyio.run(work)

    def _settings(self) -> Settings:
        return Settings.load(self._folder)


def write_project(folder: Path, warehouse: dict[str, Any], layout: dict[str, Any]) -> None:
    """Write a project that declares `lab.readings` with this layout, and has no jobs."""
    declared = TableSpec.model_validate(PLAIN.model_dump() | layout).model_dump(exclude={"dataset"})
    files = {
        "configs/runner.toml": "[warehouse]\n"
        + "".join(f"{key} = {json.dumps(value)}\n" for key, value in warehouse.items()),
        "configs/tables/lab.yaml": json.dumps({"dataset": "lab", "tables": [declared]}),
    }
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
