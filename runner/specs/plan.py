"""A run as the loader flattens it: every job once, with its group, its edges and its limits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Self

from runner.specs.names import TableRef
from runner.specs.pipelines import JobSpec
from runner.specs.tables import TableSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlText:
    """The text of a `sql` step for the engine of the settings, as it is written: with `:name` for values.

    It begins at `line` of `file` (relative to the project).
    """

    text: str
    engine: str
    file: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedJob:
    """One job of a run. `after` and `needs` hold node ids (job ids or barrier ids). `limits` names the worker
    limits it takes a slot of, outermost first; `stops` the enclosing groups that have `stop_on_failure`.
    `params` are the resolved values, for the record and for `plan`; they already stand in `spec`. `statements` are
    the texts of its `sql` steps by step id.
    """

    spec: JobSpec
    group: str
    file: Path
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()
    params: Mapping[str, object] = field(default_factory=dict)
    statements: Mapping[str, SqlText] = field(default_factory=dict)

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.spec.job_id

    @property
    def waits_for(self) -> tuple[str, ...]:
        """The nodes that it comes after."""
        return (*self.needs, *(node for node in self.after if node not in self.needs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrier:
    """A point that is passed when its members are done: the end of a stage or sub-pipeline. It keeps the
    number of edges between two stages at m + n instead of m * n. It succeeded if all its members (jobs or
    barriers) did; one that is `order_only` succeeds however they end.
    """

    barrier_id: str
    members: tuple[str, ...]
    order_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStage:
    """A stage that holds jobs of its own, for the account of it: `group` is their group, `event` the word for it, None
    for the usual one.

    Of sub-pipelines among its members their own stages tell.
    """

    name: str
    group: str
    event: str | None
    max_workers: int
    jobs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """Everything a run needs to know before it starts. `limits` holds workers by limit name, `max_workers`
    the cap on the whole run (from flag or settings; None: none). `tables` are all declarations that the jobs
    use. `given` are the parameters that the run was given, as texts; `retry_of` is the id of the run that it
    retries.
    """

    name: str
    kind: str
    project: Path
    as_of: datetime
    jobs: tuple[PlannedJob, ...]
    barriers: tuple[Barrier, ...] = ()
    stages: tuple[PlannedStage, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    max_workers: int | None = None
    tables: Mapping[TableRef, TableSpec] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)
    retry_of: str | None = None

    def restricted_to(self, job_ids: Collection[str]) -> Self:
        """Return the plan with these jobs only, in the order that they have among all.

        A job that is left out counts as done: in its place stands a barrier that passes on the order, so that what
        comes after it still comes after all that it came after.
        """
        wanted = frozenset(job_ids)
        done = (
            Barrier(barrier_id=job.job_id, members=(*job.needs, *job.after), order_only=True)
            for job in self.jobs
            if job.job_id not in wanted
        )

        def kept(stage: PlannedStage) -> PlannedStage:
            return replace(stage, jobs=tuple(job_id for job_id in stage.jobs if job_id in wanted))

        return replace(
            self,
            jobs=tuple(job for job in self.jobs if job.job_id in wanted),
            barriers=(*self.barriers, *done),
            stages=tuple(stage for stage in map(kept, self.stages) if stage.jobs),
        )
