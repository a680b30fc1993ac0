"""Pipelines to one flat graph: sub-pipelines dissolve, every job occurs once (DESIGN, "One graph").

Edges. Jobs of a stage come `after` the barrier of the stage before. Where one worker is allowed, members run
in the order written: each comes `after` the one before it. What enters a sub-pipeline from outside is put on
the jobs that nothing inside precedes (`after`: the rest follows, since a skip is never early) and on all its
jobs (`needs`).

Names. A group is the path of pipeline, stages and sub-pipelines: `daily/formation/observations`. A stage that
holds nothing but a sub-pipeline of its own name adds no part of its own. Limits and barriers are named after
the group they belong to.

A job that is reached by two ways is an error that names both groups, also when both say the same: which
of the two orders and limits would count could not be told from the files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush

from runner.errors import did_you_mean
from runner.loader.documents import Document, Report
from runner.loader.nodes import Path
from runner.specs import Barrier, PipelineSpec, PlannedStage

MAX_NESTING = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlace:
    """Where a job stands in the graph: everything of a `PlannedJob` but the job itself."""

    job_id: str
    group: str
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()


@dataclass(slots=True)
class FlatGraph:
    """The flattened run: places of its jobs in the order written, barriers, stages, and workers by limit name."""

    places: list[JobPlace] = field(default_factory=list)
    barriers: list[Barrier] = field(default_factory=list)
    stages: list[PlannedStage] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """What an enclosing pipeline hands down: group, edges, limits and stops, and the pipelines on the way."""

    group: str
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()
    trail: tuple[str, ...] = ()


class Flattener:
    """Flattens one pipeline. `pipelines` are all that can be reached, with documents; `jobs` all job ids."""

    def __init__(
        self,
        pipelines: dict[str, tuple[Document, PipelineSpec]],
        jobs: Sequence[str],
        report: Report,
        *,
        workers: int | None = None,
    ) -> None:
        self.pipelines = pipelines
        self.jobs = frozenset(jobs)
        self.report = report
        self.workers = workers
        self.graph = FlatGraph()
        self._groups: dict[str, str] = {}

    def flatten(self, pipeline_id: str) -> FlatGraph:
        """Return the graph of a pipeline; incomplete when something was wrong and went into the report."""
        self._pipeline(pipeline_id, _Context(group=pipeline_id, trail=(pipeline_id,)))
        return self.graph

    def _pipeline(self, pipeline_id: str, context: _Context) -> tuple[str, ...]:
        """Flatten a pipeline into the graph; return the nodes that its end is made of."""
        document, spec = self.pipelines[pipeline_id]
        if spec.stop_on_failure:
            context = replace(context, stops=(*context.stops, pipeline_id))
        if spec.stages:
            return self._stages(document, spec, context)
        return self._members(document, spec, context)

    def _stages(self, document: Document, spec: PipelineSpec, context: _Context) -> tuple[str, ...]:
        after = context.after
        ends: list[str] = []
        names: set[str] = set()
        for number, stage in enumerate(spec.stages):
            if stage.name in names:
                message = f"stage {stage.name!r} is there already"
                self.report.add(document, ("stages", number, "name"), message, expected="names of their own")
            names.add(stage.name)
            path: Path = ("stages", number, "jobs")
            same_name = len(stage.jobs) == 1 and stage.jobs[0] == stage.name and stage.name in self.pipelines
            name = f"{context.group}/{stage.name}"
            group = context.group if same_name else name
            workers = self.workers or stage.max_workers or spec.max_workers or 1
            limits = self._limit(context.limits, name, workers)
            inner = replace(context, group=group, limits=limits)
            members: list[str] = []
            for position, member in enumerate(stage.jobs):
                before = (members[-1],) if workers == 1 and members else after
                if end := self._member(document, (*path, position), member, replace(inner, after=before)):
                    members.append(end)
            own = tuple(member for member in stage.jobs if member in members and member in self.jobs)
            if own:
                at_once = min(workers, *(self.graph.limits[limit] for limit in limits)) if limits else workers
                self.graph.stages.append(
                    PlannedStage(
                        name=stage.name, group=group, event=stage.event, max_workers=at_once, jobs=own
                    )
                )
            end = self._barrier(name, members)
            after = (end,) if end else after
            ends += [end] if end else []
        return tuple(ends)

    def _members(self, document: Document, spec: PipelineSpec, context: _Context) -> tuple[str, ...]:
        """Flatten the form with `needs` and `after`."""
        order = self._ordered(document, spec)
        workers = self.workers or spec.max_workers or 1
        limits = self._limit(context.limits, context.group, workers)
        inner = replace(context, limits=limits)
        ends: dict[str, str] = {}
        last = ""
        for member in order:
            edges = spec.jobs[member]
            after = [ends[name] for name in edges.after if name in ends]
            needs = [ends[name] for name in edges.needs if name in ends]
            if workers == 1 and last and last not in needs:
                after.append(last)
            place = replace(
                inner,
                after=tuple(dict.fromkeys(after)) if after or needs else context.after,
                needs=tuple(dict.fromkeys((*context.needs, *needs))),
            )
            if end := self._member(document, ("jobs", member), member, place, at_key=True):
                ends[member] = last = end
        return tuple(ends[name] for name in spec.jobs if name in ends)

    def _member(
        self, document: Document, path: Path, member: str, context: _Context, *, at_key: bool = False
    ) -> str | None:
        """Flatten a job or sub-pipeline; return the node that is passed when it has ended."""
        if member in self.pipelines:
            return self._sub_pipeline(document, path, member, context, at_key=at_key)
        if member not in self.jobs:
            hint = did_you_mean(member, [*self.jobs, *self.pipelines])
            self.report.add(
                document, path, f"there is no job or pipeline {member!r}", hint=hint, at_key=at_key
            )
            return None
        if not self._claim(document, path, member, context.group, at_key=at_key):
            return None
        self.graph.places.append(
            JobPlace(
                job_id=member,
                group=context.group,
                needs=context.needs,
                after=tuple(name for name in context.after if name not in context.needs),
                limits=context.limits,
                stops=context.stops,
            )
        )
        return member

    def _sub_pipeline(
        self, document: Document, path: Path, member: str, context: _Context, *, at_key: bool
    ) -> str | None:
        if member in context.trail:
            way = " -> ".join((*context.trail[context.trail.index(member) :], member))
            self.report.add(document, path, f"pipelines contain each other: {way}", at_key=at_key)
            return None
        if len(context.trail) >= MAX_NESTING:
            self.report.add(document, path, f"pipelines nested deeper than {MAX_NESTING}", at_key=at_key)
            return None
        if not self._claim(document, path, member, context.group, at_key=at_key):
            return None
        group = f"{context.group}/{member}"
        ends = self._pipeline(member, replace(context, group=group, trail=(*context.trail, member)))
        return self._barrier(group, ends)

    def _claim(self, document: Document, path: Path, member: str, group: str, *, at_key: bool) -> bool:
        """Take a job or sub-pipeline for a group; False, and a problem, when another place has it already."""
        if member not in self._groups:
            self._groups[member] = group
            return True
        other = self._groups[member]
        where = f"twice in {group}" if other == group else f"in {other} and in {group}"
        message = f"{member!r} stands {where}"
        self.report.add(document, path, message, expected="each job once in a run", at_key=at_key)
        return False

    def _limit(self, limits: tuple[str, ...], name: str, workers: int) -> tuple[str, ...]:
        """Note a limit of more than one worker (one is kept by order); of two of one name the lower."""
        if workers == 1:
            return limits
        self.graph.limits[name] = min(workers, self.graph.limits.get(name, workers))
        return limits if name in limits else (*limits, name)

    def _barrier(self, name: str, members: Sequence[str]) -> str | None:
        """Make a barrier of several members; a single one is its own barrier."""
        if len(members) < 2:
            return members[0] if members else None
        self.graph.barriers.append(Barrier(barrier_id=name, members=tuple(members)))
        return name

    def _ordered(self, document: Document, spec: PipelineSpec) -> list[str]:
        """Return the members so that each follows what it waits for, otherwise as written."""
        waits: dict[str, list[str]] = {}
        for member, edges in spec.jobs.items():
            waits[member] = []
            for kind in ("needs", "after"):
                for position, name in enumerate(getattr(edges, kind)):
                    path: Path = ("jobs", member, kind, position)
                    if name in spec.jobs:
                        waits[member].append(name)
                        continue
                    hint = did_you_mean(name, spec.jobs)
                    expected = f"a job of {spec.pipeline_id}"
                    self.report.add(
                        document, path, f"{name!r} is not in this pipeline", expected=expected, hint=hint
                    )
        order, cycle = topological(waits)
        if cycle:
            message = f"these wait for each other: {' -> '.join(cycle)}"
            self.report.add(document, ("jobs", cycle[0]), message, at_key=True)
        return order


def topological(waits: Mapping[str, Sequence[str]]) -> tuple[list[str], list[str]]:
    """Return the names so that each follows those it waits for, otherwise in the order given; and a cycle,
    closed (`a, b, a`), if there is one. Names on or behind a cycle are left out of the order.
    """
    number = {name: position for position, name in enumerate(waits)}
    names = list(waits)
    open_ends = [len(set(before)) for before in waits.values()]
    followers: list[list[int]] = [[] for _ in names]
    for name, before in waits.items():
        for other in set(before):
            followers[number[other]].append(number[name])
    ready = [position for position, count in enumerate(open_ends) if count == 0]
    order: list[str] = []
    while ready:
        position = heappop(ready)
        order.append(names[position])
        for follower in followers[position]:
            open_ends[follower] -= 1
            if open_ends[follower] == 0:
                heappush(ready, follower)
    return order, _cycle(waits, set(names) - set(order))


def _cycle(waits: Mapping[str, Sequence[str]], rest: set[str]) -> list[str]:
    """Return a cycle among `rest`, each of which waits for another of them."""
    if not rest:
        return []
    way = [next(name for name in waits if name in rest)]
    while way[-1] not in way[:-1]:
        way.append(next(name for name in waits[way[-1]] if name in rest))
    return way[way.index(way[-1]) :]
