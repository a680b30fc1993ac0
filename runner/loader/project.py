"""A project as the rest of the engine sees it: what there is, what is wrong, and plans of runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import Problem, UsageError, did_you_mean
from runner.loader.declarations import LoadedJob, Reading, members
from runner.loader.flatten import FlatGraph, Flattener, JobPlace
from runner.loader.index import index_project
from runner.loader.nodes import shorten
from runner.specs import Barrier, PlannedJob, RunPlan, TableRef, TableSpec

if TYPE_CHECKING:
    from runner.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSummary:
    """A pipeline for `list`: `members` are the jobs and sub-pipelines that it names."""

    pipeline_id: str
    description: str
    members: tuple[str, ...]
    file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSummary:
    """A job for `list`. `folder` is its place below configs/jobs ("" at the top); `params` are its names."""

    job_id: str
    description: str
    folder: str
    queue: str
    priority: int
    params: tuple[str, ...]
    file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSummary:
    """The flattened graph of a pipeline or job for `list --graph`; the parts are those of a `RunPlan`."""

    name: str
    kind: str
    jobs: tuple[PlannedJob, ...]
    barriers: tuple[Barrier, ...]
    limits: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableUse:
    """A table, and the ids of the jobs that read or write it, sorted."""

    table: TableSpec
    jobs: tuple[str, ...]


def open_project(settings: Settings) -> Project:
    """Return the project of these settings. Reads nothing yet."""
    return Project(settings)


class Project:
    """The declarations of one project. Every call reads the files anew; nothing is kept between calls."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.root = settings.project

    def pipelines(self) -> list[PipelineSummary]:
        """Return all pipelines by id, without importing functions. Raises `ConfigurationError`."""
        reading = Reading(index_project(self.root))
        found = []
        for name in sorted(reading.index.pipelines):
            if loaded := reading.pipeline(name):
                document, spec = loaded
                found.append(
                    PipelineSummary(
                        pipeline_id=spec.pipeline_id,
                        description=spec.description,
                        members=tuple(members(spec)),
                        file=document.file,
                    )
                )
        reading.finish()
        return found

    def jobs(self) -> list[JobSummary]:
        """Return all jobs by id, without importing functions. Raises `ConfigurationError`."""
        reading = Reading(index_project(self.root))
        found = []
        for name in sorted(reading.index.jobs):
            if loaded := reading.job(name):
                file = loaded.document.file
                found.append(
                    JobSummary(
                        job_id=loaded.spec.job_id,
                        description=loaded.spec.description,
                        folder=file.parent.relative_to(self.root / "configs" / "jobs")
                        .as_posix()
                        .removeprefix("."),
                        queue=loaded.spec.queue,
                        priority=loaded.spec.priority,
                        params=tuple(loaded.spec.params),
                        file=file,
                    )
                )
        reading.finish()
        return found

    def tables(self) -> list[TableSpec]:
        """Return all declared tables by name. Raises `ConfigurationError` for files that do not fit."""
        reading = Reading(index_project(self.root))
        found = {
            ref: table for dataset in reading.index.tables for ref, table in reading.dataset(dataset).items()
        }
        reading.finish()
        return [found[ref] for ref in sorted(found)]

    def managed_tables(self) -> dict[TableRef, TableUse]:
        """Return the tables that the engine makes and keeps, by name, with the jobs that read or write each of them.

        Raises `ConfigurationError` for anything that is wrong in the project: a job that cannot be read might use any.
        """
        reading = Reading(index_project(self.root))
        declared = {
            ref: table for dataset in reading.index.tables for ref, table in reading.dataset(dataset).items()
        }
        from runner.loader.checks import JobChecks  # brings inspect and sql along, which `list` does not need

        checks = JobChecks(reading, self.settings)
        jobs: dict[TableRef, list[str]] = {}
        for job_id in sorted(reading.index.jobs):
            reading.used.clear()
            if job := reading.job(job_id):
                checks.check(job)
            for ref in reading.used:
                jobs.setdefault(ref, []).append(job_id)
        self._check_for_engine(reading, declared.values())
        reading.finish()
        return {
            ref: TableUse(table=declared[ref], jobs=tuple(jobs.get(ref, ())))
            for ref in sorted(declared)
            if declared[ref].managed
        }

    def _check_for_engine(
        self, reading: Reading, tables: Iterable[TableSpec], *, thorough: bool = False
    ) -> None:
        from runner.loader.layout_checks import check_layouts
        from runner.loader.name_checks import check_names

        check_names(reading, tables, self.settings.warehouse.kind)
        check_layouts(reading, tables, self.settings.warehouse.kind, thorough=thorough)

    def check(self) -> list[Problem]:
        """Check everything: all files, references, functions. Returns the problems in file order."""
        reading = Reading(index_project(self.root))
        declared = [table for dataset in reading.index.tables for table in reading.dataset(dataset).values()]
        self._check_for_engine(reading, declared, thorough=True)
        from runner.loader.checks import JobChecks  # brings inspect and sql along, which `list` does not need

        checks = JobChecks(reading, self.settings)
        for job_id in reading.index.jobs:
            if job := reading.job(job_id):
                checks.check(job)
        self._check_pipelines(reading)
        return reading.problems()

    def _check_pipelines(self, reading: Reading) -> None:
        """Flatten every pipeline that no other holds, then those that only hold each other."""
        names = sorted(reading.index.pipelines)
        held = {name for each in names if (loaded := reading.pipeline(each)) for name in members(loaded[1])}
        seen: set[str] = set()
        for name in [*(name for name in names if name not in held), *names]:
            if name not in seen and reading.pipeline(name):
                below = reading.pipelines_below(name)
                seen.update(below)
                Flattener(below, list(reading.index.jobs), reading.report).flatten(name)

    def plan(
        self,
        name: str,
        *,
        given_params: Mapping[str, str] | None = None,
        as_of: datetime,
        max_workers: int | None = None,
    ) -> RunPlan:
        """Flatten a pipeline, or wrap a job, into a plan in which everything is resolved and checked.

        `given_params` are texts by parameter name and go to every job that declares the name. `max_workers`
        wins over settings, stages and pipelines.

        Raises `UsageError` for a name or parameter that does not exist, `ConfigurationError` for everything
        that is wrong in the files that the run needs.
        """
        if max_workers is not None and max_workers < 1:
            raise UsageError(f"max_workers is {max_workers}", hint="it must be at least 1")
        if as_of.tzinfo is None:
            raise UsageError(f"as_of {as_of.isoformat()} has no offset", hint="give it one, or Z for UTC")
        reading = Reading(index_project(self.root), given=given_params or {}, required=True)
        workers = max_workers or self.settings.max_workers
        kind, graph = self._graph(reading, name, workers)
        jobs = self._jobs(reading, graph.places)
        if len(jobs) == len(graph.places):  # a job that cannot be read might be the one that declares it
            self._refuse_unknown_params(name, jobs, given_params or {})
        self._check_for_engine(reading, list(reading.used.values()))
        reading.finish()
        return RunPlan(
            name=name,
            kind=kind,
            project=self.root,
            as_of=as_of,
            jobs=tuple(_planned(job, place) for job, place in zip(jobs, graph.places, strict=True)),
            barriers=tuple(graph.barriers),
            stages=tuple(graph.stages),
            limits=graph.limits,
            max_workers=workers,
            tables=reading.used,
            given=dict(given_params or {}),
        )

    def graph(self, name: str) -> GraphSummary:
        """Return the flattened graph of a pipeline, or of a job alone, without importing functions.

        Raises `UsageError` for an unknown name, `ConfigurationError` for what is wrong in the files that it needs.
        """
        reading = Reading(index_project(self.root))
        kind, graph = self._graph(reading, name, self.settings.max_workers)
        loaded = [(place, reading.job(place.job_id)) for place in graph.places]
        reading.finish()
        return GraphSummary(
            name=name,
            kind=kind,
            jobs=tuple(_planned(job, place) for place, job in loaded if job),
            barriers=tuple(graph.barriers),
            limits=graph.limits,
        )

    def _graph(self, reading: Reading, name: str, workers: int | None) -> tuple[str, FlatGraph]:
        if name in reading.index.pipelines:
            return "pipeline", self._flatten(reading, name, workers)
        if name in reading.index.jobs:
            return "job", FlatGraph(places=[JobPlace(job_id=name, group="")])
        hint = did_you_mean(name, reading.index.ids) or "run-pipeline list shows what there is"
        raise UsageError(f"there is no pipeline or job {shorten(name)}", hint=hint)

    def _flatten(self, reading: Reading, name: str, workers: int | None) -> FlatGraph:
        below = reading.pipelines_below(name)
        if name not in below:
            reading.finish()
        return Flattener(below, list(reading.index.jobs), reading.report, workers=workers).flatten(name)

    def _jobs(self, reading: Reading, places: Sequence[JobPlace]) -> list[LoadedJob]:
        from runner.loader.checks import JobChecks  # brings inspect and sql along, which `list` does not need

        checks = JobChecks(reading, self.settings)
        return [checks.check(job) for place in places if (job := reading.job(place.job_id))]

    def _refuse_unknown_params(self, name: str, jobs: Sequence[LoadedJob], given: Mapping[str, str]) -> None:
        declared = {param for job in jobs for param in job.spec.params}
        for param in given:
            if param not in declared:
                hint = did_you_mean(param, declared) or (
                    f"there are: {', '.join(sorted(declared))}" if declared else "no job of it has any"
                )
                raise UsageError(f"no job of {name!r} has a parameter {shorten(param)}", hint=hint)


def _planned(job: LoadedJob, place: JobPlace) -> PlannedJob:
    return PlannedJob(
        spec=job.spec,
        group=place.group,
        file=job.document.file,
        needs=place.needs,
        after=place.after,
        limits=place.limits,
        stops=place.stops,
        params=job.params,
        statements=job.statements,
    )
