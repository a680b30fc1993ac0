"""Files to specs: one reading of a project, in which every file is read at most once and only when it is
needed.

A reading is made for one question (a plan, a check, a list) and then dropped: nothing of a run can leak into
the next, and a file that was edited in between is seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.errors import ConfigurationError, Problem
from runner.loader.documents import Document, Report
from runner.loader.index import ProjectIndex
from runner.loader.nodes import Path as NodePath
from runner.loader.nodes import shorten
from runner.loader.parameters import job_values
from runner.loader.reader import MAX_BYTES, read_yaml
from runner.loader.substitution import substitute
from runner.loader.validation import validate
from runner.specs import (
    ENGINE_DATASET,
    DatasetSpec,
    JobSpec,
    PipelineSpec,
    SqlText,
    TableRef,
    TableSpec,
    check_id,
)


@dataclass(frozen=True, slots=True)
class LoadedJob:
    """A job with its document and the values of its parameters (which already stand in `spec`). `statements`: the
    texts of its `sql` steps by step id, once they have been checked.
    """

    document: Document
    spec: JobSpec
    params: Mapping[str, Any]
    statements: Mapping[str, SqlText] = field(default_factory=dict)


@dataclass(slots=True)
class Reading:
    """Reads declarations and keeps them; what is wrong goes into `report`.

    `given`: parameters by name as text. `required`: a parameter without a value is a problem (not in
    `validate`). `used`: tables that were asked for. `broken`: datasets with problems, of which not all tables
    may be known. `places`: where tables are declared.
    """

    index: ProjectIndex
    report: Report = field(default_factory=Report)
    given: Mapping[str, str] = field(default_factory=dict)
    required: bool = False
    used: dict[TableRef, TableSpec] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    places: dict[TableRef, tuple[Document, NodePath]] = field(default_factory=dict)
    _pipelines: dict[str, tuple[Document, PipelineSpec] | None] = field(default_factory=dict)
    _jobs: dict[str, LoadedJob | None] = field(default_factory=dict)
    _datasets: dict[str, dict[TableRef, TableSpec]] = field(default_factory=dict)

    def document(self, file: Path) -> Document | None:
        """Read one YAML file; None, and problems, when it cannot be read."""
        name = self.index.name(file)
        try:
            with file.open("rb") as stream:
                return Document(name, file, read_yaml(stream.read(MAX_BYTES + 1), name))
        except ConfigurationError as error:
            self.report.extend(error)
        except OSError as error:
            self.report.problems.append(Problem(file=name, message=f"cannot be read: {error.strerror}"))
        return None

    def pipeline(self, pipeline_id: str) -> tuple[Document, PipelineSpec] | None:
        """Return a pipeline that the index knows."""
        if pipeline_id not in self._pipelines:
            document = self.document(self.index.pipelines[pipeline_id])
            spec = validate(PipelineSpec, document, self.report) if document else None
            if document:
                self._same_id(document, "pipeline_id")
            self._pipelines[pipeline_id] = (document, spec) if document and spec else None
        return self._pipelines[pipeline_id]

    def pipelines_below(self, pipeline_id: str) -> dict[str, tuple[Document, PipelineSpec]]:
        """Return a pipeline and all pipelines that can be reached from it and could be read."""
        found: dict[str, tuple[Document, PipelineSpec]] = {}
        waiting = [pipeline_id]
        while waiting:
            name = waiting.pop()
            if name in found or name not in self.index.pipelines:
                continue
            if loaded := self.pipeline(name):
                found[name] = loaded
                waiting += members(loaded[1])
        return found

    def job(self, job_id: str) -> LoadedJob | None:
        """Return a job that the index knows, with its parameters put in."""
        if job_id not in self._jobs:
            document = self.document(self.index.jobs[job_id])
            self._jobs[job_id] = self._job(document) if document else None
        return self._jobs[job_id]

    def _job(self, document: Document) -> LoadedJob | None:
        self._same_id(document, "job_id")
        values = job_values(document, self.given, self.index.root, self.report, required=self.required)
        substitute(document, values, self.report)
        spec = validate(JobSpec, document, self.report)
        return LoadedJob(document, spec, values) if spec else None

    def _same_id(self, document: Document, key: str) -> None:
        stem = document.file.stem
        written = document.root.text(key)
        if written is not None and written != stem and is_id(written):
            self.report.add(
                document, (key,), f"{shorten(written)} is not the name of the file", expected=repr(stem)
            )

    def dataset(self, dataset: str) -> dict[TableRef, TableSpec]:
        """Return all declared tables of a dataset (of `ops`: the engine's own)."""
        if dataset == ENGINE_DATASET:
            from runner.ddl import ENGINE_TABLES

            return {table.ref: table for table in ENGINE_TABLES}
        if dataset not in self._datasets:
            tables: dict[TableRef, TableSpec] = {}
            places: dict[tuple[str, str], str] = {}
            for file in self.index.tables.get(dataset, ()):
                before = len(self.report.problems)
                if document := self.document(file):
                    self._tables(document, dataset, tables, places)
                if len(self.report.problems) > before:
                    self.broken.add(dataset)
            self._datasets[dataset] = tables
        return self._datasets[dataset]

    def table(self, ref: TableRef) -> TableSpec | None:
        """Return a table's declaration and note that it is used; None when there is none."""
        table = self.dataset(ref.dataset).get(ref)
        if table is not None:
            self.used[ref] = table
        return table

    def problems(self) -> list[Problem]:
        """Return everything that is wrong so far, with file names, in file order."""
        self.report.problems += [problem for _, problem in self.index.problems]
        return self.report.sorted()

    def finish(self) -> None:
        """Raise `ConfigurationError` for everything that is wrong in the files that were asked for."""
        asked = {*self._pipelines, *self._jobs, *self._datasets}
        self.report.problems += [problem for stem, problem in self.index.problems if stem in asked]
        self.report.raise_if_any()

    def _tables(
        self,
        document: Document,
        dataset: str,
        tables: dict[TableRef, TableSpec],
        places: dict[tuple[str, str], str],
    ) -> None:
        whole = validate(DatasetSpec, document, self.report)
        if whole is None:
            return
        if whole.dataset != dataset:
            stem = document.file.stem
            message = f"{whole.dataset!r} is not the first part of the file name {stem!r}"
            self.report.add(document, ("dataset",), message, expected=f"{dataset!r}, or another file name")
        for number in range(len(whole.tables)):
            path: NodePath = ("tables", number)
            if (table := self._table(document, path, dataset)) is None:
                continue
            folded = table.dataset.casefold(), table.table.casefold()
            if other := places.get(folded):
                message = f"table {table.ref} is declared already at {other}"
                self.report.add(document, (*path, "table"), message, expected="one declaration a table")
                continue
            line, column = document.root.key_position((*path, "table"))
            places[folded] = f"{document.name}:{line}:{column}"
            tables[table.ref] = table
            self.places[table.ref] = document, path

    def _table(self, document: Document, path: NodePath, dataset: str) -> TableSpec | None:
        node = document.root.nearest(path)
        if isinstance(node.value, dict) and "dataset" in node.value:
            self.report.add(
                document, (*path, "dataset"), "unknown key 'dataset'", hint="it stands above", at_key=True
            )
            return None
        return validate(TableSpec, document, self.report, path, {"dataset": dataset})


def is_id(text: str) -> bool:
    """Tell whether `text` could be an id; if not, its model says so and nothing else needs to."""
    try:
        check_id(text)
    except ValueError:
        return False
    return True


def members(pipeline: PipelineSpec) -> list[str]:
    """Return the jobs and sub-pipelines that a pipeline names, as written."""
    return [member for stage in pipeline.stages for member in stage.jobs] + list(pipeline.jobs)
